"""From vectors and tokens as loaded to sets of unit vectors on the grid on which products are exact."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclbench.errors import UsageError, nearest
from nclbench.plan import FLAGS, SCORES, SUMS, Plan
from nclbench.problem import Embeddings
from nclbench.ragged import Ragged
from nclbench.scorers.dot import tree_sum

# vectors lie on multiples of 1 / GRID; see `interaction`
GRID = float(1 << 26)
_NUMBERS = 1 << 21


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a side. raw: (n, L, D) float64 as loaded, there: (n, L), weight: (n, L) float64 as loaded or None."""

    raw: Tensor
    there: Tensor
    weight: Tensor | None

    @property
    def shares(self) -> Tensor:
        """(n, L) float64: equal shares of 1."""
        return self.there.to(SUMS) / self.there.sum(1, keepdim=True)

    @property
    def ones(self) -> Tensor:
        """(n, L) float64: 1 for each."""
        return self.there.to(SUMS)

    @property
    def given(self) -> Tensor:
        """(n, L) float64: shares of 1 in proportion to the weights as loaded."""
        assert self.weight is not None
        wanted = torch.where(self.there, self.weight, 0.0)
        return wanted / tree_sum(wanted.clone())[:, None]


MASKS = ("neginf", "zero")


def check_mask(name: str, mask: str) -> None:
    if mask not in MASKS:
        raise UsageError(f"{name}:mask={mask} is unknown{nearest(mask, MASKS)}")


Weigh = Callable[[Part], Tensor]


def words(side: Embeddings, plan: Plan) -> Iterator[Part]:
    """The tokens of a side, a few rows at a time."""
    tokens = side.tokens
    assert tokens is not None
    step = max(1, _NUMBERS // tokens.values[0].size)
    for start in range(0, len(tokens), step):
        part = slice(start, start + step)
        weight = None if tokens.weight is None else plan.put(tokens.weight[part], SUMS)
        yield Part(plan.put(tokens.values[part], SUMS), plan.put(tokens.mask[part], FLAGS), weight)


def pooled(side: Embeddings, plan: Plan) -> Iterator[Part]:
    """The vector of each row as a set of one."""
    assert side.vectors is not None
    step = max(1, _NUMBERS // side.vectors.shape[1])
    for start in range(0, len(side), step):
        raw = plan.put(side.vectors[start : start + step], SUMS)[:, None]
        yield Part(raw, torch.ones(raw.shape[:2], dtype=FLAGS, device=raw.device), None)


def unit(raw: Tensor) -> Tensor:
    """(t, D) float64, not 0 -> (t, D) float32 of length one, on the grid. The same bits in every batch."""
    part = raw / raw.abs().amax(1, keepdim=True)
    part = part / tree_sum(part * part).sqrt()[:, None]
    return (part * GRID).round_().div_(GRID).to(SCORES)


@dataclass(frozen=True, eq=False)
class _Table:
    """Padded sets: vectors (n, L, D) on the grid, and (n, L) which of them are there, weights, and what `Ragged` says."""

    vectors: Tensor
    there: Tensor
    weight: Tensor
    near: Tensor | None = None
    gain: Tensor | None = None


def texts(
    side: Embeddings, plan: Plan, weigh: Weigh, *, sentence: float, each: float, forth: float, back: float, zero: bool
) -> Ragged:
    """Sets of word vectors, the vector of the whole text first. weigh: shares of the words.

    sentence, each: what the sentence and the words count for; forth, back: and what the two halves do. zero: padding takes
    part as a vector of zeros.
    """

    def tables() -> Iterator[_Table]:
        row = 0
        for part in words(side, plan) if each else pooled(side, plan):
            weight = forth * (each * weigh(part) if each else sentence * part.shares)
            table = _Table(_units(part), part.there, weight)
            if zero:
                table = _with_nothing(table)
            if each and sentence:
                assert side.vectors is not None
                whole = unit(plan.put(side.vectors[row : row + len(table.there)], SUMS))
                table = _with_sentence(table, whole, forth * sentence)
            row += len(table.there)
            yield table

    return _joined(tables(), side, texts=True, sentence=sentence > 0, back=(back * sentence, back * each))


def frames(side: Embeddings, plan: Plan, weigh: Weigh, *, beta: float, zero: bool) -> Ragged:
    """Sets of frame vectors, or of the one vector of each video where there are none. beta: of visual attention, 0 for none."""

    def tables() -> Iterator[_Table]:
        for part in words(side, plan) if side.tokens is not None else pooled(side, plan):
            table = _Table(_units(part), part.there, weigh(part))
            if beta:
                table = _attentive(table, beta)
            yield _with_nothing(table) if zero else table

    return _joined(tables(), side)


def _units(part: Part) -> Tensor:
    """(n, L, D) float32 unit vectors of the grid, zeros where there is none."""
    out = torch.zeros(part.raw.shape, dtype=SCORES, device=part.raw.device)
    out[part.there] = unit(part.raw[part.there])
    return out


def _with_sentence(table: _Table, whole: Tensor, share: float) -> _Table:
    return _Table(
        torch.cat([whole[:, None], table.vectors], 1),
        torch.cat([torch.ones_like(table.there[:, :1]), table.there], 1),
        torch.cat([torch.full_like(table.weight[:, :1], share), table.weight], 1),
    )


def _with_nothing(table: _Table) -> _Table:
    """Padding as authors' codes see it: one more vector, of zeros and without weight, in every set that has any."""

    def longer(values: Tensor | None) -> Tensor | None:
        return None if values is None else torch.cat([values, torch.zeros_like(values[:, :1])], 1)

    vectors, weight = longer(table.vectors), longer(table.weight)
    assert vectors is not None and weight is not None
    there = torch.cat([table.there, ~table.there.all(1, keepdim=True)], 1)
    return _Table(vectors, there, weight, longer(table.near), longer(table.gain))


def _attentive(table: _Table, beta: float) -> _Table:
    """With each frame's most similar other frame, and what that adds; frames that occur twice are one with both weights.

    Otherwise equal frames would always be too close to say which is best. Products are exact, so these tell equal frames.
    """
    there, wide = table.there, table.vectors.to(SUMS)
    gram = torch.bmm(wide, wide.transpose(1, 2))
    own = gram.diagonal(dim1=1, dim2=2).clone()
    both = there[:, :, None] & there[:, None, :]
    number = torch.arange(there.shape[1], device=there.device)

    def earliest(flags: Tensor) -> Tensor:
        """(n, F, F) -> (n, F) the first true one of each row, the row itself where there is none."""
        found = torch.where(flags, number, len(number)).amin(2)
        return torch.where(found < len(number), found, number)

    first = earliest(both & ((own[:, :, None] - gram) + (own[:, None, :] - gram) == 0))
    gram = torch.where(both, gram, 0.0)
    gram.diagonal(dim1=1, dim2=2).zero_()
    likeness = gram.amax(2)
    near = earliest((gram == likeness[:, :, None]) & (likeness > 0)[:, :, None])
    kept = there & (first == number)
    weight = torch.zeros_like(table.weight).scatter_add_(1, first, torch.where(there, table.weight, 0.0))
    place = (kept.cumsum(1) - 1).gather(1, first.gather(1, near)).clamp_(min=0)
    return _Table(table.vectors, kept, weight, place, beta * likeness)


def _joined(tables: Iterator[_Table], side: Embeddings, **more: Any) -> Ragged:
    """All tables as one, without what is not there."""
    first = next(tables)
    size = 2 * len(side) + (0 if side.tokens is None else int(np.count_nonzero(side.tokens.mask)))
    vectors = first.vectors.new_empty((size, first.vectors.shape[2]))
    count: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {"weight": [], "near": [], "gain": []}
    place = 0
    for table in chain([first], tables):
        chosen = table.vectors[table.there]
        vectors[place : place + len(chosen)] = chosen
        place += len(chosen)
        count.append(table.there.sum(1))
        for name, found in kept.items():
            values = getattr(table, name)
            if values is not None:
                found.append(values[table.there])
    counts = torch.cat(count)
    joined: dict[str, Any] = {name: torch.cat(found) for name, found in kept.items() if found}
    return Ragged(vectors[:place], counts.cumsum(0) - counts, counts, **joined, **more)

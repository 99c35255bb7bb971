"""The best columns of each row by the defined score, certified, and the columns that lead some rows.

Tiles are approximate, so the best by tile value are candidates only: they are scored by the definition, and a row is
looked at whole when its last place does not clear what was left out.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from nclbench.plan import COUNTS, FLAGS, SUMS
from nclbench.ranking.choosing import Leaders
from nclbench.ranking.counting import Reaches
from nclbench.similarity.interfaces import Reducer
from nclbench.similarity.view import View

_SPARE = 6
# candidates that are scored again at a time
_DECIDED = 1 << 17


def candidates(view: View, k: int) -> Leaders:
    """The reducer whose result `certified` takes."""
    return Leaders(min(k + _SPARE, view.shape[1]), view.fast, view.kind)


def certified(view: View, found: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """(N, k) columns of the best items, ties by lowest index, and their scores, from the candidates of each row."""
    k = min(k, view.shape[1])
    rows = torch.arange(len(found[1]), device=found[1].device)
    return _decided(view, found[1], rows, k)


def ordered(view: View, found: tuple[Tensor, Tensor], k: int) -> Tensor:
    """(N, k) columns as of `certified`. Only rows with candidates closer than the tiles' error are scored again."""
    k = min(k, view.shape[1])
    values, columns = found
    nearest = values[:, :k].to(SUMS, copy=True)
    if values.shape[1] > 1:
        nearest[:, : values.shape[1] - 1] -= values[:, 1 : k + 1]
    # places that nothing finite has taken are doubtful too, and so is what is not a number
    close = ~(nearest > 2 * view.roughness + view.tolerance) | (columns[:, :k] < 0)
    if values.shape[1] == k:
        close[:, -1] = False  # nothing is left out that could come after the last one
    doubtful = close.any(1).nonzero()[:, 0]
    out = columns[:, :k].to(COUNTS)
    out[doubtful], _ = _decided(view, columns, doubtful, k)
    return out


def _decided(view: View, columns: Tensor, wanted: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The best of the wanted rows (n,) by the definition: (n, k) columns and scores. columns: (N, count) candidates."""
    count = columns.shape[1]
    out = torch.empty((len(wanted), k), dtype=COUNTS, device=columns.device)
    values = torch.empty((len(wanted), k), dtype=SUMS, device=columns.device)
    step = max(1, _DECIDED // count)
    for start in range(0, len(wanted), step):
        rows = wanted[start : start + step]
        place = slice(start, start + len(rows))
        found = columns[rows].to(COUNTS)
        scores = view.exact(rows.repeat_interleave(count), found.clamp(min=0).flatten()).view(-1, count)
        out[place], values[place] = _in_order(scores, found, k, view.tolerance)
        if count < view.shape[1]:
            # no other tile value exceeds the weakest candidate's, nor any score that by twice the error
            reach = scores.amin(1) + 2 * view.roughness + view.tolerance
            doubtful = (scores.topk(k, dim=1).values[:, -1] <= reach) | (found < 0).any(1)
            doubtful = doubtful.nonzero()[:, 0]
            for part in range(0, len(doubtful), view.plan.strip(view.shape[1])):
                few = doubtful[part : part + view.plan.strip(view.shape[1])]
                out[few + start], values[few + start] = _whole_rows(view, rows[few], k)
    return out, values


def _whole_rows(view: View, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(n,) rows -> (n, k), from every column that could be among the best."""
    scores = view.look(rows)
    # float64 tiles are within rounding of the definition; near the k-th score the definition decides.
    # where scores cancel, rounding is in proportion to the vectors' lengths, not to the score
    bar = scores.topk(k, dim=1).values[:, -1:]
    slack = 1e-9 * (1 + bar.abs() + view.base.largest) + view.tolerance
    row, column = (scores >= bar - slack).nonzero(as_tuple=True)
    scores[row, column] = view.exact(rows[row], column)
    everything = torch.arange(view.shape[1], device=rows.device).expand_as(scores)
    return _in_order(scores, everything, k, view.tolerance)


def _in_order(scores: Tensor, columns: Tensor, k: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """The first k columns by falling score; scores within the tolerance of their neighbour are one tie, lowest first."""
    by_column = columns.argsort(dim=1)
    columns, scores = columns.gather(1, by_column), scores.gather(1, by_column)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, order)
    if tolerance:
        tie = torch.zeros_like(columns)
        tie[:, 1:] = (scores[:, :-1] - scores[:, 1:] > tolerance).cumsum(1)
        by_column = columns.argsort(dim=1)
        order = tie.gather(1, by_column).argsort(dim=1, stable=True)
        columns, scores = columns.gather(1, by_column).gather(1, order), scores.gather(1, by_column).gather(1, order)
    return columns[:, :k], scores[:, :k]


class Watching(Protocol):
    """A plain view that notes what is reduced over it."""

    @property
    def view(self) -> View: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    def reversed(self) -> "Watching": ...
    def reduce(self, *reducers: Reducer) -> list[Any]: ...


def leading(view: Watching, k: int, theta: int = 1) -> Tensor:
    """(M,) whether an item is among the k best of at least theta rows of a plain view; ties for the last place count.

    QB-Norm's activation set (Bogolin et al. 2022), without its dependence on the order of equal scores;
    theta is DiCoSA's threshold (Jin et al. 2023).
    """
    n, m = view.shape
    if not k:
        return torch.zeros(m, dtype=FLAGS, device=view.view.plan.device)
    plain = view.view
    (found,) = view.reduce(candidates(plain, k))
    _, scores = certified(plain, found, k)
    turned = view.reversed()
    (count,) = turned.reduce(Reaches(scores[:, -1], None, turned.view.exact, plain.roughness, by_column=True))
    return torch.as_tensor(count >= theta)


def led(view: Watching, active: Tensor) -> Tensor:
    """(N,) whether a best item of the row is active. active: (M,)."""
    plain = view.view
    (found,) = view.reduce(candidates(plain, 1))
    _, scores = certified(plain, found, 1)
    (count,) = view.reduce(Reaches(scores[:, 0], active, plain.exact, plain.roughness))
    return torch.as_tensor(count > 0)

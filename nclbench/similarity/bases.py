"""Where tiles of S come from: a stored matrix, or embeddings and a scorer. Both define the score of every pair."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.plan import SCORES, SUMS, Plan
from nclbench.problem import Floats
from nclbench.ragged import Ragged
from nclbench.similarity.alike import first_alike
from nclbench.similarity.halves import Halves

Rows = slice | Tensor
Prepared = Tensor | Ragged
# more at once leave the cache, and are five times slower
_PAIR_BYTES = 4 << 20
_MANY = 1 << 16
# entries that stay in cache while they are looked at twice
_CACHED = 1 << 18
# sums of squares this close, in proportion, may differ by rounding alone
_EVEN = 1e-4
# scores by which lines of a matrix are first told apart
_FEW = 32


class Scoring(Protocol):
    """What `Embedded` needs of a scorer; see `nclbench.scorers`."""

    def tile(self, queries: Any, items: Any) -> Tensor: ...
    def fine(self, queries: Any, items: Any) -> Tensor: ...
    def pairs(self, queries: Any, items: Any) -> Tensor: ...
    def largest(self, queries: Any, items: Any) -> float: ...
    def error(self, queries: Any, items: Any, largest: float) -> float: ...


class Inner(Scoring, Protocol):
    """A scorer whose scores are inner products of what was prepared."""

    def write(self, queries: Tensor, items: Tensor, room: Tensor) -> Tensor: ...
    def chosen(self, queries: Tensor, items: Tensor, query: Tensor, item: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Stored:
    """A ready score matrix (N, M), in memory or mapped from a file. The score of a pair is its stored value."""

    matrix: Floats
    plan: Plan
    error: float = 0.0
    roughness: float = 0.0
    tolerance: float = 0.0
    shelf: dict[str, Any] | None = None
    lean = 0.0
    ready = True

    @cached_property
    def _ends(self) -> tuple[float, float]:
        step = max(1, _CACHED // self.shape[1])
        chunks = (self.matrix[start : start + step] for start in range(0, len(self.matrix), step))
        ends = [(float(part.min()), float(part.max())) for part in chunks]
        return min(low for low, _ in ends), max(high for _, high in ends)

    @property
    def largest(self) -> float:
        low, high = self._ends
        return max(-low, high)

    @property
    def spread(self) -> float:
        low, high = self._ends
        return (high - low) / 2

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        """In the precision of the file, so that nothing is rounded."""
        # the slice first, which copies nothing: of chosen rows only the wanted columns are then read
        if isinstance(rows, slice):
            block = self.matrix[rows][:, _index(columns)]
        else:
            block = self.matrix[:, _index(columns)][_index(rows)]
        return self.plan.put(block, SUMS if block.dtype.itemsize > SCORES.itemsize else SCORES)

    rough = tile

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        """The tile; where it must be widened for a room (n, m) of float64, there."""
        found = self.tile(rows, columns)
        return room.copy_(found) if room.dtype == SUMS != found.dtype else found

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        return self.tile(rows, columns).to(SUMS)

    def alike(self, axis: int) -> Tensor:
        """(N,) or, for axis 1, (M,) the position of the first row or column of the same scores."""
        lines = self.matrix if axis == 0 else self.matrix.T
        few = first_alike(self.plan.put(lines[:, :_FEW], SUMS))
        alike = few.tolist()
        later = [line for line, first in enumerate(alike) if line != first]
        seen: dict[tuple[int, bytes], int] = {}
        for line in sorted({*later, *(alike[line] for line in later)}):
            whole = blake2b(np.ascontiguousarray(lines[line]).tobytes(), digest_size=16).digest()
            few[line] = seen.setdefault((alike[line], whole), line)
        return few

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        """(P,), (P,) positions -> (P,) float64."""
        return self.plan.put(self.matrix[query.cpu().numpy(), item.cpu().numpy()], SUMS)


@dataclass(frozen=True, eq=False)
class Embedded:
    """Scores recomputed from prepared vectors (N, D) and (M, D), or N and M sets, tile by tile: S is never held."""

    queries: Prepared
    items: Prepared
    scorer: Scoring
    plan: Plan
    tolerance: float = 0.0
    shelf: dict[str, Any] | None = None
    ready = False

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.queries), len(self.items)

    @property
    def kind(self) -> torch.dtype:
        """Of its tiles."""
        return SUMS if self._inner is None else SCORES

    @cached_property
    def error(self) -> float:
        return self.scorer.error(self.queries, self.items, self.largest) if self._split is None else self._split.error

    @cached_property
    def roughness(self) -> float:
        return self.error if self._half is None else max(self.error, self._half.error)

    @cached_property
    def largest(self) -> float:
        return self.scorer.largest(self.queries, self.items)

    @property
    def spread(self) -> float:
        return self.largest

    @cached_property
    def lean(self) -> float:
        if self._inner is None or isinstance(self.queries, Ragged) or isinstance(self.items, Ragged):
            return 0.0
        a, b = (_power(*both) for both in pairwise((self.queries, self.items, self.queries)))
        return (a - b) / (a + b) if abs(a - b) > _EVEN * (a + b) else 0.0

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        if self._split is not None:
            return self._split.tile(rows, columns)
        return self.scorer.tile(self.queries[rows], self.items[columns])

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        """The tile, the fine one for a room (n, m) of float64: in that room, if it can be made there."""
        if self._inner is not None and (self._split is None or room.dtype == SUMS):
            return self._inner.write(self.queries[rows], self.items[columns], room)  # type: ignore[arg-type]
        return self.fine(rows, columns) if room.dtype == SUMS else self.tile(rows, columns)

    def rough(self, rows: Rows, columns: Rows) -> Tensor:
        return self.tile(rows, columns) if self._half is None else self._half.tile(rows, columns)

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        return self.scorer.fine(self.queries[rows], self.items[columns])

    def alike(self, axis: int) -> Tensor:
        """(N,) or, for axis 1, (M,) the position of the first row or column of the same vector."""
        return self._first_item if axis else self._first_query

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        """(P,), (P,) positions -> (P,) float64 by the definition. Pairs of repeated vectors are scored once."""
        if len(query) > _MANY:
            key = self._first_query[query] * self.shape[1] + self._first_item[item]
            key, where = torch.unique(key, return_inverse=True)
            return self._pairs(key // self.shape[1], key % self.shape[1])[where]
        return self._pairs(query, item)

    def _pairs(self, query: Tensor, item: Tensor) -> Tensor:
        step = max(1, self.plan.breadth * _PAIR_BYTES // (3 * 8 * self.queries[:1].numel()))
        out = torch.empty(len(query), dtype=SUMS, device=self.queries.device)
        for start in range(0, len(query), step):
            part = slice(start, start + step)
            if self._inner is not None:
                out[part] = self._inner.chosen(self.queries, self.items, query[part], item[part])  # type: ignore[arg-type]
            else:
                out[part] = self.scorer.pairs(self.queries[query[part]], self.items[item[part]])
        return out

    @property
    def _inner(self) -> Inner | None:
        return cast(Inner, self.scorer) if getattr(self.scorer, "inner", False) else None

    @cached_property
    def _half(self) -> Halves | None:
        return self._halves(split=False) if self.plan.half else None

    @cached_property
    def _split(self) -> Halves | None:
        return self._halves(split=True) if self.plan.split else None

    @property
    def operands(self) -> Halves | None:
        return self._split

    @property
    def rough_operands(self) -> Halves | None:
        return self._half

    def _halves(self, split: bool) -> Halves | None:
        if isinstance(self.queries, Ragged) or isinstance(self.items, Ragged) or self._inner is None:
            return None
        try:
            return Halves.of(self.queries, self.items, split)
        except torch.OutOfMemoryError:  # of a device, which then goes on with what it holds; processes must do the same
            if self.plan.world > 1:
                raise
            return None

    @cached_property
    def _first_query(self) -> Tensor:
        return first_alike(self.queries)

    @cached_property
    def _first_item(self) -> Tensor:
        return first_alike(self.items)


def _power(one: Tensor, other: Tensor) -> float:
    """The sum of squares of sums of scores, of one side's rows."""
    return float(host.mv(one, other.sum(0)).to(SUMS).square().sum())


def _index(rows: Rows) -> Any:
    return rows if isinstance(rows, slice) else rows.cpu().numpy()

"""Reducers that count by the defined score: tiles decide what lies outside their error, the rest is scored.

Each gives values per row of the view that it runs on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nclbench.compiled.between import between
from nclbench.compiled.counts import count
from nclbench.machine.memory import breadth
from nclbench.plan import COUNTS, Plan

State = tuple[Tensor, ...]
Exact = Callable[[Tensor, Tensor], Tensor]


def outward(values: Tensor, kind: torch.dtype, towards: float) -> Tensor:
    """Rounded to the tile's dtype so that the interval only grows."""
    rounded = values.to(kind)
    return torch.nextafter(rounded, torch.full_like(rounded, towards))


@dataclass(frozen=True, eq=False)
class Seen:
    """A tile (n, m) of which a view shows a few lines. added: (m,) of its dtype, to be added to each line, None for nothing."""

    tile: Tensor
    added: Tensor | None = None

    def near(self, rows: Tensor, over: Tensor, under: Tensor, fast: bool) -> tuple[Tensor, Tensor]:
        """Scores of these rows that lie between two bars, each of its own: their places among rows, their columns."""
        if fast:
            added = None if self.added is None else self.added.numpy()
            found = between(self.tile.numpy(), rows.numpy(), over.numpy(), under.numpy(), added)
            return torch.from_numpy(found[0]), torch.from_numpy(found[1])
        lines = self.tile[rows] if self.added is None else self.tile[rows] + self.added
        place, column = ((lines >= under[:, None]) & ~(lines > over[:, None])).nonzero(as_tuple=True)
        return place, column


@dataclass(frozen=True, eq=False)
class CountAbove:
    """For each of P pairs (sorted by query): how many *other* items of its row score more, and how many the same.

    threshold: (P,) defined scores of the pairs. error bounds |tile - exact|: pairs outside it are decided by the tile,
    the few inside by `exact`. tolerance: scores this close are ties. The pair itself is left out by its index. fast: read
    tiles once (`nclbench.compiled`), to the same numbers.
    """

    query: Tensor
    item: Tensor
    threshold: Tensor
    exact: Exact
    error: float
    tolerance: float
    fast: bool = False
    _bars: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False)
    whole_rows = False
    fine = False
    settles = True
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return (torch.zeros(2, len(self.query), dtype=COUNTS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        bounds = torch.tensor([rows.start, rows.stop], device=self.query.device)
        first, last = torch.searchsorted(self.query, bounds).tolist()
        if self.fast:
            self._read(state[0], tile, rows, columns, slice(first, last))
            return state
        size = max(1, tile.shape[0])
        for start in range(first, last, size):
            self._count(state[0], tile, rows, columns, slice(start, min(start + size, last)))
        return state

    def bars(self, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """(P,), (P,) what surely lies above a threshold and what may tie with it, in the precision of tiles."""
        if kind not in self._bars:
            margin = self.error + self.tolerance
            over, under = outward(self.threshold + margin, kind, torch.inf), outward(self.threshold - margin, kind, -torch.inf)
            self._bars[kind] = over, under
        return self._bars[kind]

    def _count(self, counts: Tensor, tile: Tensor, rows: slice, columns: slice, pairs: slice) -> None:
        local = self.query[pairs] - rows.start
        aligned = len(local) == len(tile) and bool((local[1:] > local[:-1]).all())
        x = tile if aligned else tile[local]
        over, under = (bar[pairs] for bar in self.bars(tile.dtype))
        flags = torch.empty_like(x)
        sure = torch.gt(x, over[:, None], out=flags).sum(1).to(COUNTS)
        likely = torch.ge(x, under[:, None], out=flags).sum(1).to(COUNTS)
        mine = ((self.item[pairs] >= columns.start) & (self.item[pairs] < columns.stop)).nonzero()[:, 0]
        own = x[mine, self.item[pairs][mine] - columns.start]
        sure[mine] -= (own > over[mine]).to(COUNTS)
        likely[mine] -= (own >= under[mine]).to(COUNTS)
        counts[0, pairs] += sure
        self.decide(counts, Seen(tile), rows, columns, (likely > sure).nonzero()[:, 0] + pairs.start)

    def _read(self, counts: Tensor, tile: Tensor, rows: slice, columns: slice, pairs: slice) -> None:
        query, item, over, under, sure = (
            values[pairs].numpy() for values in (self.query, self.item, *self.bars(tile.dtype), counts[0])
        )
        near = count(tile.numpy(), (rows.start, columns.start), query, item, over, under, sure)
        self.decide(counts, Seen(tile), rows, columns, torch.from_numpy(near) + pairs.start)

    def decide(self, counts: Tensor, seen: Seen, rows: slice, columns: slice, undecided: Tensor) -> None:
        """Adds what the definition says of the pairs (n,) that have scores within the error of the tile."""
        step = max(1, (breadth(seen.tile.device.type) << 20) // seen.tile.shape[1])
        for start in range(0, len(undecided), step):
            self._score(counts, seen, rows, columns, undecided[start : start + step])

    def _score(self, counts: Tensor, seen: Seen, rows: slice, columns: slice, pairs: Tensor) -> None:
        over, under = (bar[pairs] for bar in self.bars(seen.tile.dtype))
        place, column = seen.near(self.query[pairs] - rows.start, over, under, self.fast)
        self.settle(counts, pairs[place], column + columns.start)

    def settle(self, counts: Tensor, pair: Tensor, item: Tensor) -> None:
        """Adds to counts (2, P) what the definition says of these items beside the thresholds of these pairs."""
        other = item != self.item[pair]
        pair, item = pair[other], item[other]
        difference = self.exact(self.query[pair], item) - self.threshold[pair]
        counts[0].index_add_(0, pair, (difference > self.tolerance).to(COUNTS))
        counts[1].index_add_(0, pair, (difference.abs() <= self.tolerance).to(COUNTS))

    def merge(self, a: State, b: State) -> State:
        return (a[0] + b[0],)

    def finish(self, state: State) -> tuple[Tensor, Tensor]:
        """above (P,), tied (P,)."""
        return state[0][0], state[0][1]


@dataclass(frozen=True, eq=False)
class Reaches:
    """How many columns of a row reach a bar, by the defined score.

    bar: (N,) a value a row or, by_column, (M,) a value a column. chosen: (M,) which columns count, None for all.
    error bounds |tile - exact|.
    """

    bar: Tensor
    chosen: Tensor | None
    exact: Exact
    error: float
    by_column: bool = False
    whole_rows = False
    fine = False
    settles = True
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return (torch.zeros(shape[0], dtype=COUNTS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        bar = self.bar[columns] if self.by_column else self.bar[rows, None]
        over, under = outward(bar + self.error, tile.dtype, torch.inf), outward(bar - self.error, tile.dtype, -torch.inf)
        sure = tile > over
        near = (tile >= under) & ~sure
        if self.chosen is not None:
            sure, near = sure & self.chosen[columns], near & self.chosen[columns]
        state[0][rows] += sure.sum(1)
        row, column = near.nonzero(as_tuple=True)
        row, column = row + rows.start, column + columns.start
        wanted = self.bar[column] if self.by_column else self.bar[row]
        state[0].index_add_(0, row, (self.exact(row, column) >= wanted).to(COUNTS))
        return state

    def merge(self, a: State, b: State) -> State:
        return (a[0] + b[0],)

    def finish(self, state: State) -> Tensor:
        return state[0]

"""Reducers that count and choose by the defined score: tiles decide what lies outside their error, the rest is scored.

Each gives values per row of the view that it runs on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nclbench import compiled
from nclbench.plan import COUNTS, SCORES, SUMS, Plan

_CHUNK = 8
State = tuple[Tensor, ...]
Exact = Callable[[Tensor, Tensor], Tensor]


def _outward(values: Tensor, kind: torch.dtype, towards: float) -> Tensor:
    """Rounded to the tile's dtype so that the interval only grows."""
    rounded = values.to(kind)
    return torch.nextafter(rounded, torch.full_like(rounded, towards))


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

    @cached_property
    def bars(self) -> dict[torch.dtype, tuple[Tensor, Tensor]]:
        """(P,), (P,) what surely lies above a threshold and what may tie with it, in the precisions of tiles."""
        margin = self.error + self.tolerance
        return {
            kind: (_outward(self.threshold + margin, kind, torch.inf), _outward(self.threshold - margin, kind, -torch.inf))
            for kind in (SCORES, SUMS)
        }

    def _count(self, counts: Tensor, tile: Tensor, rows: slice, columns: slice, pairs: slice) -> None:
        local = self.query[pairs] - rows.start
        aligned = len(local) == len(tile) and bool((local[1:] > local[:-1]).all())
        x = tile if aligned else tile[local]
        over, under = (bar[pairs] for bar in self.bars[tile.dtype])
        flags = torch.empty_like(x)
        sure = torch.gt(x, over[:, None], out=flags).sum(1).to(COUNTS)
        likely = torch.ge(x, under[:, None], out=flags).sum(1).to(COUNTS)
        mine = ((self.item[pairs] >= columns.start) & (self.item[pairs] < columns.stop)).nonzero()[:, 0]
        own = x[mine, self.item[pairs][mine] - columns.start]
        sure[mine] -= (own > over[mine]).to(COUNTS)
        likely[mine] -= (own >= under[mine]).to(COUNTS)
        counts[0, pairs] += sure
        self._decide(counts, tile, rows, columns, (likely > sure).nonzero()[:, 0] + pairs.start)

    def _read(self, counts: Tensor, tile: Tensor, rows: slice, columns: slice, pairs: slice) -> None:
        query, item, over, under, sure = (
            values[pairs].numpy() for values in (self.query, self.item, *self.bars[tile.dtype], counts[0])
        )
        near = compiled.count(tile.numpy(), (rows.start, columns.start), query, item, over, under, sure)
        self._decide(counts, tile, rows, columns, torch.from_numpy(near) + pairs.start)

    def _decide(self, counts: Tensor, tile: Tensor, rows: slice, columns: slice, undecided: Tensor) -> None:
        step = max(1, max(1 << 20, tile.numel()) // tile.shape[1])
        for start in range(0, len(undecided), step):
            self._score(counts, tile, rows, columns, undecided[start : start + step])

    def _score(self, counts: Tensor, tile: Tensor, rows: slice, columns: slice, pairs: Tensor) -> None:
        over, under = (bar[pairs, None] for bar in self.bars[tile.dtype])
        near = tile[self.query[pairs] - rows.start]
        hit = ((near >= under) & ~(near > over)).nonzero()
        self.settle(counts, pairs[hit[:, 0]], hit[:, 1] + columns.start)

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


def _maxima(tile: Tensor, width: int) -> Tensor:
    """(n, width * _CHUNK) -> (n, width), the largest of every width-th column; quick in the order of memory."""
    if tile.stride(1) != 1:
        return tile.T.reshape(_CHUNK, width, len(tile)).amax(0).T
    half = torch.maximum(tile[:, : 4 * width], tile[:, 4 * width :])
    quarter = torch.maximum(half[:, : 2 * width], half[:, 2 * width :])
    return torch.maximum(quarter[:, :width], quarter[:, width:])


def _taken(tile: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The entries at these places, as `tile[row, column]` gives them, in a third of the time."""
    (n, m), (down, across) = tile.shape, tile.stride()
    flat = tile.as_strided(((n - 1) * down + (m - 1) * across + 1,), (1,))
    places = row * down + column * across
    return flat.index_select(0, places.view(-1)).view(places.shape)


@dataclass(frozen=True, eq=False)
class Leaders:
    """The `count` largest tile values of each row with their columns; candidates, since tiles are approximate.

    fast: as of `CountAbove`.
    """

    count: int
    fast: bool = False
    whole_rows = False
    fine = False
    settles = True
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        size = (shape[0], self.count)
        return (
            torch.full(size, -torch.inf, dtype=SUMS, device=plan.device),
            torch.full(size, -1, dtype=COUNTS, device=plan.device),
        )

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        best, where = state[0][rows], state[1][rows]
        if self.fast:
            compiled.lead(tile.numpy(), columns.start, best.numpy(), where.numpy())
            return state
        if tile.shape[1] < 2 * _CHUNK * self.count:
            value, column = tile.topk(min(self.count, tile.shape[1]), dim=1)
            column = column + columns.start
        else:
            value, column = self._survivors(tile, best[:, -1], columns.start)
        value = torch.cat([best, value.to(SUMS)], 1)
        column = torch.cat([where, column], 1)
        top, order = value.topk(self.count, dim=1)
        state[0][rows], state[1][rows] = top, column.gather(1, order)
        return state

    def _survivors(self, tile: Tensor, bar: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """The entries that may be among the largest, padded to a rectangle.

        A chunk's maximum stands for its entries: the count-th largest maximum bounds the count-th largest entry.
        """
        width = tile.shape[1] // _CHUNK
        chunks = _maxima(tile[:, : width * _CHUNK], width)
        bar = _outward(bar, tile.dtype, -torch.inf)
        if bool(bar.isinf().any()):
            bar = torch.maximum(bar, chunks.topk(self.count, dim=1, sorted=False).values.amin(1))
        row, chunk = (chunks >= bar[:, None]).nonzero(as_tuple=True)
        members = chunk[:, None] + width * torch.arange(_CHUNK, device=tile.device)
        entries = _taken(tile, row[:, None], members)
        inside = (entries >= bar[row, None]).view(-1).nonzero()[:, 0]
        row, column, entries = row[inside // _CHUNK], members.view(-1)[inside], entries.view(-1)[inside]
        if width * _CHUNK < tile.shape[1]:
            rest, tail = (tile[:, width * _CHUNK :] >= bar[:, None]).nonzero(as_tuple=True)
            row, order = torch.cat([row, rest]).sort(stable=True)
            column = torch.cat([column, tail + width * _CHUNK])[order]
            entries = torch.cat([entries, tile[rest, tail + width * _CHUNK]])[order]
        sizes = torch.bincount(row, minlength=len(tile))
        place = torch.arange(len(row), device=tile.device) - (sizes.cumsum(0) - sizes)[row]
        longest = int(sizes.max()) if len(row) else 0
        value = torch.full((len(tile), longest), -torch.inf, dtype=SUMS, device=tile.device)
        index = torch.full((len(tile), longest), -1, dtype=COUNTS, device=tile.device)
        value[row, place], index[row, place] = entries.to(SUMS), column + offset
        return value, index

    def merge(self, a: State, b: State) -> State:
        value, order = torch.cat([a[0], b[0]], 1).topk(self.count, dim=1)
        return value, torch.cat([a[1], b[1]], 1).gather(1, order)

    def finish(self, state: State) -> State:
        return state


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
        over, under = _outward(bar + self.error, tile.dtype, torch.inf), _outward(bar - self.error, tile.dtype, -torch.inf)
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

"""The reducer that chooses the largest of each row: candidates, since tiles are approximate."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.compiled.leading import lead
from nclbench.plan import COUNTS, PLACES, SUMS, Plan
from nclbench.ranking.counting import outward

_CHUNK = 8
# rows that are merged at a time
_MERGED = 4096
State = tuple[Tensor, ...]


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

    fast: as of `CountAbove`. kind: of the widest tile that there may be.
    """

    count: int
    fast: bool = False
    kind: torch.dtype = SUMS
    whole_rows = False
    fine = False
    settles = True
    across = False
    apart = True

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        size = (shape[0], self.count)
        return (
            torch.full(size, -torch.inf, dtype=self.kind, device=plan.device),
            torch.full(size, -1, dtype=PLACES, device=plan.device),
        )

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        assert tile.itemsize <= self.kind.itemsize
        best, where = state[0][rows], state[1][rows]
        if self.fast:
            lead(tile.numpy(), columns.start, best.numpy(), where.numpy())
            return state
        if tile.shape[1] < 2 * _CHUNK * self.count:
            value, column = tile.topk(min(self.count, tile.shape[1]), dim=1)
            column = column + columns.start
        else:
            value, column = self._survivors(tile, best[:, -1], columns.start)
        value = torch.cat([best, value.to(self.kind)], 1)
        column = torch.cat([where, column.to(PLACES)], 1)
        top, order = value.topk(self.count, dim=1)
        state[0][rows], state[1][rows] = top, column.gather(1, order)
        return state

    def _survivors(self, tile: Tensor, bar: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """The entries that may be among the largest, padded to a rectangle.

        A chunk's maximum stands for its entries: the count-th largest maximum bounds the count-th largest entry.
        """
        width = tile.shape[1] // _CHUNK
        chunks = _maxima(tile[:, : width * _CHUNK], width)
        bar = outward(bar, tile.dtype, -torch.inf)
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
        value = torch.full((len(tile), longest), -torch.inf, dtype=tile.dtype, device=tile.device)
        index = torch.full((len(tile), longest), -1, dtype=COUNTS, device=tile.device)
        value[row, place], index[row, place] = entries, column + offset
        return value, index

    def merge(self, a: State, b: State) -> State:
        """Few rows at a time, or it would take the most memory of all that a ranking does."""
        value, column = torch.empty_like(a[0]), torch.empty_like(a[1])
        for start in range(0, len(value), _MERGED):
            rows = slice(start, start + _MERGED)
            value[rows], order = torch.cat([a[0][rows], b[0][rows]], 1).topk(self.count, dim=1)
            column[rows] = torch.cat([a[1][rows], b[1][rows]], 1).gather(1, order)
        return value, column

    def finish(self, state: State) -> State:
        return state

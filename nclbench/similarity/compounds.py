"""Bases made of other scores: some of their rows, two collections side by side, a weighted sum of several models."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.plan import SUM_ROUNDOFF, SUMS, Plan
from nclbench.similarity.interfaces import Base, Over, Rows, within
from nclbench.similarity.maps import near
from nclbench.similarity.view import View

# scores that are summed at a time
_FEW = 1 << 19


@dataclass(frozen=True, eq=False)
class Beside:
    """Two plain views of the same rows, the columns of `right` after those of `left`."""

    left: View
    right: View
    shelf = None
    lean = 0.0
    ready = False

    def alike(self, axis: int) -> None:
        return None

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[0], self.left.shape[1] + self.right.shape[1]

    @property
    def plan(self) -> Plan:
        return self.left.plan

    @property
    def error(self) -> float:
        return max(self.left.error, self.right.error)

    @property
    def roughness(self) -> float:
        return self.error  # its rough tiles are its tiles

    @property
    def largest(self) -> float:
        return max(self.left.base.largest, self.right.base.largest)

    @property
    def spread(self) -> float:
        return self.largest

    @property
    def tolerance(self) -> float:
        return max(self.left.tolerance, self.right.tolerance)

    def rough(self, rows: Rows, columns: Rows) -> Tensor:
        return self.tile(rows, columns)

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        parts = [view.plain(rows, part) for view, part in self._shares(columns)]
        return parts[0] if len(parts) == 1 else torch.cat([part.to(parts[-1].dtype) for part in parts], 1)

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        """Side by side in the room, where both are of its dtype."""
        start = 0
        for view, part in self._shares(columns):
            width = part.stop - part.start if isinstance(part, slice) else len(part)
            place = room[:, start : start + width]
            start += width
            found = view.within(rows, part, place)
            if found.dtype != room.dtype:
                return self.tile(rows, columns)
            if found.data_ptr() != place.data_ptr():
                place.copy_(found)
        return room

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        return torch.cat([view.plain(rows, part, fine=True) for view, part in self._shares(columns)], 1)

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        out = torch.empty(len(query), dtype=SUMS, device=query.device)
        width = self.left.shape[1]
        for view, mine, shift in ((self.left, item < width, 0), (self.right, item >= width, width)):
            out[mine] = view.exact(query[mine], item[mine] - shift)
        return out

    def _shares(self, columns: Rows) -> list[tuple[View, Rows]]:
        """Which columns of each side these are. Chosen columns must be in rising order."""
        width = self.left.shape[1]
        if isinstance(columns, slice):
            start, stop, _ = columns.indices(self.shape[1])
            left: Rows = slice(start, min(stop, width))
            right: Rows = slice(max(start, width) - width, stop - width)
            counts = min(stop, width) - start, stop - max(start, width)
        else:
            left, right = columns[columns < width], columns[columns >= width] - width
            counts = len(left), len(right)
        shares = ((self.left, left), (self.right, right))
        return [share for share, count in zip(shares, counts, strict=True) if count > 0]


@dataclass(frozen=True, eq=False)
class Chosen(Over):
    """Some rows and columns of a base, (B,) positions each, None for all; nothing is copied but what a tile needs."""

    base: Base
    rows: Tensor | None
    columns: Tensor | None
    shelf = None
    lean = 0.0
    ready = False

    def alike(self, axis: int) -> Tensor | None:
        return self.base.alike(axis) if (self.rows, self.columns)[axis] is None else None

    @property
    def shape(self) -> tuple[int, int]:
        n, m = self.base.shape
        return n if self.rows is None else len(self.rows), m if self.columns is None else len(self.columns)

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        return self.base.tile(*self._there(rows, columns))

    def rough(self, rows: Rows, columns: Rows) -> Tensor:
        return self.base.rough(*self._there(rows, columns))

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        return within(self.base, *self._there(rows, columns), room)

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        return self.base.fine(*self._there(rows, columns))

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        query = query if self.rows is None else self.rows[query]
        return self.base.exact(query, item if self.columns is None else self.columns[item])

    def _there(self, rows: Rows, columns: Rows) -> tuple[Rows, Rows]:
        rows = rows if self.rows is None else self.rows[rows]
        return rows, columns if self.columns is None else self.columns[columns]


@dataclass(frozen=True, eq=False)
class Part:
    """One summand: weight (base + row bias + column bias). row: (N,), column: (M,), None for none."""

    weight: float
    base: Base
    row: Tensor | None = None
    column: Tensor | None = None

    def shifted(self, x: Tensor, rows: Rows, columns: Rows, pairs: bool = False) -> Tensor:
        """x with the biases, in float64. pairs: rows and columns are those of single scores."""
        x = x.to(SUMS)
        if self.row is not None:
            x = x + (self.row[rows] if pairs else self.row[rows, None])
        if self.column is not None:
            x = x + (self.column[columns] if pairs else self.column[None, columns])
        return self.weight * x

    @property
    def largest(self) -> float:
        shifts = sum(float(bias.abs().max()) for bias in (self.row, self.column) if bias is not None)
        return abs(self.weight) * (self.base.largest + shifts)

    @property
    def spread(self) -> float:
        shifts = sum(float(bias.amax() - bias.amin()) / 2 for bias in (self.row, self.column) if bias is not None)
        return abs(self.weight) * (self.base.spread + shifts)


@dataclass(frozen=True, eq=False)
class Weighted:
    """The weighted sum of several bases of one shape, added in their order in float64."""

    parts: tuple[Part, ...]
    shelf = None
    lean = 0.0
    ready = False

    def alike(self, axis: int) -> None:
        return None

    @property
    def shape(self) -> tuple[int, int]:
        return self.parts[0].base.shape

    @property
    def plan(self) -> Plan:
        return self.parts[0].base.plan

    @property
    def error(self) -> float:
        return sum(abs(part.weight) * part.base.error for part in self.parts) + 64 * SUM_ROUNDOFF * self.largest

    @property
    def roughness(self) -> float:
        return sum(abs(part.weight) * part.base.roughness for part in self.parts) + 64 * SUM_ROUNDOFF * self.largest

    @property
    def largest(self) -> float:
        return sum(part.largest for part in self.parts)

    @property
    def spread(self) -> float:
        return sum(part.spread for part in self.parts)

    @property
    def tolerance(self) -> float:
        fitted = any(part.row is not None or part.column is not None for part in self.parts)
        return max(near(self.largest, self.spread) if fitted else 0.0, *(part.base.tolerance for part in self.parts))

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        return self._sum([part.shifted(part.base.tile(rows, columns), rows, columns) for part in self.parts])

    def rough(self, rows: Rows, columns: Rows) -> Tensor:
        return self._sum([part.shifted(part.base.rough(rows, columns), rows, columns) for part in self.parts])

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        """In the room, and so in its precision, a few rows at a time: each summand is a tile in float64."""
        make, step = self.fine if room.dtype == SUMS else self.tile, max(1, _FEW // room.shape[1])
        for start in range(0, len(room), step):
            part = slice(start, min(start + step, len(room)))
            few = slice(rows.start + part.start, rows.start + part.stop) if isinstance(rows, slice) else rows[part]
            room[part] = make(few, columns)
        return room

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        return self._sum([part.shifted(part.base.fine(rows, columns), rows, columns) for part in self.parts])

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        return self._sum([part.shifted(part.base.exact(query, item), query, item, pairs=True) for part in self.parts])

    @staticmethod
    def _sum(values: list[Tensor]) -> Tensor:
        total = values[0]
        for more in values[1:]:
            total = total + more
        return total

"""Bases made of other scores: two collections side by side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.plan import SUMS, Plan
from nclbench.similarity import Rows, View


@dataclass(frozen=True, eq=False)
class Beside:
    """Two plain views of the same rows, the columns of `right` after those of `left`."""

    left: View
    right: View

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
    def largest(self) -> float:
        return max(self.left.base.largest, self.right.base.largest)

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        parts = [view.plain(rows, part) for view, part in self._shares(columns)]
        return parts[0] if len(parts) == 1 else torch.cat([part.to(parts[-1].dtype) for part in parts], 1)

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

"""Scores kept as they are first made: fits make them strip by strip, others then read what they would make again.

Products of other shapes differ in last bits. A fit therefore reads a strip only as it would have made it; ranks, which
are certified, read any part.
"""

from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.plan import SCORES, SUMS
from nclbench.similarity.bases import Embedded
from nclbench.similarity.halves import Halves
from nclbench.similarity.interfaces import Over, Rows

# on a shelf: what is asked of t2v will be asked of v2t
BOTH = "both"


@dataclass(eq=False)
class Kept(Over):
    """A base (N, M) of one process whose strips of whole rows are kept while `open`, where twice the matrix fits.

    open: while operators are fitted. A kernel of the same size may stand beside the scores. _strips: what is there, by first and
    last row. _there: (N,) rows that are, or are being made.
    """

    base: Embedded
    open: bool = True
    _scores: Tensor | None = None
    _strips: set[tuple[int, int]] = field(default_factory=set)
    _there: "np.ndarray[tuple[int], np.dtype[np.bool_]]" = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._there = np.zeros(self.base.shape[0], dtype=bool)

    @property
    def held(self) -> int:
        """Bytes of what is kept."""
        return 0 if self._scores is None else SCORES.itemsize * self.shape[0] * self.shape[1]

    @property
    def operands(self) -> Halves | None:
        return getattr(self.base, "operands", None)

    @property
    def rough_operands(self) -> Halves | None:
        """None where scores are kept: to read them is quicker."""
        return None if self.ready else getattr(self.base, "rough_operands", None)

    @property
    def ready(self) -> bool:
        return not self.open and self._scores is not None and bool(self._there.all())

    @property
    def kind(self) -> torch.dtype:
        return self.base.kind

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        return self._tile(rows, columns, None)

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        """The tile, or the fine one for a room of float64: in that room, unless it is kept elsewhere."""
        return self.base.within(rows, columns, room) if room.dtype == SUMS else self._tile(rows, columns, room)

    def _tile(self, rows: Rows, columns: Rows, room: Tensor | None) -> Tensor:
        strip = _strip(rows, columns, self.shape[1])
        slices = isinstance(rows, slice) and isinstance(columns, slice)
        if self._scores is not None and slices and (strip in self._strips or (not self.open and self._there[rows].all())):
            return self._scores[rows, columns]
        place = self._reserved(strip) if self.open and strip is not None else None
        if strip is None or place is None:
            return self.base.tile(rows, columns) if room is None else self.base.within(rows, columns, room)
        try:
            made = self.base.within(rows, columns, place)
        except BaseException:
            self._there[rows] = False
            raise
        if made.data_ptr() != place.data_ptr():
            place.copy_(made)
        self._strips.add(strip)
        return place

    def rough(self, rows: Rows, columns: Rows) -> Tensor:
        """What is kept, where it is there, is no rougher."""
        if not self.open and isinstance(rows, slice) and isinstance(columns, slice) and self._there[rows].all():
            return self.tile(rows, columns)
        return self.base.rough(rows, columns)

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        return self.base.fine(rows, columns)

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        return self.base.exact(query, item)

    def close(self) -> None:
        """All operators are fitted: what is kept is for ranking now, and nothing more is kept."""
        self.open = False

    def _reserved(self, strip: tuple[int, int]) -> Tensor | None:
        """Where a strip is to be made, if it is to be kept."""
        rows = slice(*strip)
        with self._lock:
            if self._scores is None:
                self.open = self.plan.keeps(2 * SCORES.itemsize * self.shape[0] * self.shape[1])
                if self.open:
                    self._scores = self._room()
            if self._scores is None or self._there[rows].any():
                return None
            self._there[rows] = True
        return self._scores[rows]

    def _room(self) -> Tensor | None:
        try:
            return host.room(self.shape, torch.empty(0, dtype=SCORES, device=self.plan.device))
        except torch.OutOfMemoryError:  # of a device
            self.open = False
            return None


def _strip(rows: Rows, columns: Rows, width: int) -> tuple[int, int] | None:
    """First and last row of whole rows, None for any other part."""
    if isinstance(rows, Tensor) or isinstance(columns, Tensor) or (columns.start, columns.stop) != (0, width):
        return None
    return rows.start, rows.stop

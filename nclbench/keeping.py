"""Scores kept as they are first made: fits make them strip by strip, others then read what they would make again.

Products of other shapes differ in last bits. A fit therefore reads a strip only as it would have made it; ranks, which
are certified, read any part.
"""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nclbench import host
from nclbench.halves import Halves
from nclbench.interfaces import Base, Over, Rows


@dataclass(eq=False)
class Kept(Over):
    """A base (N, M) of one process whose strips of whole rows are kept while `open`, where twice the matrix fits.

    open: while operators are fitted. A kernel of the same size may stand beside the scores.
    """

    base: Base
    open: bool = True
    shelf: dict[str, Any] = field(default_factory=dict)
    _scores: Tensor | None = None
    _strips: set[tuple[int, int]] = field(default_factory=set)
    _there: "np.ndarray[tuple[int], np.dtype[np.bool_]]" = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._there = np.zeros(self.base.shape[0], dtype=bool)

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

    def fresh(self, fine: bool) -> bool:
        return fine and self.base.fresh(fine)

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        if not isinstance(rows, slice) or not isinstance(columns, slice):
            return self.base.tile(rows, columns)
        whole = columns.start == 0 and columns.stop == self.shape[1]
        strip = rows.start, rows.stop
        if self._scores is not None and ((whole and strip in self._strips) or (not self.open and self._there[rows].all())):
            return self._scores[rows, columns]
        made = self.base.tile(rows, columns)
        if self.open and whole:
            self._keep(strip, made)
        return made

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
        self.shelf.clear()

    def _keep(self, strip: tuple[int, int], made: Tensor) -> None:
        rows = slice(*strip)
        with self._lock:
            if self._scores is None:
                self.open = self.plan.keeps(2 * made.element_size() * self.shape[0] * self.shape[1])
                if self.open:
                    self._scores = self._room(made)
            if self._scores is None or self._there[rows].any():
                return
            self._there[rows] = True
        self._scores[rows] = made
        self._strips.add(strip)

    def _room(self, made: Tensor) -> Tensor | None:
        try:
            return host.room(self.shape, made)
        except torch.OutOfMemoryError:  # of a device
            self.open = False
            return None

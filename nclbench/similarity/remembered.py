"""Scores that are dear to make are made once: a base that keeps every exact tile it was asked for."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nclbench.plan import FLAGS, SUMS
from nclbench.similarity.interfaces import Base, Over, Rows


@dataclass(eq=False)
class Remembered(Over):
    """A base whose float64 tiles are bit for bit the defined scores, so that they can stand for tiles and pairs alike.

    Every operator's fit and the ranking ask for all scores; here only the first one makes them. Each process keeps what
    it was asked for. Nothing is kept before something exact is wanted: float32 tiles are quicker where one pass is all.
    """

    base: Base
    scores: Tensor = field(init=False)
    known: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.scores = torch.empty(self.shape, dtype=SUMS, device=self.plan.device)
        self.known = torch.zeros(self.shape, dtype=FLAGS, device=self.plan.device)

    @staticmethod
    def size(shape: tuple[int, int]) -> int:
        """The bytes that it takes."""
        return shape[0] * shape[1] * (SUMS.itemsize + FLAGS.itemsize)

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        place = _place(rows, columns)
        return self.scores[place] if bool(self.known[place].all()) else self.base.tile(rows, columns)

    rough = tile

    def fine(self, rows: Rows, columns: Rows) -> Tensor:
        place = _place(rows, columns)
        if not bool(self.known[place].all()):
            # threads may do so at once: they write the same numbers, and say so only then
            self.scores[place] = self.base.fine(rows, columns)
            self.known[place] = True
        return self.scores[place]

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        out = self.scores[query, item]
        new = ~self.known[query, item]
        if bool(new.any()):
            out[new] = self.base.exact(query[new], item[new])
        return out


def _place(rows: Rows, columns: Rows) -> tuple[Rows, Rows]:
    """Chosen rows and chosen columns as places of a table of both."""
    if isinstance(rows, Tensor) and isinstance(columns, Tensor):
        return rows[:, None], columns
    return rows, columns

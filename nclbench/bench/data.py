"""Synthetic embeddings with hubs, as text and video towers make them: unit vectors that crowd around a few directions."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance

Matrix = npt.NDArray[np.float32]

# the queries' share of their item; how far both sides lie along a common direction, and how unevenly the items do
_ALIKE, _COMMON, _HUBS = 0.45, 0.5, 0.15
_APART = (-0.1, 0.6)


@dataclass(frozen=True, eq=False)
class Data:
    """queries (N, D), items (N, D): unit rows in float32; query i belongs to item i. plan: where and how to compute."""

    queries: Matrix
    items: Matrix
    plan: Plan

    @classmethod
    def make(cls, size: int, dim: int, plan: Plan, seed: int = 0) -> "Data":
        """Features fall off as k^-1/2; the items' loading on the common direction varies, which makes hubs."""
        draw = np.random.default_rng(seed)

        def noise(*shape: int) -> Matrix:
            return draw.standard_normal(shape, dtype=np.float32)

        spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
        spectrum /= np.linalg.norm(spectrum)
        own = noise(size, dim) * spectrum
        asked = np.float32(_ALIKE) * own + np.float32((1 - _ALIKE**2) ** 0.5) * (noise(size, dim) * spectrum)
        common, apart = noise(2, dim)
        common /= np.linalg.norm(common)
        apart -= (apart @ common) * common
        apart /= np.linalg.norm(apart)
        items = own + (_COMMON + _HUBS * noise(size, 1)) * common + np.float32(_APART[1]) * apart
        queries = asked + (_COMMON + _HUBS / 2 * noise(size, 1)) * common + np.float32(_APART[0]) * apart
        return cls(_unit(queries), _unit(items), plan)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.queries), len(self.items)

    @property
    def dim(self) -> int:
        return int(self.queries.shape[1])

    @property
    def elements(self) -> int:
        return len(self.queries) * len(self.items)

    @cached_property
    def scores(self) -> Matrix:
        """(N, N) S, as one matrix product makes it."""
        return self.queries @ self.items.T

    @cached_property
    def relevance(self) -> Relevance:
        return Relevance.of_items(np.arange(len(self.queries)))

    @cached_property
    def problem(self) -> Problem:
        names = tuple(map(str, range(len(self.queries))))
        return Problem(Embeddings(names, self.queries), Embeddings(names, self.items), self.relevance)

    def first(self, size: int) -> "Data":
        """The first so many pairs."""
        return self if size >= len(self.queries) else Data(self.queries[:size], self.items[:size], self.plan)


def _unit(vectors: Matrix) -> Matrix:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

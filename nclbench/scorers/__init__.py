"""Scorers: embeddings of two collections -> a tile of S.

The score of a pair is *defined* by `pairs`; `tile` and `fine` approximate it within `error` and rounding of float64.
A scorer of words and frames is an `interaction.Interaction`: instead of `prepare` it has `sets`, and its sides are `Ragged`.
"""

from typing import Any, ClassVar, Protocol

from torch import Tensor

from nclbench.plan import Plan
from nclbench.problem import Floats
from nclbench.registry import Registry


class Scorer(Protocol):
    """name: its spec. prepared vectors stay on the plan's device."""

    name: ClassVar[str]
    source: ClassVar[str]

    def prepare(self, vectors: Floats, plan: Plan) -> Tensor:
        """(N, D) as loaded -> (N, D) float32, ready for `tile`. The input is not changed."""
        ...

    def tile(self, queries: Tensor, items: Tensor) -> Tensor:
        """(n, D), (m, D) -> (n, m) float32 scores within `error` of `pairs`."""
        ...

    def fine(self, queries: Tensor, items: Tensor) -> Tensor:
        """The same in float64, within rounding of `pairs`."""
        ...

    def pairs(self, queries: Tensor, items: Tensor) -> Tensor:
        """(P, D), (P, D) -> (P,) float64: the definition, the same bits on every machine and in every batch."""
        ...

    def error(self, queries: Tensor, items: Tensor, largest: float) -> float:
        """A proven bound on |tile - pairs| for these collections. largest: what `largest` says of them."""
        ...

    def largest(self, queries: Tensor, items: Tensor) -> float:
        """A bound on |score|."""
        ...


# of these, and of `interaction.Interaction`
scorers: Registry[Any] = Registry("scorer", __name__)

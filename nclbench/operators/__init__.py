"""Operators: published remedies for hubness, each a frozen dataclass of its parameters.

`learn` looks at similarities and returns vectors over rows and columns and a pure function of a score (`TileMap`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from nclbench.registry import Registry
from nclbench.results import Convergence
from nclbench.similarity import TileMap
from nclbench.views import Views


@dataclass(frozen=True, eq=False)
class Fitted:
    """map: None for raw scores. params: what `auto` parameters became, None for those
    that had no say. notes: what a reader of the number must know."""

    map: TileMap | None
    params: Mapping[str, Any] = field(default_factory=dict)
    convergence: Convergence | None = None
    notes: tuple[str, ...] = ()


class Operator(Protocol):
    """source: the paper. needs: banks without which it cannot run."""

    name: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    def learn(self, views: Views) -> Fitted: ...


operators: Registry[Operator] = Registry("operator", __name__, aliases={"ncl": "sinkhorn"})

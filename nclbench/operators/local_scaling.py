"""Local scaling (LS) and its non-iterative contextual form (NICDM): distances in units of both neighbourhoods."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nclbench.errors import NotAvailable
from nclbench.maps import TileMap
from nclbench.operators import Fitted, check_fit, check_k, operators
from nclbench.reducers import Largest, TopMean
from nclbench.views import Views

# a distance below this is one of duplicates in single precision
_NEAREST = 2.0**-20


def _distance(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=_NEAREST)


def _scaled(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    return row + column - _distance(x).log()


def _need_cosines(name: str, largest: float) -> None:
    if largest > 1.001:
        raise NotAvailable(f"{name} needs cosines, its distance is 1 - s; scores here reach up to {largest:.3g}")


def _fitted(row: Tensor, column: Tensor) -> Fitted:
    """row, column: radii. The logarithm of sqrt(radius_i radius_j) / d."""
    ends = (_distance(1 - row).log() / 2, _distance(1 - column).log() / 2)
    size = -math.log(_NEAREST) + 2
    return Fitted(TileMap(_scaled, (ends[0],), (ends[1],), slope=math.inf, scale=size))


@operators.register("ls")
@dataclass(frozen=True)
class LocalScaling:
    """Local scaling (LS): exp(-d^2 / (rho_i rho_j)), d = 1 - s, rho the distance to the k-th neighbour opposite.

    Stands as the logarithm of sqrt(rho_i rho_j) / d, which orders alike. A query's radius comes from its own row; fit:
    an item's from the bank queries or from the test queries (kiez). Where a side has fewer than k, the last one counts.
    """

    source: ClassVar[str] = "Zelnik-Manor & Perona 2004; Schnitzer et al. 2012; kiez 0.5"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"
    unserved: ClassVar[str] = "it divides a distance by the item's radius, so what an item gains depends on the score"

    k: int = 10
    fit: str = "auto"

    def __post_init__(self) -> None:
        check_k(self.name, self.k)
        check_fit(self.name, self.fit)

    def learn(self, views: Views) -> Fitted:
        asked = views.watched("queries", "items")
        _need_cosines(self.name, asked.view.base.largest)
        (column,) = views.fitting(self.fit).reversed().reduce(Largest(self.k))
        (row,) = asked.reduce(Largest(self.k))
        return _fitted(1 - row[:, -1], 1 - column[:, -1])


@operators.register("nicdm")
@dataclass(frozen=True)
class ContextualDissimilarity:
    """Contextual dissimilarity (NICDM): d / sqrt(mu_i mu_j), d = 1 - s, mu the mean distance to the k nearest.

    The k nearest of the other side; stands as a logarithm. fit: as for `ls`.
    """

    source: ClassVar[str] = "Jegou et al. 2007; Schnitzer et al. 2012; kiez 0.5"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"
    unserved: ClassVar[str] = "it divides a distance by the item's radius, so what an item gains depends on the score"

    k: int = 10
    fit: str = "auto"

    def __post_init__(self) -> None:
        check_k(self.name, self.k)
        check_fit(self.name, self.fit)

    def learn(self, views: Views) -> Fitted:
        asked = views.watched("queries", "items")
        _need_cosines(self.name, asked.view.base.largest)
        (column,) = views.fitting(self.fit).reversed().reduce(TopMean(self.k))
        (row,) = asked.reduce(TopMean(self.k))
        return _fitted(1 - row, 1 - column)

"""Local scaling (LS) and its non-iterative contextual form (NICDM): distances in units of both neighbourhoods."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.errors import NotAvailable
from nclbench.operators import Fitted, beyond, check_fit, check_k, operators
from nclbench.similarity.maps import TileMap
from nclbench.similarity.reducers import Largest, TopMean
from nclbench.similarity.views import Views, Watched

# a distance below this is one of duplicates in single precision
_NEAREST = 2.0**-20


def _distance(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=_NEAREST)


def _scaled(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    return row + column - _distance(x).log()


def _need_cosines(name: str, largest: float) -> None:
    if largest > 1.001:
        raise NotAvailable(f"{name} needs cosines, its distance is 1 - s; scores here reach up to {largest:.3g}")


def _learn(name: str, views: Views, fit: str, k: int, neighbours: Callable[[Watched, int], Tensor]) -> Fitted:
    """The logarithm of sqrt(radius_i radius_j) / d. neighbours: scores, k -> (N,) the likeness that gives a row's radius."""
    asked = views.watched("queries", "items")
    _need_cosines(name, asked.view.base.largest)
    asking = views.fitting(fit)
    likeness = neighbours(asked, k), neighbours(asking.reversed(), k)
    ends = [_distance(near).log() / 2 for near in likeness]
    few = beyond(k, (asking.shape[0], "rows it is fitted on"), (asking.shape[1], "items"))
    return Fitted(TileMap(_scaled, (ends[0],), (ends[1],), slope=math.inf, scale=-math.log(_NEAREST) + 2), notes=few)


def _kth(scores: Watched, k: int) -> Tensor:
    (nearest,) = scores.reduce(Largest(k))
    return torch.as_tensor(nearest[:, -1])


def _mean(scores: Watched, k: int) -> Tensor:
    (mean,) = scores.reduce(TopMean(k))
    return torch.as_tensor(mean)


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
        return _learn(self.name, views, self.fit, self.k, _kth)


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
        return _learn(self.name, views, self.fit, self.k, _mean)

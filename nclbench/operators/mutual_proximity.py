"""Mutual proximity (MP): the probability that neither side has the other among its farther ones."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.errors import NotAvailable, UsageError
from nclbench.operators import Fitted, check_fit, operators
from nclbench.similarity.maps import TileMap
from nclbench.similarity.reducers import Largest, Moments
from nclbench.similarity.views import Views, Watched


def _proximity(x: Tensor, mean_i: Tensor, spread_i: Tensor, mean_j: Tensor, spread_j: Tensor) -> Tensor:
    both: Tensor = torch.special.log_ndtr((x - mean_i) / spread_i) + torch.special.log_ndtr((x - mean_j) / spread_j)
    return -(-both).clamp(min=1e-300).log()


@operators.register("mp")
@dataclass(frozen=True)
class MutualProximity:
    """Mutual proximity (MP): sf((d - mu_i) / sd_i) sf((d - mu_j) / sd_j), d = 1 - s, normal and independent.

    Stands as minus the logarithm of minus its logarithm, so that neither tail is lost. mu, sd: population moments of a
    query's and an item's distances to the k nearest of the other side (k=0: to all). fit: where an item's come from.
    kind: gaussian; empirical is refused, since it needs third objects that a query and an item share.
    """

    source: ClassVar[str] = "Schnitzer et al. 2012; kiez 0.5 (k = n_candidates)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"
    unserved: ClassVar[str] = "it multiplies two probabilities, so what an item gains depends on the score and the query"

    kind: str = "gaussian"
    k: int = 0
    fit: str = "auto"

    def __post_init__(self) -> None:
        check_fit(self.name, self.fit)
        if self.k < 0 or self.k == 1:
            raise UsageError(f"mp:k={self.k} must be 0 (all) or at least 2")
        if self.kind not in ("gaussian", "empirical"):
            raise UsageError(f"mp:kind={self.kind} is unknown; use gaussian")

    def learn(self, views: Views) -> Fitted:
        if self.kind == "empirical":
            raise NotAvailable("kind=empirical compares a query and an item over objects that both have distances to; "
                               "across modalities there are none (kiez takes the labels' order for them)")
        asked = views.watched("queries", "items")
        column = self._moments(views.fitting(self.fit).reversed())
        row = self._moments(asked)
        least = 1e-7 * max(asked.view.base.largest, 1e-100)
        rows, columns = ((mean, spread.clamp(min=least)) for mean, spread in (row, column))
        return Fitted(TileMap(_proximity, rows, columns, slope=math.inf, scale=8.0))

    def _moments(self, scores: Watched) -> tuple[Tensor, Tensor]:
        if not self.k:
            ((mean, spread),) = scores.reduce(Moments())
            return mean, spread
        (nearest,) = scores.reduce(Largest(self.k))
        return nearest.mean(1), nearest.std(1, correction=0)

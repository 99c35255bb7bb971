"""Nearest-neighbour normalisation (NNN): an item pays for the bank queries that like it most."""

from dataclasses import dataclass
from typing import ClassVar

from nclbench.errors import NotAvailable
from nclbench.operators import Fitted, check_k, operators
from nclbench.similarity.maps import column_bias
from nclbench.similarity.reducers import TopMean
from nclbench.similarity.views import Views


@operators.register("nnn")
@dataclass(frozen=True)
class NearestNeighbourNormalisation:
    """Nearest-neighbour normalisation (NNN): s_ij - alpha mean of the k largest p_bj over the bank queries b.

    k, alpha: the defaults are the README's advice; the package's class defaults are k=256, alpha=0.5.
    """

    source: ClassVar[str] = "Chowdhury et al. 2024 (NNN), equations 1 and 2"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("query_bank",)
    fits_on: ClassVar[str] = "query bank"

    k: int = 128
    alpha: float = 0.75

    def __post_init__(self) -> None:
        check_k(self.name, self.k)

    def learn(self, views: Views) -> Fitted:
        scores = views.fitting("bank")
        if self.k > scores.shape[0]:
            raise NotAvailable(f"nnn:k={self.k} is larger than the bank of {scores.shape[0]} queries; give a smaller k")
        (mean,) = scores.reversed().reduce(TopMean(self.k))
        return Fitted(column_bias(-self.alpha * mean))

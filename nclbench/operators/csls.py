"""Cross-domain similarity local scaling (CSLS): both sides pay for the density around them."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nclbench.operators import Fitted, beyond, check_fit, check_k, operators
from nclbench.similarity.maps import TileMap
from nclbench.similarity.reducers import TopMean
from nclbench.similarity.views import Views


def _csls(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    return 2 * x - row - column


@operators.register("csls")
@dataclass(frozen=True)
class CrossDomainLocalScaling:
    """Cross-domain local scaling (CSLS): 2 s_ij - r_i - h_j, with r_i and h_j the mean of the k largest scores.

    r_i: of query i to the items, h_j: of item j to the queries.

    fit: where h_j comes from, auto | bank | test (as published: the test queries). A k above a side's size takes all.
    """

    source: ClassVar[str] = "Lample et al. 2018 (MUSE), equation 2"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"

    k: int = 10
    fit: str = "auto"

    def __post_init__(self) -> None:
        check_k(self.name, self.k)
        check_fit(self.name, self.fit)

    def learn(self, views: Views) -> Fitted:
        asking = views.fitting(self.fit)
        (column,) = asking.reversed().reduce(TopMean(self.k))
        (row,) = views.watched("queries", "items").reduce(TopMean(self.k))
        few = beyond(self.k, (asking.shape[0], "rows it is fitted on"), (asking.shape[1], "items"))
        return Fitted(TileMap(_csls, (row,), (column,), slope=2.0, item_bias=-column / 2), notes=few)

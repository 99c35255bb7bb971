"""DualIS and DualDIS (DBNorm): two inverted softmaxes, over bank queries and over bank items, multiplied."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.errors import UsageError
from nclbench.operators import LEAST, SMALL, Fitted, check_k, check_tau, operators, turned_round
from nclbench.ranking.leaders import leading, led
from nclbench.similarity.maps import TileMap, column_bias
from nclbench.similarity.reducers import LogSumExp
from nclbench.similarity.views import Views


def _attractions(views: Views, tau1: float, tau2: float) -> tuple[Tensor, Tensor]:
    """log sum_b exp(p_bj / tau1) and log sum_g exp(r_gj / tau2), (M,) each."""
    (queries,) = views.needing("query_bank", "items").reversed().reduce(LogSumExp(1 / tau1))
    (items,) = views.needing("item_bank", "items").reversed().reduce(LogSumExp(1 / tau2))
    return queries, items


@operators.register("dualis")
@dataclass(frozen=True)
class DualInvertedSoftmax:
    """Dual inverted softmax (DualIS): the product of inverted softmaxes over a query bank and an item bank.

    (beta1 + beta2) s_ij - log sum_b exp(beta1 p_bj) - log sum_g exp(beta2 r_gj), over beta1 + beta2. p: bank queries
    against the items, r: bank items against the items; beta = 1 / tau. The two biases weigh as their betas do: with the
    published ones and scores of one scale, the item bank has 86 %. additive: DBSN's variant instead, s - tau1 log sum
    exp(p / tau1) - additive tau2 log sum exp(r / tau2) (0.01 there).
    """

    source: ClassVar[str] = "Wang et al. 2023 (DBNorm); additive: DBSN's code (ACM MM 2025)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("query_bank", "item_bank")
    fits_on: ClassVar[str] = "query bank and item bank"

    tau1: float = 1.99
    tau2: float = 1 / 3
    additive: float | None = None

    def __post_init__(self) -> None:
        check_tau(self.name, tau1=self.tau1, tau2=self.tau2)

    def learn(self, views: Views) -> Fitted:
        queries, items = _attractions(views, self.tau1, self.tau2)
        if self.additive is not None:
            return Fitted(column_bias(-self.tau1 * queries - self.additive * self.tau2 * items))
        return Fitted(column_bias(-(queries + items) / (1 / self.tau1 + 1 / self.tau2)))


@operators.register("dualdis")
@dataclass(frozen=True)
class DualDynamicInvertedSoftmax:
    """Dual dynamic inverted softmax (DualDIS): two factors, each gated by its bank; an ungated one is the raw score.

    Stands as sign (height + logarithm), which orders as the product does and cannot overflow. The order of negative
    scores turns round where one factor is raw, and a row gated by neither bank is s squared: so it is published.
    """

    source: ClassVar[str] = "Wang et al. 2023 (DBNorm)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("query_bank", "item_bank")
    fits_on: ClassVar[str] = "query bank and item bank"
    assumes: ClassVar[str] = "positive scores"
    unserved: ClassVar[str] = "its factors count only for queries whose best item is a suspected hub"

    tau1: float = 1.99
    tau2: float = 1 / 3
    k: int = 1

    def __post_init__(self) -> None:
        check_tau(self.name, tau1=self.tau1, tau2=self.tau2)
        check_k(self.name, self.k, 0)
        if min(self.tau1, self.tau2) < 1e-4:
            raise UsageError(f"{self.name}: temperatures below 1e-4 leave no digits for rows that are not gated")

    def learn(self, views: Views) -> Fitted:
        beta1, beta2 = 1 / self.tau1, 1 / self.tau2
        queries, items = _attractions(views, self.tau1, self.tau2)
        asked = views.watched("queries", "items")
        gates = [led(asked, leading(views.needing(bank, "items"), self.k)) for bank in ("query_bank", "item_bank")]
        largest = max(asked.view.base.largest, LEAST)
        floor = SMALL * largest
        size = (beta1 + beta2) * largest + float(queries.abs().max() + items.abs().max())
        height = size + 2 * abs(math.log(floor)) + abs(math.log(largest))

        def product(x: Tensor, one: Tensor, other: Tensor, h1: Tensor, h2: Tensor) -> Tensor:
            raw = x.abs().clamp(min=floor).log()
            power = torch.where(one, beta1 * x - h1, raw) + torch.where(other, beta2 * x - h2, raw)
            sign = torch.where(one, 1.0, x.sign()) * torch.where(other, 1.0, x.sign())
            return torch.where((x.abs() < floor) & ~(one & other), 0.0, sign * (height + power))

        return Fitted(TileMap(product, tuple(gates), (queries, items), slope=math.inf, scale=size), notes=turned_round(asked))

"""Dual softmax (DSL, CAMoE): every score is multiplied by its share among the queries of its item."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.errors import UsageError
from nclbench.operators import LEAST, SMALL, Fitted, check_fit, check_tau, operators, turned_round
from nclbench.similarity.maps import TileMap
from nclbench.similarity.reducers import LogSumExp
from nclbench.similarity.views import Views
from nclbench.temperature import choose_tau


@operators.register("dsl")
@dataclass(frozen=True)
class DualSoftmax:
    """Dual softmax (DSL): s_ij softmax_i(s_ij / tau), over the queries i.

    Stands as sign (height + s + tau log |s| - tau log sum_i exp(s_ij / tau)). That orders as the product does and
    cannot overflow; the order of negative scores turns round, as published. tau: EMCL-Net and CLIP-ViP 0.01 on cosines,
    CAMoE 1 on logits (1000 in training). fit: over the test queries, as published, or over a bank. over=items: the
    softmax runs over the items of a query instead, which is what CLIP-ViP's v2t does by reading its t2v matrix (its
    ranking is the raw one for positive scores).
    """

    source: ClassVar[str] = "Cheng et al. 2021 (CAMoE); code of EMCL-Net and CLIP-ViP"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"
    assumes: ClassVar[str] = "positive scores, one to one"
    unserved: ClassVar[str] = "it multiplies, so what an item gains depends on the score itself"

    tau: float | None = None
    fit: str = "auto"
    over: str = "queries"

    def __post_init__(self) -> None:
        check_tau(self.name, tau=self.tau)
        check_fit(self.name, self.fit)
        if self.over not in ("queries", "items"):
            raise UsageError(f"dsl:over={self.over} is unknown; use queries or items")
        if self.over == "items" and self.fit != "auto":
            raise UsageError(f"dsl:fit={self.fit}: with over=items nothing is fitted on other rows; leave fit out")

    def learn(self, views: Views) -> Fitted:
        asked = views.watched("queries", "items")
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        scores = asked if self.over == "items" else views.fitting(self.fit).reversed()
        notes += turned_round(asked)
        (total,) = scores.reduce(LogSumExp(1 / tau))
        total = tau * total
        largest = max(asked.view.base.largest, LEAST)
        floor = SMALL * largest
        size = largest + float(total.abs().max())
        height = size + tau * (abs(math.log(floor)) + abs(math.log(largest)))

        def product(x: Tensor, total: Tensor) -> Tensor:
            power = x + tau * x.abs().clamp(min=floor).log() - total
            return torch.where(x.abs() < floor, 0.0, x.sign() * (height + power))

        row, column = ((total,), ()) if self.over == "items" else ((), (total,))
        params = {"tau": tau, **({"fit": None} if self.over == "items" else {})}
        return Fitted(TileMap(product, row, column, slope=math.inf, scale=size), params=params, notes=notes)

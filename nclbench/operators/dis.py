"""Dynamic inverted softmax (DIS, QB-Norm): inverted softmax for the queries whose best item is a suspected hub."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.operators import Fitted, check_fit, check_k, check_tau, operators
from nclbench.ranking.leaders import leading, led
from nclbench.similarity.maps import TileMap
from nclbench.similarity.reducers import LogSumExp
from nclbench.similarity.views import Views
from nclbench.temperature import choose_tau


def _gated(x: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
    return torch.where(gate, x + bias, x)


@operators.register("dis")
@dataclass(frozen=True)
class DynamicInvertedSoftmax:
    """Dynamic inverted softmax (QB-Norm): row i is softmax-inverted if a best item of query i is active.

    Other rows stay as they are.

    An item is active if it is among the k best of at least theta bank queries (theta=1: QB-Norm; DiCoSA: 3 for t2v, 5
    for v2t). k=0 switches it off. Gated rows stand as s_ij - tau log sum_b exp(p_bj / tau), less the mean of the second
    term: the published ratio is in other units than raw rows, so its columns cannot be compared.
    """

    source: ClassVar[str] = "Bogolin et al. 2022 (QB-Norm); theta: code of Jin et al. 2023 (DiCoSA)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"
    unserved: ClassVar[str] = "its bias counts only for queries whose best item is a suspected hub"

    tau: float | None = None
    k: int = 1
    theta: int = 1
    fit: str = "auto"

    def __post_init__(self) -> None:
        check_tau(self.name, tau=self.tau)
        check_k(self.name, self.k, 0)
        check_k(self.name, self.theta, key="theta")
        check_fit(self.name, self.fit)

    def learn(self, views: Views) -> Fitted:
        bank = views.fitting(self.fit)
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        (attraction,) = bank.reversed().reduce(LogSumExp(1 / tau))
        bias = tau * (attraction.mean() - attraction)
        gate = led(views.watched("queries", "items"), leading(bank, self.k, self.theta))
        share = f"{int(gate.sum())} of {len(gate)} queries"
        return Fitted(
            TileMap(_gated, (gate,), (bias,)), params={"tau": tau, "gated": share}, notes=notes
        )

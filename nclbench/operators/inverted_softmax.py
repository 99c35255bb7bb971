"""Inverted softmax (IS): a score is normalised over the queries that an item attracts, not over the items."""

from dataclasses import dataclass
from typing import ClassVar

from nclbench.operators import Fitted, check_fit, check_tau, operators
from nclbench.similarity.maps import column_bias
from nclbench.similarity.reducers import LogSumExp
from nclbench.similarity.views import Views
from nclbench.temperature import choose_tau


@operators.register("is")
@dataclass(frozen=True)
class InvertedSoftmax:
    """Inverted softmax (IS): s_ij - tau log sum_b exp(p_bj / tau), over the queries b of the bank or the test.

    The published ratio exp(s_ij / tau) / sum_b exp(p_bj / tau) ranks alike and overflows; this is tau times its
    logarithm. tau: temperature, 1 / beta of the papers (auto: 1 / logit_scale, else 0.01). fit: auto | bank | test.
    """

    source: ClassVar[str] = "Smith et al. 2017, equation 4; QB-Norm (Bogolin et al. 2022), equation 2"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"

    tau: float | None = None
    fit: str = "auto"

    def __post_init__(self) -> None:
        check_tau(self.name, tau=self.tau)
        check_fit(self.name, self.fit)

    def learn(self, views: Views) -> Fitted:
        scores = views.fitting(self.fit)
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        (attraction,) = scores.reversed().reduce(LogSumExp(1 / tau))
        return Fitted(column_bias(-tau * attraction), params={"tau": tau}, notes=notes)

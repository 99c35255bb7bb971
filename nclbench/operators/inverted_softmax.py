"""Inverted softmax (IS): a score is normalised over the queries that an item attracts, not over the items."""

from dataclasses import dataclass
from typing import ClassVar

from nclbench.errors import UsageError
from nclbench.operators import Fitted, operators
from nclbench.reducers import LogSumExp
from nclbench.similarity import column_bias
from nclbench.temperature import choose_tau
from nclbench.views import Views


@operators.register("is")
@dataclass(frozen=True)
class InvertedSoftmax:
    """s_ij - tau log sum_b exp(p_bj / tau), over the bank queries b (or the test queries, fit=test).

    The published ratio exp(s_ij / tau) / sum_b exp(p_bj / tau) ranks alike and overflows; this is tau times its
    logarithm. tau: temperature, 1 / beta of the papers (auto: 1 / logit_scale, else 0.01). fit: auto | bank | test.
    """

    source: ClassVar[str] = "Smith et al. 2017, equation 4; QB-Norm (Bogolin et al. 2022), equation 2"
    needs: ClassVar[tuple[str, ...]] = ()

    tau: float | None = None
    fit: str = "auto"

    def __post_init__(self) -> None:
        if self.tau is not None and not 1e-6 <= self.tau <= 1e6:
            raise UsageError(f"is:tau={self.tau} is out of range; give 1e-6 to 1e6 (QB-Norm's beta=20 is tau=0.05)")
        if self.fit not in ("auto", "bank", "test"):
            raise UsageError(f"is:fit={self.fit} is unknown; use auto, bank or test")

    def learn(self, views: Views) -> Fitted:
        scores = views.fitting(self.fit)
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        (attraction,) = scores.reversed().reduce(LogSumExp(1 / tau))
        return Fitted(column_bias(-tau * attraction), {"tau": tau}, notes=notes)

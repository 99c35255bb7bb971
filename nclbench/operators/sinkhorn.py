"""Sinkhorn normalisation (NCL, SN, UCoFiA's SK-norm): a bias an item, so that its summed probability is right."""

from dataclasses import dataclass
from typing import ClassVar

from nclbench.errors import UsageError
from nclbench.operators import Fitted, operators
from nclbench.potentials import sinkhorn
from nclbench.results import Convergence
from nclbench.similarity import column_bias
from nclbench.temperature import choose_tau
from nclbench.views import Views

WARN_ERROR = 1e-3


@operators.register("sinkhorn")
@dataclass(frozen=True)
class Sinkhorn:
    """s_ij + tau b_j, with b the Sinkhorn potential of item j over the fitting queries (`nclbench.potentials`).

    tau: temperature in units of the scores (auto: 1 / logit_scale of the input, else 0.01). Stops when the mean of
    |p_j / target_j - 1| is at most tol, or after exactly iters iterations. start: gallery | query. fit: auto | bank |
    test. Marginals are uniform unless the input declares weights.
    """

    source: ClassVar[str] = "Park et al. 2022 (NCL), arXiv 2212.11790; Cuturi 2013, algorithm 1"
    needs: ClassVar[tuple[str, ...]] = ()

    tau: float | None = None
    tol: float | None = None
    iters: int | None = None
    max_iters: int = 1000
    start: str = "gallery"
    fit: str = "auto"

    def __post_init__(self) -> None:
        if self.tau is not None and not 1e-6 <= self.tau <= 1e6:
            raise UsageError(f"sinkhorn:tau={self.tau} is out of range; give 1e-6 to 1e6 (CLIP's is 0.01)")
        if self.tol is not None and not 0 < self.tol < 1:
            raise UsageError(f"sinkhorn:tol={self.tol} must lie between 0 and 1")
        if self.tol is not None and self.iters is not None:
            raise UsageError("sinkhorn: give tol= or iters=, not both")
        if (self.iters is not None and self.iters < 0) or self.max_iters < 1:
            raise UsageError("sinkhorn: iters must be at least 0 and max_iters at least 1")
        if self.start not in ("gallery", "query"):
            raise UsageError(f"sinkhorn:start={self.start} is unknown; use gallery or query")
        if self.fit not in ("auto", "bank", "test"):
            raise UsageError(f"sinkhorn:fit={self.fit} is unknown; use auto, bank or test")

    def learn(self, views: Views) -> Fitted:
        scores = views.fitting(self.fit)
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        tol = 1e-4 if self.tol is None else self.tol
        found = sinkhorn(
            scores,
            tau,
            start=self.start,
            iters=self.iters,
            tol=tol,
            max_iters=self.max_iters,
            row_mass=views.mass(scores.rows),
            column_mass=views.mass("items"),
        )
        if self.iters is None and not found.converged:
            notes += (f"stopped after {found.iterations} iterations at marginal error {found.marginal_error:.1e}",)
        if found.marginal_error > WARN_ERROR:
            notes += (f"marginal error {found.marginal_error:.1e} is above {WARN_ERROR:g}: not yet normalised",)
        given = [role for role in (scores.rows, "items") if views.mass(role) is not None]
        params = {
            "tau": tau,
            "start": self.start,
            "marginals": "given:" + "+".join(given) if given else "uniform",
            **({"max_iters": None} if self.iters is not None else {"tol": tol}),
        }
        fixed = self.iters is not None
        end = Convergence(found.iterations, found.marginal_error, found.converged, found.path, fixed)
        return Fitted(column_bias(tau * found.bias), params, end, notes)

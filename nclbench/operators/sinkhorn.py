"""Sinkhorn normalisation (NCL, SN, UCoFiA's SK-norm; DBSN): a bias an item makes its summed probability right."""

from dataclasses import dataclass
from typing import Any, ClassVar

from nclbench.errors import UsageError
from nclbench.operators import Fitted, check_fit, check_tau, operators
from nclbench.results import Convergence
from nclbench.similarity.maps import TileMap, column_bias
from nclbench.similarity.views import Views
from nclbench.sinkhorn.potentials import sinkhorn
from nclbench.sinkhorn.precision import KINDS
from nclbench.sinkhorn.tasks import Potentials
from nclbench.temperature import choose_tau

WARN_ERROR = 1e-3
_TOL = 1e-4


@operators.register("sinkhorn")
@dataclass(frozen=True)
class Sinkhorn:
    """Sinkhorn normalisation (NCL, SN): s_ij + tau b_j, with b_j the potential of item j over the fitting queries.

    tau: temperature in units of the scores (auto: 1 / logit_scale of the input, else 0.01). Stops when the mean of
    |p_j / target_j - 1| is at most tol, or after exactly iters iterations. start: gallery | query. fit: auto | bank |
    test. precision: auto | single | double; what single precision, which large fits have, cannot tell apart ties. Marginals
    are uniform unless the input declares weights.
    """

    source: ClassVar[str] = "Park et al. 2022 (NCL), arXiv 2212.11790; Cuturi 2013, algorithm 1"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "query bank, else test queries"

    tau: float | None = None
    tol: float | None = None
    iters: int | None = None
    max_iters: int = 1000
    start: str = "gallery"
    fit: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_tau(self.name, tau=self.tau)
        _check_iteration(self)
        check_fit(self.name, self.fit)

    def learn(self, views: Views) -> Fitted:
        scores = views.fitting(self.fit)
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        found = sinkhorn(
            scores,
            tau,
            start=self.start,
            iters=self.iters,
            tol=_TOL if self.tol is None else self.tol,
            max_iters=self.max_iters,
            row_mass=views.mass(scores.rows),
            column_mass=views.mass("items"),
            precision=self.precision,
        )
        given = [role for role in (scores.rows, "items") if views.mass(role) is not None]
        marginals = "given:" + "+".join(given) if given else "uniform"
        return _fitted(self, tau, found, column_bias(tau * found.bias, tau * found.error), notes, {"marginals": marginals})


@operators.register("dbsn")
@dataclass(frozen=True)
class DualBankSinkhorn:
    """Dual-bank Sinkhorn (DBSN): s_ij + tau b_j, with potentials of gallery and item bank over the bank queries.

    tau, tol, iters, start, precision: as for `sinkhorn`; marginals are uniform. Published: tau=0.01,iters=10,start=query, which
    can be far from converged; the default iterates to a tolerance.
    """

    source: ClassVar[str] = "DBSN (ACM MM 2025), arXiv 2508.02538; Cuturi 2013, algorithm 1"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("query_bank", "item_bank")
    fits_on: ClassVar[str] = "query bank and item bank"

    tau: float | None = None
    tol: float | None = None
    iters: int | None = None
    max_iters: int = 1000
    start: str = "gallery"
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_tau(self.name, tau=self.tau)
        _check_iteration(self)

    def learn(self, views: Views) -> Fitted:
        scores = views.beside("query_bank", "items", "item_bank")
        tau, notes = choose_tau(self.tau, views.problem.logit_scale)
        tol = _TOL if self.tol is None else self.tol
        found = sinkhorn(
            scores, tau, start=self.start, iters=self.iters, tol=tol, max_iters=self.max_iters, precision=self.precision
        )
        kept = found.bias[: views.view("queries", "items").shape[1]]
        return _fitted(self, tau, found, column_bias(tau * kept, tau * found.error), notes, {})


def _check_iteration(given: Sinkhorn | DualBankSinkhorn) -> None:
    name = given.name
    if given.tol is not None and not 0 < given.tol < 1:
        raise UsageError(f"{name}:tol={given.tol} must lie between 0 and 1")
    if given.tol is not None and given.iters is not None:
        raise UsageError(f"{name}: give tol= or iters=, not both")
    if (given.iters is not None and given.iters < 0) or given.max_iters < 1:
        raise UsageError(f"{name}: iters must be at least 0 and max_iters at least 1")
    if given.start not in ("gallery", "query"):
        raise UsageError(f"{name}:start={given.start} is unknown; use gallery or query")
    if given.precision not in KINDS:
        raise UsageError(f"{name}:precision={given.precision} is unknown; use auto, single or double")


def _fitted(
    operator: Sinkhorn | DualBankSinkhorn,
    tau: float,
    found: Potentials,
    bias: TileMap,
    notes: tuple[str, ...],
    params: dict[str, Any],
) -> Fitted:
    fixed = operator.iters is not None
    if not fixed and not found.converged:
        notes += (f"stopped after {found.iterations} iterations at marginal error {found.marginal_error:.1e}",)
    if found.marginal_error > WARN_ERROR:
        notes += (f"marginal error {found.marginal_error:.1e} is above {WARN_ERROR:g}: not yet normalised",)
    stop = {"max_iters": None} if fixed else {"tol": _TOL if operator.tol is None else operator.tol}
    end = Convergence(found.iterations, found.marginal_error, found.converged, found.path, fixed)
    chosen = None if operator.precision == "auto" else operator.precision
    params = {"tau": tau, "start": operator.start, **params, **stop, "precision": chosen}
    return Fitted(bias, params=params, convergence=end, notes=notes)

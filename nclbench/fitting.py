"""An operator fitted in one direction, or the reason why it cannot be."""

from dataclasses import asdict, dataclass
from functools import cached_property

from nclbench.errors import ConvergenceError, NotAvailable
from nclbench.operators import Fitted, Operator
from nclbench.registry import show
from nclbench.similarity import View
from nclbench.views import Views


@dataclass(frozen=True, eq=False)
class Fit:
    """fitted: None where it is unavailable, with the reason. views: what it looked at."""

    operator: Operator
    views: Views
    fitted: Fitted | None
    unavailable: str | None = None

    @cached_property
    def seen(self) -> View:
        """The test scores under the operator (plain ones where it is unavailable)."""
        fitted = self.fitted or Fitted(None)
        return self.views.through(fitted.map, fitted.moved)

    @property
    def params(self) -> dict[str, object]:
        """Every parameter as it was used."""
        found = asdict(self.operator)  # type: ignore[call-overload]
        if self.fitted is not None:
            found |= self.fitted.params
            if found.get("fit") == "auto":
                found["fit"] = "test" if self.views.transductive else "bank"
        return {key: value for key, value in found.items() if value is not None}


def fit(operator: Operator, views: Views, strict: bool = False) -> Fit:
    """strict: no convergence and no availability are errors."""
    try:
        fitted = operator.learn(views)
    except NotAvailable as reason:
        if strict:
            raise
        return Fit(operator, views, None, str(reason))
    end = fitted.convergence
    if strict and end is not None and not end.converged and not end.fixed:
        raise ConvergenceError(
            f"{show(operator)} did not converge: marginal error {end.marginal_error:.1e} "
            f"after {end.iterations} iterations; raise max_iters or tol"
        )
    return Fit(operator, views, fitted)

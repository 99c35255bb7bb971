"""One row of a table in one direction: an operator fitted once, or once a fold, or the reason why it cannot be."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nclbench.errors import ConvergenceError, NotAvailable, UsageError
from nclbench.operators import Fitted, Operator, operators
from nclbench.plan import Plan
from nclbench.problem import Integers, Problem, Relevance
from nclbench.ranking.ranks import Ranking, Request
from nclbench.results import Convergence
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.similarity.views import Views


@dataclass(frozen=True, eq=False)
class Fit:
    """spec: as the row is called. fitted: None where it is unavailable, with the reason. views: what it looked at.

    rows: (n,) the queries that this fit is for, None for all. shape, tolerance: of the scores that were `ranked`.
    """

    spec: str
    operator: Operator
    views: Views
    fitted: Fitted | None
    unavailable: str | None = None
    rows: Integers | None = None
    shape: tuple[int, int] = (0, 0)
    tolerance: float = 0.0

    def ranked(self) -> "Fit":
        """The same when all scores have been looked at: it holds none of what they are made of."""
        fitted = None if self.fitted is None else replace(self.fitted, moved=None)
        return replace(self, fitted=fitted, shape=self.seen.shape, tolerance=self.seen.tolerance)

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
                tested = any(rows == "queries" and across for rows, _, across in self.views.looked)
                found["fit"] = "test" if tested else "bank"
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Row:
    """fits: one for all queries, or one a fold of them."""

    fits: tuple[Fit, ...]

    def ranked(self) -> "Row":
        return Row(tuple(fit.ranked() for fit in self.fits))

    @property
    def first(self) -> Fit:
        return self.fits[0]

    @property
    def reverse(self) -> bool:
        return self.first.views.reverse

    @property
    def available(self) -> bool:
        return self.first.fitted is not None

    @property
    def params(self) -> dict[str, object]:
        """What all folds have in common."""
        others = [fit.params for fit in self.fits]
        return {key: value for key, value in others[0].items() if all(each.get(key) == value for each in others)}

    @property
    def convergence(self) -> Convergence | None:
        """The worst of the folds."""
        ends = [fit.fitted.convergence for fit in self.fits if fit.fitted is not None]
        found = [end for end in ends if end is not None]
        return max(found, key=lambda end: (not end.converged, end.marginal_error)) if found else None

    @property
    def rounded(self) -> bool:
        """Whether a fit is in single precision, whose error makes ties wider."""
        return any(fit.fitted.map.error > 0 for fit in self.fits if fit.fitted is not None and fit.fitted.map is not None)

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(text for fit in self.fits if fit.fitted for text in fit.fitted.notes))

    @property
    def bias(self) -> npt.NDArray[np.float64] | None:
        """(M,) the item bias, where there is one for all queries."""
        fitted = self.first.fitted
        return None if fitted is None or fitted.map is None or len(self.fits) > 1 else fitted.map.bias_values

    def requests(self, request: Request) -> Iterator[Request]:
        """The request of all queries for each fit. request: with any view of the direction."""
        for fit in self.fits:
            relevance = request.relevance
            if fit.rows is not None and relevance is not None:
                mine = np.isin(relevance.query, fit.rows)
                relevance = Relevance(relevance.query[mine], relevance.item[mine], relevance.gain[mine])
            yield replace(request, view=replace(fit.seen, groups=request.view.groups), relevance=relevance)

    def joined(self, rankings: list[Ranking]) -> Ranking:
        """The rankings of all fits as one of all queries."""
        if len(rankings) == 1:
            return rankings[0]
        query, item = (np.concatenate([getattr(each, name) for each in rankings]) for name in ("query", "item"))
        order = np.lexsort((item, query))
        columns = {
            name: np.concatenate([getattr(each, name) for each in rankings])[order]
            for name in ("query", "item", "gain", "above", "tied")
        }
        tops = [each.top for each in rankings]
        top = None if tops[0] is None else tops[0].copy()
        for fit, part in zip(self.fits, tops, strict=True):
            if top is not None and part is not None:
                top[fit.rows] = part[fit.rows]
        return Ranking(**columns, top=top, shape=rankings[0].shape)


def bases_of(problem: Problem, plan: Plan, reverse: bool, keep: bool = False, both: bool = False) -> Bases:
    """The bases of a direction, or of both. Each part of a fusion with `each` is fitted here, for this direction."""
    if not problem.each:
        return Bases(problem, plan, keep=keep, both=both)
    operator = operators.parse(problem.each)
    shifts, looked = [], set()
    for _, part in problem.parts:
        views = Views(Bases(part, plan), reverse)
        fitted = operator.learn(views)
        if fitted.map is None or fitted.map.item_bias is None:
            raise UsageError(f"fuse-each {problem.each}: only operators that are a bias of the item can be added up")
        shifts.append(fitted.map.item_bias)
        looked |= views.looked
    return Bases(problem, plan, "queries" if reverse else "items", tuple(shifts), frozenset(looked))


def fit_row(spec: str, operator: Operator, bases: Bases, reverse: bool, strict: bool = False, folds: int = 0) -> Row:
    """strict: no convergence and no availability are errors. folds: each share of the queries is the others' bank."""
    if not folds:
        return Row((_fit(spec, operator, Views(bases, reverse), strict),))
    try:
        shares = bases.folded("item_bank" if reverse else "query_bank", folds)
    except NotAvailable as reason:
        alone = _fit(spec, operator, Views(bases, reverse), strict)
        fitted_on_queries = {"query_bank", "queries"} & {rows for rows, _, across in alone.views.looked if across}
        return Row((replace(alone, fitted=None, unavailable=str(reason)) if fitted_on_queries else alone,))
    fits = []
    for rows, banked in shares:
        views = Views(banked, reverse, folds=folds)
        fits.append(replace(_fit(spec, operator, views, strict), rows=rows))
        if fits[-1].fitted is None or not any(name == "query_bank" for name, _, _ in views.looked):
            return Row((replace(fits[-1], rows=None),))
    return Row(tuple(fits))


def _fit(spec: str, operator: Operator, views: Views, strict: bool) -> Fit:
    try:
        fitted = operator.learn(views)
    except NotAvailable as reason:
        if strict:
            raise NotAvailable(f"{spec}: {reason}") from None
        return Fit(spec, operator, views, None, str(reason))
    end = fitted.convergence
    if strict and end is not None and not end.converged and not end.fixed:
        raise ConvergenceError(
            f"{spec} did not converge: marginal error {end.marginal_error:.1e} "
            f"after {end.iterations} iterations; raise max_iters or tol"
        )
    return Fit(spec, operator, views, fitted)

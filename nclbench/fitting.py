"""One row of a table in one direction: an operator fitted once, or once a fold, or the reason why it cannot be."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from nclbench.errors import ConvergenceError, NotAvailable, UsageError
from nclbench.operators import Fitted, Operator, operators
from nclbench.plan import Plan
from nclbench.problem import Integers, Problem, Relevance
from nclbench.ranking import Ranking, Request
from nclbench.results import Convergence
from nclbench.similarity import View
from nclbench.views import Bases, Views


@dataclass(frozen=True, eq=False)
class Fit:
    """spec: as the row is called. fitted: None where it is unavailable, with the reason. views: what it looked at.

    rows: (n,) the queries that this fit is for, None for all.
    """

    spec: str
    operator: Operator
    views: Views
    fitted: Fitted | None
    unavailable: str | None = None
    rows: Integers | None = None

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


def bases_of(problem: Problem, plan: Plan, reverse: bool) -> Bases:
    """The bases of a direction. Each part of a fusion with `each` is fitted here, for this direction."""
    if not problem.each:
        return Bases(problem, plan)
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
        shares = list(_shares(bases.problem, reverse, folds))
    except NotAvailable as reason:
        alone = _fit(spec, operator, Views(bases, reverse), strict)
        banked = {"query_bank", "queries"} & {rows for rows, _, across in alone.views.looked if across}
        return Row((replace(alone, fitted=None, unavailable=str(reason)) if banked else alone,))
    fits = []
    for rows, others in shares:
        views = Views(bases.banked("item_bank" if reverse else "query_bank", others), reverse, folds=folds)
        fits.append(replace(_fit(spec, operator, views, strict), rows=rows))
        if fits[-1].fitted is None or not any(name == "query_bank" for name, _, _ in views.looked):
            return Row((replace(fits[-1], rows=None),))
    return Row(tuple(fits))


def _shares(problem: Problem, reverse: bool, folds: int) -> Iterator[tuple[Integers, Integers]]:
    """(a fold, the others) of what asks in this direction.

    What shares a relevant item stays together: a caption's siblings in its bank would stand against their own video.
    Dealt by the order of the ids, whatever the order of the rows.
    """
    side, other = (problem.items, problem.queries) if reverse else (problem.queries, problem.items)
    group: npt.NDArray[Any] = np.arange(len(side))
    if problem.relevance is not None:
        pairs = problem.relevance.reversed() if reverse else problem.relevance
        place = (np.concatenate([pairs.query, pairs.item + len(side)]), np.concatenate([pairs.item + len(side), pairs.query]))
        nodes = len(side) + len(other)
        graph = coo_matrix((np.ones(2 * len(pairs), dtype=np.int8), place), shape=(nodes, nodes))
        group = connected_components(graph, directed=False)[1][: len(side)]
    order = np.argsort(np.array(side.ids), kind="stable")
    _, first, of_row = np.unique(group[order], return_index=True, return_inverse=True)
    if len(first) < folds:
        raise NotAvailable(f"folds={folds} of only {len(first)} groups that share nothing relevant")
    rank = np.argsort(np.argsort(first))
    fold_of = np.empty(len(side), dtype=np.int64)
    fold_of[order] = rank[of_row.reshape(-1)] % folds
    for fold in range(folds):
        yield np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)


def _fit(spec: str, operator: Operator, views: Views, strict: bool) -> Fit:
    try:
        fitted = operator.learn(views)
    except NotAvailable as reason:
        if strict:
            raise
        return Fit(spec, operator, views, None, str(reason))
    end = fitted.convergence
    if strict and end is not None and not end.converged and not end.fixed:
        raise ConvergenceError(
            f"{spec} did not converge: marginal error {end.marginal_error:.1e} "
            f"after {end.iterations} iterations; raise max_iters or tol"
        )
    return Fit(spec, operator, views, fitted)

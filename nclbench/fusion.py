"""Several models' scores as those of one problem."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nclbench.errors import InputError, UsageError
from nclbench.problem import ROLES, Embeddings, Integers, Problem, Relevance, subset


def fuse(parts: Sequence[tuple[float, Problem]], each: str = "") -> Problem:
    """One problem whose scores are the weighted sum of those of several models of one test set.

    each: an operator that every part is put through first. Ids decide which rows belong together; labels, captions and
    weights are those of the first part, and a bank is there if all parts have it. Raises UsageError, InputError.
    """
    if len(parts) < 2:
        raise UsageError("a fusion needs at least two parts")
    for weight, part in parts:
        if not np.isfinite(weight) or weight == 0:
            raise UsageError(f"the weight {weight:g} of {part.model} must be a number other than 0")
        if part.parts:
            raise UsageError(f"{part.model} is a fusion itself; give its parts with their weights")
    first = parts[0][1]
    aligned = [(weight, _aligned(part, first)) for weight, part in parts]
    sides = {role: first.role(role) for role in ROLES}
    for role in ROLES[2:]:
        if any(part.role(role) is None for _, part in aligned):
            sides[role] = None
    bare = {
        role: None if side is None else replace(side, vectors=None, tokens=None) for role, side in sides.items()
    }
    scales = {part.logit_scale for _, part in parts}
    ways = {part.adjusted_for for _, part in parts if part.adjusted_for}
    if len(ways) > 1:
        raise UsageError("some parts were adjusted for t2v and some for v2t: their sum stands for neither")
    name = " + ".join(f"{weight:g} {part.model}" for weight, part in parts)
    assert bare["queries"] is not None and bare["items"] is not None
    return replace(
        first,
        queries=bare["queries"],
        items=bare["items"],
        query_bank=bare["query_bank"],
        item_bank=bare["item_bank"],
        scores={},
        parts=tuple(aligned),
        each=each,
        logit_scale=first.logit_scale if len(scales) == 1 else None,
        model=f"{each} of {name}" if each else name,
        fitted_on="+".join(sorted({seen for _, part in parts for seen in part.fitted_on.split("+") if seen})),
        adjusted_for=next(iter(ways)) if ways else "",
        inputs=tuple(entry for _, part in parts for entry in part.inputs),
        notes=tuple(dict.fromkeys(note for _, part in parts for note in part.notes)),
    )


def _aligned(part: Problem, first: Problem) -> Problem:
    """The part with its rows in the order of the first one's ids."""
    sides: dict[str, Embeddings | None] = {}
    orders: dict[str, Integers] = {}
    for role in ROLES:
        mine, wanted = part.role(role), first.role(role)
        sides[role] = mine
        if mine is None or wanted is None or mine.ids == wanted.ids:
            continue
        if role.endswith("bank") and set(mine.ids) != set(wanted.ids):
            raise InputError(f"{mine.origin or part.model}: another {role.replace('_', ' ')} than {first.model}'s")
        place = {name: row for row, name in enumerate(mine.ids)}
        lost = next((name for name in wanted.ids if name not in place), None)
        if lost is not None or len(mine) != len(wanted):
            what = f"id {lost!r} is missing" if lost is not None else f"{len(mine)} rows for {len(wanted)}"
            raise InputError(f"{mine.origin or part.model}: {role} are not those of {first.model} ({what})")
        orders[role] = np.array([place[name] for name in wanted.ids])
        sides[role] = _rows(mine, orders[role])
    assert sides["queries"] is not None and sides["items"] is not None
    scores = dict(part.scores)
    for pair, matrix in part.scores.items():
        for axis, role in enumerate(pair):
            if role in orders:
                matrix = matrix[orders[role]] if axis == 0 else matrix[:, orders[role]]
        scores[pair] = matrix
    return replace(
        part,
        queries=sides["queries"],
        items=sides["items"],
        query_bank=sides["query_bank"],
        item_bank=sides["item_bank"],
        scores=scores,
        relevance=None,
    )


def _rows(side: Embeddings, order: Integers) -> Embeddings:
    return Embeddings(
        ids=subset(side.ids, order),
        vectors=None if side.vectors is None else side.vectors[order],
        captions=None if side.captions is None else subset(side.captions, order),
        weight=None if side.weight is None else side.weight[order],
        origin=side.origin,
        tokens=None if side.tokens is None else side.tokens.rows(order),
    )


def in_query_order(problem: Problem, order: Integers) -> Problem:
    """The same problem with its queries in another order, or with some of them only: (n,) different positions."""
    place = np.full(len(problem.queries), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    scores = dict(problem.scores)
    for (rows, columns), matrix in problem.scores.items():
        matrix = matrix[order] if rows == "queries" else matrix
        scores[rows, columns] = matrix[:, order] if columns == "queries" else matrix
    relevance = problem.relevance
    if relevance is not None:
        kept = place[relevance.query] >= 0
        relevance = Relevance.of(place[relevance.query[kept]], relevance.item[kept], relevance.gain[kept])
    parts = tuple((weight, in_query_order(part, order)) for weight, part in problem.parts)
    return replace(problem, queries=_rows(problem.queries, order), relevance=relevance, scores=scores, parts=parts)

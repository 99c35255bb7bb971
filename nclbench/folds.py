"""A share of the test side as a bank for the rest of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import NotAvailable
from nclbench.problem import Embeddings, Integers, Problem, subset

# which side of the test a bank of folds is drawn from
DRAWN_FROM = {"query_bank": "queries", "item_bank": "items"}


def shares(problem: Problem, role: str, folds: int) -> Iterator[tuple[Integers, Integers]]:
    """(a fold, the others) of the side that this bank is drawn from. NotAvailable where there are too few.

    What shares a relevant item stays together: a caption's siblings in its bank would stand against their own video.
    Dealt by the order of the ids, whatever the order of the rows.
    """
    # as long to load as a small evaluation without folds takes
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    reverse = role == "item_bank"
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


def named_bank(problem: Problem, role: str, rows: Integers) -> Problem:
    """The problem with ids and weights of a share of its test side as a bank; nothing is copied but these."""
    side = problem.role(DRAWN_FROM[role])
    assert side is not None
    weight = None if side.weight is None else side.weight[rows]
    bank = Embeddings(subset(side.ids, rows), weight=weight, origin=f"folds of the {DRAWN_FROM[role]}")
    scores = {pair: matrix for pair, matrix in problem.scores.items() if role not in pair}
    if role == "query_bank":
        return replace(problem, query_bank=bank, scores=scores)
    return replace(problem, item_bank=bank, scores=scores)

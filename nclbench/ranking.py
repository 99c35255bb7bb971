"""From scores to integers: how many items beat each relevant pair, how many tie with it, and each row's best items.

Ranks are found by counting; S is never sorted. Thresholds are the defined scores of the pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nclbench.plan import COUNTS
from nclbench.problem import Integers, Relevance
from nclbench.reducers import CountAbove, Leaders
from nclbench.similarity import Job, View, sweep

_SPARE = 6


@dataclass(frozen=True, eq=False)
class Ranking:
    """All that metrics and diagnostics may see.

    query, item: (P,) the relevant pairs, sorted by query. gain: (P,). above, tied: (P,) how many other items of the
    row score more, and the same. top: (N, K) columns of the best items, ties by lowest index; None if not asked for.
    shape: (N, M).
    """

    query: Integers
    item: Integers
    gain: npt.NDArray[np.float64]
    above: Integers
    tied: Integers
    top: Integers | None
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Request:
    """What to rank. relevance None: only the best items. top: how many of them, 0 for none."""

    view: View
    relevance: Relevance | None
    top: int = 0


def rank(requests: Sequence[Request]) -> list[Ranking]:
    """One pass over their common base for all requests."""
    counters = [_counter(request) for request in requests]
    jobs: list[Job] = []
    for request, counter in zip(requests, counters, strict=True):
        if counter is not None:
            jobs.append((request.view, counter))
        if request.top:
            jobs.append((request.view, Leaders(min(request.top + _SPARE, request.view.shape[1]))))
    found = iter(sweep(jobs)) if jobs else iter(())
    return [_ranking(request, found) for request in requests]


def _counter(request: Request) -> CountAbove | None:
    if request.relevance is None:
        return None
    view = request.view
    query, item = view.plan.indices(request.relevance.query), view.plan.indices(request.relevance.item)
    return CountAbove(query, item, view.exact(query, item), view.exact, view.error, view.tolerance)


def _ranking(request: Request, found: Iterator[Any]) -> Ranking:
    none = np.zeros(0, dtype=np.int64)
    relevance = Relevance(none, none, np.zeros(0)) if request.relevance is None else request.relevance
    above, tied = (none, none) if request.relevance is None else (part.cpu().numpy() for part in next(found))
    top = None
    if request.top:
        _, candidates = next(found)
        top = _best(request.view, candidates, min(request.top, request.view.shape[1])).cpu().numpy()
    return Ranking(relevance.query, relevance.item, relevance.gain, above, tied, top, request.view.shape)


def _best(view: View, candidates: Tensor, k: int) -> Tensor:
    """(N, C) candidates by tile value -> (N, k) by defined score, ties by lowest index.

    A row is certain when its k-th score clears everything that is not a candidate; other rows are looked at whole.
    """
    n, count = candidates.shape
    out = torch.empty((n, k), dtype=COUNTS, device=candidates.device)
    step = max(1, (1 << 18) // count)
    for start in range(0, n, step):
        rows = torch.arange(start, min(start + step, n), device=candidates.device)
        scores = view.exact(rows.repeat_interleave(count), candidates[rows].flatten()).view(-1, count)
        out[rows] = _in_order(scores, candidates[rows], k, view.tolerance)
        if count < view.shape[1]:
            # no other tile value exceeds the weakest candidate's, nor any score that by twice the error
            reach = scores.amin(1) + 2 * view.error + view.tolerance
            doubtful = rows[scores.topk(k, dim=1).values[:, -1] <= reach]
            for part in range(0, len(doubtful), view.plan.strip(view.shape[1])):
                few = doubtful[part : part + view.plan.strip(view.shape[1])]
                out[few] = _whole_rows(view, few, k)
    return out


def _whole_rows(view: View, rows: Tensor, k: int) -> Tensor:
    """(n,) rows -> (n, k), from every column that could be among the best."""
    scores = view.look(rows)
    # float64 tiles are within rounding of the definition; near the k-th score the definition decides.
    # where scores cancel, rounding is in proportion to the vectors' lengths, not to the score
    bar = scores.topk(k, dim=1).values[:, -1:]
    slack = 1e-9 * (1 + bar.abs() + view.base.largest) + view.tolerance
    row, column = (scores >= bar - slack).nonzero(as_tuple=True)
    scores[row, column] = view.exact(rows[row], column)
    everything = torch.arange(view.shape[1], device=rows.device).expand_as(scores)
    return _in_order(scores, everything, k, view.tolerance)


def _in_order(scores: Tensor, columns: Tensor, k: int, tolerance: float) -> Tensor:
    """The first k columns by falling score; scores within the tolerance of their neighbour are one tie, lowest first."""
    by_column = columns.argsort(dim=1)
    columns, scores = columns.gather(1, by_column), scores.gather(1, by_column)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, order)
    if tolerance:
        tie = torch.zeros_like(columns)
        tie[:, 1:] = (scores[:, :-1] - scores[:, 1:] > tolerance).cumsum(1)
        by_column = columns.argsort(dim=1)
        order = tie.gather(1, by_column).argsort(dim=1, stable=True)
        columns = columns.gather(1, by_column).gather(1, order)
    return columns[:, :k]

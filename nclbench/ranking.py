"""From scores to integers: how many items beat each relevant pair, how many tie with it, and each row's best items.

Ranks are found by counting; S is never sorted. Thresholds are the defined scores of the pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.counting import CountAbove
from nclbench.leaders import candidates, ordered
from nclbench.problem import Integers, Relevance
from nclbench.similarity import Job, View, sweep
from nclbench.unwritten import all_counted


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
    """All requests on one base in one pass over it."""
    counters = [_counter(request) for request in requests]
    jobs: list[Job] = []
    for request, counter in zip(requests, counters, strict=True):
        if counter is not None:
            jobs.append((request.view, counter))
        if request.top:
            jobs.append((request.view, candidates(request.view, request.top)))
    found = iter(_swept(jobs))
    return [_ranking(request, found) for request in requests]


def _swept(jobs: Sequence[Job]) -> list[Any]:
    """As few passes as there are bases, and axes that an operator must see whole."""
    passes: dict[tuple[int, int | None], list[int]] = {}
    for number, (view, _) in enumerate(jobs):
        passes.setdefault((id(view.base), view.whole), []).append(number)
    values: dict[int, Any] = {}
    for numbers in passes.values():
        mine = [jobs[number] for number in numbers]
        counts = [(view, reducer) for view, reducer in mine if isinstance(reducer, CountAbove)]
        found = all_counted(counts) if len(counts) == len(mine) else None
        values |= dict(zip(numbers, sweep(mine) if found is None else found, strict=True))
    return [values[number] for number in range(len(jobs))]


def _counter(request: Request) -> CountAbove | None:
    if request.relevance is None:
        return None
    view = request.view
    query, item = view.plan.indices(request.relevance.query), view.plan.indices(request.relevance.item)
    return CountAbove(query, item, view.exact(query, item), view.exact, view.roughness, view.tolerance, view.fast)


def _ranking(request: Request, found: Iterator[Any]) -> Ranking:
    none = np.zeros(0, dtype=np.int64)
    relevance = Relevance(none, none, np.zeros(0)) if request.relevance is None else request.relevance
    above, tied = (none, none) if request.relevance is None else (part.cpu().numpy() for part in next(found))
    top = None
    if request.top:
        top = ordered(request.view, next(found), request.top).cpu().numpy()
    return Ranking(relevance.query, relevance.item, relevance.gain, above, tied, top, request.view.shape)

"""From scores to integers: how many items beat each relevant pair, how many tie with it, and each row's best items.

Ranks are found by counting; S is never sorted. Thresholds are the defined scores of the pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.machine.memory import give_back
from nclbench.problem import Integers, Relevance
from nclbench.ranking.both import both, simple
from nclbench.ranking.counting import CountAbove
from nclbench.ranking.leaders import candidates, ordered
from nclbench.ranking.unwritten import all_counted
from nclbench.similarity.view import Job, View, sweep


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
    counts: dict[int, tuple[int, int | None]] = {}  # of a request: the job, and which of the two that it counts
    for forward, backward in _couples(requests, counters):
        counts |= {forward: (len(jobs), 0), backward: (len(jobs), 1)}
        (there, rows), (back, columns) = ((requests[each].view, counters[each]) for each in (forward, backward))
        assert rows is not None and columns is not None
        jobs.append((replace(there, map=None), both(there, rows, back, columns)))
    for number, (request, counter) in enumerate(zip(requests, counters, strict=True)):
        if counter is not None and number not in counts:
            counts[number] = len(jobs), None
            jobs.append((request.view, counter))
    tops: dict[int, int] = {}
    for number, request in enumerate(requests):
        if request.top:
            tops[number] = len(jobs)
            jobs.append((request.view, candidates(request.view, request.top)))
    found = _swept(jobs)
    give_back(max((request.view.shape[0] * request.view.shape[1] for request in requests), default=0))
    rankings = []
    for number, request in enumerate(requests):
        job, half = counts.get(number, (None, None))
        counted = None if job is None else found[job] if half is None else found[job][half]
        rankings.append(_ranking(request, counted, found[tops[number]] if request.top else None))
    return rankings


def _couples(requests: Sequence[Request], counters: Sequence[CountAbove | None]) -> Iterator[tuple[int, int]]:
    """Requests of the two directions of one base that can be counted together."""
    if len({request.view.reverse for request in requests}) < 2:
        return
    waiting: dict[tuple[int, bool], list[int]] = {}
    for number, (request, counter) in enumerate(zip(requests, counters, strict=True)):
        if counter is not None and simple(request.view, counter):
            waiting.setdefault((id(request.view.base), request.view.reverse), []).append(number)
    for (base, reverse), numbers in waiting.items():
        if not reverse:
            yield from zip(numbers, waiting.get((base, True), []), strict=False)


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


def _ranking(request: Request, counted: Any, leading: Any) -> Ranking:
    none = np.zeros(0, dtype=np.int64)
    relevance = Relevance(none, none, np.zeros(0)) if request.relevance is None else request.relevance
    above, tied = (none, none) if counted is None else (part.cpu().numpy() for part in counted)
    top = None if leading is None else ordered(request.view, leading, request.top).cpu().numpy()
    return Ranking(relevance.query, relevance.item, relevance.gain, above, tied, top, request.view.shape)

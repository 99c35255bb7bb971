"""How sure numbers are: bootstrap intervals over queries, or over clusters of queries that share an item."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.machine.blas import single
from nclbench.problem import Integers

RESAMPLES = 2000
# cells of resamples that are counted at a time, in cache, and of those that are drawn at a time, if they are kept
_FEW, _CELLS = 1 << 18, 1 << 20
# cells of resamples that are kept for the next call: every row of a table draws the same ones
_KEPT = 1 << 24
Array = npt.NDArray[np.floating[Any]]


@single()
def intervals(
    values: Array,
    median: npt.NDArray[np.bool_],
    *,
    cluster: Integers | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Array:
    """Percentile bootstrap intervals (Efron 1979) of K statistics of the same queries, resampled together.

    values: (Q, K) one value a query; median: (K,) whether a column's statistic is the median, else the mean. cluster:
    (Q,) captions of one item are drawn together; None draws queries. Returns (K, 2). The same seed gives the same
    intervals, in whatever order the queries come.
    """
    if cluster is not None and len(np.unique(cluster)) == len(values):
        cluster = None
    values, owner = in_order(values, cluster)
    clusters = int(owner[-1]) + 1
    sizes = np.bincount(owner).astype(float)
    sums = np.stack([np.bincount(owner, weights=column) for column in values.T], 1)
    orders = {column: np.argsort(values[:, column], kind="stable") for column in np.flatnonzero(median)}
    found = np.empty((RESAMPLES, values.shape[1]))
    start = 0
    for drawn in _resamples(clusters, seed):
        times = drawn.astype(float)
        rows = slice(start, start + len(times))
        found[rows] = (times @ sums) / _totals(times, sizes)[:, None]
        for column, order in orders.items():
            found[rows, column] = _medians(values[order, column], owner[order], times, sizes)
        start = rows.stop
    ends: Array = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0).T
    return ends


def interval(
    values: Array, *, median: bool = False, cluster: Integers | None = None, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The interval of one mean or median, see `intervals`. values: (Q,)."""
    ((low, high),) = intervals(values[:, None], np.array([median]), cluster=cluster, seed=seed, level=level).tolist()
    return float(low), float(high)


def _totals(times: Array, sizes: Array) -> Array:
    """(n,) how many queries each resample has."""
    alone = len(sizes) == sizes.sum()  # then as many as there are
    return np.full(len(times), sizes.sum()) if alone else times @ sizes


def _resamples(clusters: int, seed: int) -> Iterator[npt.NDArray[np.integer[Any]]]:
    """(n, clusters) how often each cluster was drawn, for few of the resamples at a time: sums of other numbers of them
    differ in last bits.
    """
    few, some = _steps(clusters)
    drawn = _kept(clusters, seed) if RESAMPLES * clusters <= _KEPT else _draw(clusters, seed, few, some)
    for times in drawn:
        for start in range(0, len(times), few):
            yield times[start : start + few]


def _steps(clusters: int) -> tuple[int, int]:
    return max(1, _FEW // clusters), max(1, _CELLS // clusters)


@lru_cache(maxsize=1)
def _kept(clusters: int, seed: int) -> tuple[npt.NDArray[np.integer[Any]], ...]:
    _, some = _steps(clusters)
    return tuple(_draw(clusters, seed, some, some))


def _draw(clusters: int, seed: int, few: int, some: int) -> Iterator[npt.NDArray[np.integer[Any]]]:
    """few: resamples at a time, which begins anew after `some` of them."""
    draw = np.random.default_rng(seed)
    for start in range(0, RESAMPLES, some):
        end = min(start + some, RESAMPLES)
        for first in range(start, end, few):
            count = min(few, end - first)
            drawn = draw.integers(clusters, size=(count, clusters))
            drawn += clusters * np.arange(count)[:, None]
            times = np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters)
            yield times.astype(np.min_scalar_type(int(times.max())))


def in_order(values: Array, cluster: Integers | None) -> tuple[Array, Integers]:
    """The queries sorted by what they hold, cluster by cluster, and the number of the cluster of each: draws then do not
    depend on the order of the queries. values: (Q, K); cluster: (Q,), None for every query on its own.
    """
    if cluster is None:
        order = np.lexsort(values.T)
        return values[order], np.arange(len(values))
    order = np.lexsort((*values.T, cluster))
    values, cluster = values[order], cluster[order]
    starts = np.flatnonzero(np.diff(cluster, prepend=cluster[0] - 1))
    groups = sorted(np.split(values, starts[1:]), key=lambda group: group.tolist())
    return np.concatenate(groups), np.repeat(np.arange(len(groups)), [len(group) for group in groups])


def _medians(ordered: Array, owner: Integers, times: Array, sizes: Array) -> Array:
    """(n,) the median of each resample. ordered: (Q,) sorted values; owner: (Q,) their clusters; times: (n, clusters)."""
    total = _totals(times, sizes)
    # the middle of a resample is hardly ever further from the middle of all than five standard deviations
    reach = int(2.5 * np.sqrt(sizes @ sizes)) + 1
    middle = len(ordered) // 2
    found, missed = _within(ordered, owner, times, total, max(0, middle - reach), min(len(ordered), middle + reach))
    if missed.any():
        found[missed], _ = _within(ordered, owner, times[missed], total[missed], 0, len(ordered))
    return found


def _within(
    ordered: Array, owner: Integers, times: Array, total: Array, first: int, last: int
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """(n,) the medians as found among the sorted values first..last, and which of them lie outside."""
    before = times @ np.bincount(owner[:first], minlength=times.shape[1]).astype(float)
    upto = np.cumsum(times[:, owner[first:last]], axis=1)
    upto += before[:, None]
    lower, upper = (total + 1) // 2, total // 2 + 1
    places = [first + (upto < place[:, None]).sum(1) for place in (lower, upper)]
    missed = (before >= lower) | (upto[:, -1] < upper)
    low, high = (ordered[np.minimum(place, last - 1)] for place in places)
    return (low + high) / 2, missed

"""How sure numbers are: bootstrap intervals over queries, or over clusters of queries that share an item."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.problem import Integers

RESAMPLES = 2000
_CELLS = 1 << 20
Array = npt.NDArray[np.floating[Any]]


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
    draw = np.random.default_rng(seed)
    found = np.empty((RESAMPLES, values.shape[1]))
    step = max(1, _CELLS // clusters)
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        drawn = draw.integers(clusters, size=(count, clusters))
        drawn += clusters * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters)
        found[start : start + count] = (times @ sums) / (times @ sizes)[:, None]
        for column, order in orders.items():
            ordered, who = values[order, column], owner[order]
            for row in range(count):
                found[start + row, column] = _median(ordered, times[row][who])
    ends: Array = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0).T
    return ends


def interval(
    values: Array, *, median: bool = False, cluster: Integers | None = None, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The interval of one mean or median, see `intervals`. values: (Q,)."""
    ((low, high),) = intervals(values[:, None], np.array([median]), cluster=cluster, seed=seed, level=level).tolist()
    return float(low), float(high)


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


def _median(ordered: Array, times: Integers) -> float:
    """The median of sorted values, each as often as said."""
    upto = np.cumsum(times)
    places = np.searchsorted(upto, [(upto[-1] + 1) // 2, upto[-1] // 2 + 1])
    return float(ordered[places].mean())

"""How sure a number is: bootstrap intervals over queries, or over clusters of queries that share an item."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.problem import Integers

RESAMPLES = 2000
Array = npt.NDArray[np.floating[Any]]


def interval(
    values: Array, *, median: bool = False, cluster: Integers | None = None, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (or median) of per-query values (Q,) (Efron 1979).

    Resampling with replacement is drawn as multinomial counts over the distinct values, so it is exact and fast.
    cluster: (Q,) captions of one item are drawn together; None draws queries. The same seed gives the same interval.
    """
    draw = np.random.default_rng(seed)
    if cluster is not None and len(np.unique(cluster)) == len(values):
        cluster = None
    if median:
        found = _medians(values, draw) if cluster is None else _clustered_medians(values, cluster, draw)
    elif cluster is None:
        kinds, counts = np.unique(values, return_counts=True)
        found = _resampled(counts, kinds, draw) / len(values)
    else:
        order = np.lexsort((values, cluster))  # the same bits in any order of the queries
        _, owner = np.unique(cluster[order], return_inverse=True)
        values = values[order]
        sums = np.stack([np.bincount(owner, weights=values), np.bincount(owner).astype(float)], 1)
        kinds, counts = np.unique(sums, axis=0, return_counts=True)
        total = _resampled(counts, kinds, draw)
        found = total[:, 0] / total[:, 1]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(counts: npt.NDArray[np.int64], kinds: Array, draw: np.random.Generator) -> Array:
    """(resamples,) or (resamples, 2) sums of a resample: how often each distinct value is drawn, times the value."""
    n, step = int(counts.sum()), max(1, (1 << 20) // len(counts))
    parts = [
        draw.multinomial(n, counts / n, size=min(step, RESAMPLES - done)) @ kinds for done in range(0, RESAMPLES, step)
    ]
    return np.concatenate(parts)


def _medians(values: Array, draw: np.random.Generator) -> Array:
    """(resamples,) medians of resamples: the middle order statistics of n uniform draws, through their Beta law."""
    n, ordered = len(values), np.sort(values)
    low, high = (n + 1) // 2, n // 2 + 1
    first = draw.beta(low, n + 1 - low, size=RESAMPLES)
    second = first if low == high else first + (1 - first) * draw.beta(1, n - low, size=RESAMPLES)
    places = [np.minimum((share * n).astype(int), n - 1) for share in (first, second)]
    middle: Array = (ordered[places[0]] + ordered[places[1]]) / 2
    return middle


def _clustered_medians(values: Array, cluster: Integers, draw: np.random.Generator) -> Array:
    """(resamples,) medians when clusters are drawn: the middle of the sorted values, each as often as its cluster."""
    by_cluster = np.lexsort((values, cluster))
    starts = np.flatnonzero(np.diff(cluster[by_cluster], prepend=cluster.min() - 1))
    # clusters are numbered by what they hold, so that the order of the queries does not matter
    groups = sorted(tuple(group.tolist()) for group in np.split(values[by_cluster], starts[1:]))
    flat = np.concatenate(groups)
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    order = np.argsort(flat, kind="stable")
    ordered, owner = flat[order], owner[order]
    found = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = draw.multinomial(len(groups), np.full(len(groups), 1 / len(groups)))
        upto = np.cumsum(drawn[owner])
        places = np.searchsorted(upto, [(upto[-1] + 1) // 2, upto[-1] // 2 + 1])
        found[number] = ordered[places].mean()
    return found

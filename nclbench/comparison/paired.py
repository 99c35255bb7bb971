"""Statistics of two systems on the same queries, in numpy alone: what is drawn are counts of distinct rows.

Resampling queries, equal rows are one row with a count; so a draw costs as much as there are distinct rows, not queries.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.comparison.medians import Lists
from nclbench.significance import in_order

Array = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
_CELLS = 1 << 20
# a binomial draw takes as long as so many uniform ones
_WORTH = 4
_POWER = 0.8
# sums of the same values in another order differ by less than this share of them
_NOISE = 1e-9


@dataclass(frozen=True, eq=False)
class Pairs:
    """K metrics of N queries under two systems, queries of one cluster side by side, in an order of their values.

    before, after: (N, K). median: (K,) whether the statistic is a median, else a mean. owner: (N,) 0..C-1, the cluster.
    """

    before: Array
    after: Array
    median: npt.NDArray[np.bool_]
    owner: Integers

    @classmethod
    def of(
        cls, before: Array, after: Array, median: npt.NDArray[np.bool_], cluster: Integers | None = None
    ) -> "Pairs":
        """cluster: (N,) queries that are drawn and swapped together; None for each on its own."""
        if cluster is not None and len(np.unique(cluster)) == len(before):
            cluster = None
        both, owner = in_order(np.concatenate([before, after], 1), cluster)
        width = before.shape[1]
        return cls(both[:, :width], both[:, width:], median, owner)

    @property
    def clusters(self) -> int:
        return int(self.owner[-1]) + 1

    @property
    def clustered(self) -> bool:
        return self.clusters < len(self.owner)

    def differences(self) -> list[float]:
        """(K,) after less before, of the means or medians."""
        return [
            float(np.median(self.after[:, k]) - np.median(self.before[:, k]))
            if self.median[k]
            else math.fsum(self.after[:, k] - self.before[:, k]) / len(self.owner)
            for k in range(len(self.median))
        ]


def bootstrap(pairs: Pairs, resamples: int, seed: int) -> Array:
    """(resamples, K) differences of resampled queries or clusters (Efron 1979; Davison & Hinkley 1997, 3.8)."""
    draw = np.random.default_rng(seed)
    means, medians = np.flatnonzero(~pairs.median), np.flatnonzero(pairs.median)
    sizes = np.bincount(pairs.owner).astype(float)
    moved = pairs.after[:, means] - pairs.before[:, means]
    sums = np.stack([sizes, *(np.bincount(pairs.owner, column) for column in moved.T)], 1)
    held = np.concatenate([pairs.before[:, medians], pairs.after[:, medians]], 1)
    if not len(medians):
        units, times = np.unique(sums, axis=0, return_counts=True)
        owner = np.arange(len(units))
    elif not pairs.clustered:
        merged, times = np.unique(np.concatenate([sums, held], 1), axis=0, return_counts=True)
        units, held = merged[:, : sums.shape[1]], merged[:, sums.shape[1] :]
        owner = np.arange(len(units))
    else:
        units, times, owner = sums, np.ones(len(sums), dtype=np.int64), pairs.owner
    found = np.empty((resamples, len(pairs.median)))
    lists = [Lists(held[:, place], held[:, len(medians) + place], owner) for place in range(len(medians))]
    for start, count in _chunks(resamples, len(units)):
        drawn = _drawn(draw, times, count)
        totals = drawn @ units
        found[start : start + count, means] = totals[:, 1:] / totals[:, :1]
        for place, metric in enumerate(medians):
            found[start : start + count, metric] = lists[place].drawn(drawn)
    return found


def interval(draws: Array, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of the draws of one difference."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def detectable(draws: Array, level: float = 0.95) -> float | None:
    """The true difference that such a test would find four times in five; None where nothing varies.

    (z_{1 - alpha/2} + z_{0.8}) standard errors (Cohen 1988), before any correction for several comparisons.
    """
    error = float(draws.std())
    normal = NormalDist()
    return (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(_POWER)) * error if error else None


def permutation(pairs: Pairs, metric: int, resamples: int, seed: int) -> float:
    """Two-sided p of the hypothesis that the systems could be swapped on any query or cluster (Fisher 1935; Good 2005).

    The share of draws as far from 0 as what was seen, what was seen among them (Phipson & Smyth 2010).
    """
    draw = np.random.default_rng(seed)
    before, after = pairs.before[:, metric], pairs.after[:, metric]
    if pairs.median[metric]:
        return _median_permutation(pairs, before, after, resamples, draw)
    sums = np.abs(np.bincount(pairs.owner, after - before))
    values, times = np.unique(np.round(sums[sums > 0], 12), return_counts=True)
    seen = abs(math.fsum(after - before))
    far = 0
    for _, count in _chunks(resamples, len(values)):
        turned = _turned(draw, times, count)
        far += int((np.abs((2 * turned - times) @ values) >= seen - _NOISE * (values @ times)).sum())
    return (1 + far) / (1 + resamples)


def mcnemar(won: int, lost: int) -> float:
    """Two-sided exact p of wins and losses that are equally likely (McNemar 1947), as of a binomial test."""
    n, k = won + lost, min(won, lost)
    if not n or won == lost:
        return 1.0
    i = np.arange(1, k + 1)
    chances = np.concatenate([[0.0], np.cumsum(np.log(n - i + 1) - np.log(i))]) - n * math.log(2)
    return min(1.0, 2 * math.fsum(np.exp(chances)))


def holm(values: list[float]) -> list[float]:
    """p-values that keep the chance of any false finding among all of them (Holm 1979), in the given order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, least = [0.0] * len(values), 0.0
    for place, at in enumerate(order):
        least = max(least, min(1.0, (len(values) - place) * values[at]))
        found[at] = least
    return found


def _median_permutation(pairs: Pairs, before: Array, after: Array, resamples: int, draw: np.random.Generator) -> float:
    """Swapping moves each row's value from one system's list to the other's; the medians of both lists move."""
    seen = abs(float(np.median(after) - np.median(before)))
    if pairs.clustered:
        rows, times, owner = np.stack([before, after], 1), np.ones(pairs.clusters, dtype=np.int64), pairs.owner
    else:
        rows, times = np.unique(np.sort(np.stack([before, after], 1)), axis=0, return_counts=True)
        owner = np.arange(len(rows))
    lists, far = Lists(rows[:, 0], rows[:, 1], owner), 0
    for _, count in _chunks(resamples, len(times)):
        moved = lists.swapped(times, _turned(draw, times, count))
        far += int((np.abs(moved) >= seen - _NOISE).sum())
    return (1 + far) / (1 + resamples)


def _drawn(draw: np.random.Generator, times: Integers, count: int) -> Integers:
    """(count, U) how often each unit is drawn, in as many draws as there are: a multinomial of its `times` (U,).

    Where most units stand for one or few queries, drawing these is faster.
    """
    total = int(times.sum())
    if total > _WORTH * len(times):
        return draw.multinomial(total, times / total, size=count)
    owner = np.repeat(np.arange(len(times), dtype=np.int32), times)
    places = owner[draw.integers(total, size=(count, total), dtype=np.int32)] + len(times) * np.arange(count)[:, None]
    return np.bincount(places.ravel(), minlength=count * len(times)).reshape(count, -1)


def _turned(draw: np.random.Generator, times: Integers, count: int) -> Integers:
    """(count, U) how many of the `times` equal units are swapped, each with probability one half."""
    alone = times == 1
    turned = np.empty((count, len(times)), dtype=np.int64)
    turned[:, alone] = draw.integers(2, size=(count, int(alone.sum())), dtype=np.bool_)
    turned[:, ~alone] = draw.binomial(times[~alone], 0.5, size=(count, int((~alone).sum())))
    return turned


def _chunks(total: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _CELLS // max(width, 1))
    for start in range(0, total, step):
        yield start, min(step, total - start)

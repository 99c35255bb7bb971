"""Medians of many resamples at once: histograms of units over the levels near the middle, weighted by products."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
# what lies outside these quantiles is told apart only where a median falls there
_SHARES = (0.3, 0.1, 0.0)


@dataclass(frozen=True, eq=False)
class Lists:
    """Two lists of values (R,) whose rows belong to units: owner (R,) 0..U-1. Units are drawn, or swapped, whole."""

    before: Array
    after: Array
    owner: Integers
    _kept: dict[float, tuple["_Levels", Array, Array]] = field(default_factory=dict, repr=False)

    def drawn(self, times: Integers) -> Array:
        """(B,) the difference of the medians, each unit as often as `times` (B, U) says."""
        weights = times.astype(float)
        total = weights @ np.bincount(self.owner).astype(float)
        for share in _SHARES:
            levels, before, after = self._tables(share)
            one, other = (levels.median(weights @ table, total) for table in (before, after))
            if one is not None and other is not None:
                break
        assert one is not None and other is not None
        return other - one

    def swapped(self, times: Integers, turned: Integers) -> Array:
        """(B,) the difference of the medians when `turned` (B, U) of the `times` (U,) copies of a unit change lists."""
        total = np.full(len(turned), float(times[self.owner].sum()))
        weights = turned.astype(float)
        for share in _SHARES:
            levels, before, after = self._tables(share)
            moved = weights @ (after - before)
            one = levels.median(times @ before + moved, total)
            other = levels.median(times @ after - moved, total)
            if one is not None and other is not None:
                break
        assert one is not None and other is not None
        return other - one

    def _tables(self, share: float) -> tuple["_Levels", Array, Array]:
        """Levels, and for both lists (U, L) how many of a unit's rows are at each."""
        if share not in self._kept:
            both = np.concatenate([self.before, self.after])
            low, high = np.quantile(both, [share, 1 - share], method="nearest")
            levels, place = np.unique(np.clip(both, low, high), return_inverse=True)
            tables = np.zeros((2, int(self.owner.max()) + 1, len(levels)))
            np.add.at(tables[0], (self.owner, place[: len(self.owner)]), 1)
            np.add.at(tables[1], (self.owner, place[len(self.owner) :]), 1)
            open_ends = bool(low > both.min()), bool(high < both.max())
            self._kept[share] = _Levels(levels, *open_ends), tables[0], tables[1]
        return self._kept[share]


@dataclass(frozen=True, eq=False)
class _Levels:
    """values (L,), sorted. open_below, open_above: whether the first, or last, stands for all beyond it too."""

    values: Array
    open_below: bool
    open_above: bool

    def median(self, counts: Array, total: Array) -> Array | None:
        """(B,) from counts (B, L) at each level; None where one may lie beyond the levels."""
        upto = np.cumsum(counts, axis=1)
        low, high = ((upto < middle[:, None]).sum(1) for middle in ((total + 1) // 2, total // 2 + 1))
        if (self.open_below and low.min() == 0) or (self.open_above and high.max() == len(self.values) - 1):
            return None
        middle: Array = (self.values[low] + self.values[high]) / 2
        return middle

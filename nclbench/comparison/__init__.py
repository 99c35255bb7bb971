"""Two systems on the same queries: what differs, how sure that is, and on which queries.

What is compared are the rows of queries that saved results have beside them; nothing is ranked again.
"""

from dataclasses import dataclass, field

from nclbench.results import Columns, Results, Run

RESAMPLES = 10_000
LEVEL = 0.95
# 1 - LEVEL is a little more in binary
_ALPHA = 0.05


@dataclass(frozen=True)
class Saved:
    """Results with the rows of their queries and items. name: what messages call them, such as the file's path."""

    name: str
    results: Results


@dataclass(frozen=True)
class Pair:
    """A run and the one that it is set against, each with the results that it is in."""

    reference: tuple[Saved, Run]
    other: tuple[Saved, Run]


@dataclass(frozen=True, eq=False)
class Matched:
    """The queries of a pair, row by row the same.

    before, after: the columns of both, (Q,) each.
    cluster: `item`, (Q,) the number of the item of each query; empty where some query has none or several.
    left_out: how many queries only one of the two has.
    """

    pair: Pair
    before: Columns
    after: Columns
    cluster: Columns
    left_out: int = 0


@dataclass(frozen=True)
class Difference:
    """One metric of one run less that of its reference, over the same queries.

    low, high: the bootstrap interval. p: of `test`, "McNemar" (exact) or "permutation"; adjusted: by Holm's method
    over all differences of the call. won, lost: queries that are better and worse. queries: how many were averaged;
    clusters: items that they were drawn by, None where each was drawn by itself. detectable: the true difference
    that would be found four times in five, None where nothing varies.
    """

    metric: str
    unit: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    test: str
    won: int
    lost: int
    queries: int
    clusters: int | None
    detectable: float | None

    @property
    def significant(self) -> bool:
        return self.adjusted < _ALPHA

    @property
    def better(self) -> bool:
        """Whether the run is ahead: lower ranks are better, higher percentages."""
        return self.difference < 0 if self.unit == "rank" else self.difference > 0


@dataclass(frozen=True)
class Compared:
    """All metrics of one pair."""

    pair: Pair
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that one call compared; its differences are one family of tests. notes: what was left out."""

    compared: tuple[Compared, ...]
    resamples: int
    seed: int
    notes: tuple[str, ...] = ()
    matched: tuple[Matched, ...] = field(default=(), repr=False)

    @property
    def tests(self) -> int:
        return sum(len(each.differences) for each in self.compared)

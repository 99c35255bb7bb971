"""When two points of a curve are the same but for chance: the difference is paired, query by query."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.metrics import Named
from nclbench.metrics.blocks import Blocks
from nclbench.problem import Integers, Problem
from nclbench.results import Columns

RULE = (
    "a point is within noise of the best if it is worse by at most 1.96 standard errors of the difference, paired over "
    "queries (captions of one item together); by at most half the best's 95 % interval where the metric is a median or "
    "looks at several relevant items"
)
_NORMAL = 1.96
Array = npt.NDArray[np.floating[Any]]


def per_query(table: Columns, named: Named) -> Array | None:
    """(Q,) the metric of every query with a relevant item, in the order of the table; None where that cannot be had.

    table: the rows of one run as in `Results.queries`, which hold the first relevant item of each query.
    """
    has = table["relevant"] > 0
    above, size = table["above"][has], table["tied"][has] + 1
    if named.metric.median or (named.metric.multiple and (table["relevant"][has] > 1).any()):
        return None
    # rank = above + (size + 1) / (first + 1), of `first` relevant items in the best block
    first = np.rint((size + 1) / (table["rank"][has] - above)).astype(np.int64) - 1
    asking = np.repeat(np.flatnonzero(has), first)
    blocks = Blocks.of(asking, np.repeat(above, first), np.repeat(size - 1, first), np.ones(len(asking)))
    return named.metric.function(blocks, named.k, "expected")


def clusters(problem: Problem, selector: str) -> Integers | None:
    """(Q,) the item of every query that has one, to be taken together; None where queries stand for themselves."""
    relevance = problem.relevance
    if relevance is None or selector == "v2t-videos":
        return None
    pairs = relevance.reversed() if selector == "v2t" else relevance
    single = len(np.unique(pairs.query)) == len(pairs)
    return pairs.item if single and len(np.unique(pairs.item)) < len(pairs) else None


def margin(difference: Array, cluster: Integers | None) -> float:
    """Up to where a mean difference is noise. difference: (Q,)."""
    count = len(difference)
    off = difference - difference.mean()
    if cluster is not None:
        off = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=off)
    if len(off) < 2:
        return 0.0
    return float(_NORMAL * np.sqrt((off**2).sum() * len(off) / (len(off) - 1)) / count)

"""Ranks of the first relevant item: median (MdR), mean (MnR) and mean reciprocal (MRR)."""

import numpy as np

from nclbench.metrics import Array, metric
from nclbench.metrics.blocks import Blocks, Integers


def first_rank(blocks: Blocks, ties: str) -> Array:
    """(Q,) 1 is best. Expected: g + (e + 1) / (p + 1), the mean of the smallest of p places out of e."""
    above, size, relevant = blocks.first_above, blocks.first_size, blocks.first_relevant
    if ties == "optimistic":
        return above + 1.0
    if ties == "pessimistic":
        return above + size - relevant + 1.0
    if ties == "expected":
        return above + (size + 1) / (relevant + 1)
    return above + (size + 1) / 2


@metric("MnR", unit="rank", summary="mean rank of the first relevant item", source="CLIP4Clip and others")
def mean_rank(blocks: Blocks, k: int, ties: str) -> Array:
    return first_rank(blocks, ties)


@metric(
    "MdR", unit="rank", median=True, summary="median rank of the first relevant item", source="CLIP4Clip and others"
)
def median_rank(blocks: Blocks, k: int, ties: str) -> Array:
    """The mean of the two middle values where their number is even (numpy.median)."""
    return first_rank(blocks, ties)


@metric("MRR", unit="percent", summary="mean of 1 / rank of the first relevant item", source="trec_eval recip_rank")
def reciprocal(blocks: Blocks, k: int, ties: str) -> Array:
    """(Q,) 0..100. Expected: the mean of 1 / r over all orders of the best block."""
    if ties in ("optimistic", "pessimistic", "midrank"):
        return 100.0 / first_rank(blocks, ties)
    above, size, relevant = blocks.first_above, blocks.first_size, blocks.first_relevant
    out = reciprocals(above, size) / size
    several = relevant > 1
    if ties == "expected" and several.any():
        for g, e, p in np.unique(np.stack([above, size, relevant], 1)[several], axis=0):
            here = (above == g) & (size == e) & (relevant == p)
            out[here] = _first_of_many(int(g), int(e), int(p))
    return 100.0 * out


def reciprocals(above: Integers, size: Integers) -> Array:
    """sum of 1 / r over r = g + 1 .. g + e, elementwise."""
    found: Array = 1 / (above + 1.0)
    tied = size > 1
    if tied.any():
        from scipy.special import digamma  # as long to load as a small evaluation takes, and ties are rare

        found[tied] = digamma(above[tied] + size[tied] + 1.0) - digamma(above[tied] + 1.0)
    return found


def _first_of_many(g: int, e: int, p: int) -> float:
    """The mean of 1 / (g + r), r the smallest of p places drawn from 1..e: P(r) = C(e-r, p-1) / C(e, p)."""
    places = np.arange(1, e - p + 2)
    ratio = (e - places[:-1] - p + 1) / (e - places[:-1])
    chance = p / e * np.concatenate([[1.0], np.cumprod(ratio)])
    return float(np.sum(chance / (g + places)))

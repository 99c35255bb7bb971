"""R@k: is a relevant item among the first k? recall@k: which share of them is? Rsum: R@1 + R@5 + R@10."""

import numpy as np
import numpy.typing as npt

from nclbench.metrics import Array, metric
from nclbench.metrics.blocks import Blocks, Integers


@metric(
    "R",
    unit="percent",
    cutoff=True,
    summary="queries with at least one relevant item among the first k (hit rate, success@k)",
    source="the text-video literature's R@k; trec_eval success.k",
)
def hit(blocks: Blocks, k: int, ties: str) -> Array:
    """(Q,) 0..100. Expected: 1 - C(e-p, m) / C(e, m), with g items above the best block of e items, p of them
    relevant, and m = clip(k - g, 0, e) places in it.
    """
    above, size, relevant = blocks.first_above, blocks.first_size, blocks.first_relevant
    if ties == "optimistic":
        return 100.0 * (above < k)
    if ties == "pessimistic":
        return 100.0 * (above + size - relevant < k)
    if ties == "midrank":
        return 100.0 * _middle_hit(above, size, k)
    places = np.clip(k - above, 0, size)
    if ties == "clip4clip":
        return 100.0 * places / size
    found: Array = 100.0 * places / size
    several = relevant > 1
    if several.any():
        found[several] = 100.0 * (1 - _all_missed(size[several], relevant[several], places[several]))
    return found


def _middle_hit(above: Integers, size: Integers, k: int) -> npt.NDArray[np.bool_]:
    """Whether the mean position, counted from 0, is below k; R@1 wants it to be 0 (Collaborative Experts, QB-Norm)."""
    middle = above + (size - 1) / 2
    return middle == 0 if k == 1 else middle < k


def _all_missed(size: Integers, relevant: Integers, places: Integers) -> Array:
    """C(e-p, m) / C(e, m) as a product of m factors."""
    out = np.ones(len(size))
    for place in range(int(places.max(initial=0))):
        factor = (size - relevant - place) / np.maximum(size - place, 1)
        out = np.where(place < places, out * np.maximum(factor, 0), out)
    return out


@metric("Rsum", unit="percent", summary="R@1 + R@5 + R@10 of this direction", source="VSE++ (Faghri et al. 2018)")
def recall_sum(blocks: Blocks, k: int, ties: str) -> Array:
    """(Q,) 0..300."""
    return hit(blocks, 1, ties) + hit(blocks, 5, ties) + hit(blocks, 10, ties)


@metric(
    "recall",
    unit="percent",
    cutoff=True,
    multiple=True,
    summary="share of the relevant items that are among the first k",
    source="trec_eval recall.k",
)
def recall(blocks: Blocks, k: int, ties: str) -> Array:
    """(Q,) 0..100."""
    above, size, relevant = blocks.block_above, blocks.block_size, blocks.block_relevant
    places = np.clip(k - above, 0, size)
    if ties == "optimistic":
        found = np.minimum(relevant, places).astype(float)
    elif ties == "pessimistic":
        found = np.clip(k - above - (size - relevant), 0, relevant).astype(float)
    elif ties == "midrank":
        found = np.where(_middle_hit(above, size, k), relevant, 0.0)
    else:
        found = relevant * places / size
    return 100.0 * blocks.sum_blocks(found) / blocks.relevant

"""Metrics that look at every relevant item: average precision and nDCG."""

import numpy as np

from nclbench.metrics import Array, metric
from nclbench.metrics.blocks import Blocks
from nclbench.metrics.ranks import reciprocals


@metric(
    "mAP",
    unit="percent",
    multiple=True,
    summary="mean over queries of the mean precision at each relevant item",
    source="trec_eval map; under ties McSherry & Najork 2008, equation 9",
)
def average_precision(blocks: Blocks, k: int, ties: str) -> Array:
    """(Q,) 0..100. Grades count as relevant or not."""
    if ties == "expected":
        return 100.0 * blocks.sum_blocks(_expected_precisions(blocks)) / blocks.relevant
    place = blocks.order_in_block + 1.0
    before = blocks.relevant_before[blocks.of_pair]
    size, relevant = blocks.block_size[blocks.of_pair], blocks.block_relevant[blocks.of_pair]
    if ties == "optimistic":
        precision = (before + place) / (blocks.above + place)
    elif ties == "pessimistic":
        precision = (before + place) / (blocks.above + size - relevant + place)
    else:
        precision = (before + relevant) / (blocks.above + (size + 1) / 2)
    return 100.0 * np.minimum(blocks.sum_pairs(precision) / blocks.relevant, 1.0)


def _expected_precisions(blocks: Blocks) -> Array:
    """(T,) p/e sum_i [(b + 1 + (i - 1)(p - 1)/(e - 1)) / (g + i)], i = 1..e, with b relevant items before the block."""
    g, e = blocks.block_above, blocks.block_size
    p, b = blocks.block_relevant, blocks.relevant_before
    harmonic = reciprocals(g, e)
    others = (p - 1) / np.maximum(e - 1, 1)
    return p / e * ((b + 1) * harmonic + others * (e - (g + 1) * harmonic))


@metric(
    "nDCG",
    unit="percent",
    cutoff=True,
    multiple=True,
    summary="discounted gain of the first k over the best possible; linear gain, log2(1 + rank)",
    source="Jarvelin & Kekalainen 2002; trec_eval ndcg_cut",
)
def ndcg(blocks: Blocks, k: int, ties: str) -> Array:
    """(Q,) 0..100. The ideal is taken over all relevant items."""
    k = min(k, int((blocks.block_above + blocks.block_size).max()))
    discount = 1 / np.log2(np.arange(2, k + 2))
    total = np.concatenate([[0.0], np.cumsum(discount)])
    size = blocks.block_size[blocks.of_pair]
    if ties == "expected":
        end = np.minimum(blocks.above + size, k)
        share = (total[end] - total[np.minimum(blocks.above, k)]) / size
    elif ties == "midrank":
        position = blocks.above + (size + 1) / 2
        share = np.where(position - 1 < k, 1 / np.log2(1 + position), 0.0)
    else:
        last_first = blocks.block_relevant[blocks.of_pair] - 1 - blocks.order_in_block
        ahead = size - blocks.block_relevant[blocks.of_pair] + last_first
        place = blocks.above + (blocks.order_in_block if ties == "optimistic" else ahead)
        share = np.where(place < k, discount[np.minimum(place, k - 1)], 0.0)
    return 100.0 * blocks.sum_pairs(blocks.gain * share) / _ideal(blocks, discount)


def _ideal(blocks: Blocks, discount: Array) -> Array:
    place = blocks.order_in_query
    share = np.where(place < len(discount), discount[np.minimum(place, len(discount) - 1)], 0.0)
    return blocks.sum_pairs(blocks.gain * share)

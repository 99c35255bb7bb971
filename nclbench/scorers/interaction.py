"""Scores of sets against sets: every word against every frame, the best of them, weighted sums. Never held at once.

With s_lk the product of word l and frame k (unit vectors), of text i and video j:

    S_ij = sum_l a_il p_ijl + sum_k b_jk top_k,   p_ijl = s_lk* + gain_k* s_l,near(k*),   k* = the first best frame of l,

top_k a weighted sum of the best product of frame k with the sentence and with a word. Blocks of a few texts and videos are
multiplied and reduced while they are in cache.

Definition. Vectors lie on a grid of 2^-26. A product of two coordinates is a multiple of 2^-52, and every partial sum of
one s_lk is below 2 in absolute value (Cauchy and Schwarz), so that float64 holds it exactly: s_lk is the same number in any
order of summation, in any block, on any device. What follows are maxima, single operations on numbers, and sums folded in a
fixed order to which zeros at the end add nothing. Hence `fine` and `pairs` agree to the bit, whatever the blocks.

Error of float32 tiles. |s~ - s| <= e = D u / (1 - D u) |w| |f| (Higham 2002, section 3.1), plus 2^(bits - 23) |s| for the
number of the frame, which is written into the last bits so that one maximum gives both. Maxima keep such bounds. p jumps
where another frame is taken for the best. But the true best frame is within 2 e of the best found; where the frames that
near do not all add the same (to within e), products of these frames are made again in float64, and p is exact; where that
would be too many, as in videos that hardly move, those of the whole block are. So
|p~ - p| <= e + gain e + e, and S errs by the weighted sums of these, and of the roundings of the sums themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.plan import SCORE_ROUNDOFF, SCORES, SUMS, Plan
from nclbench.problem import Embeddings
from nclbench.ragged import Ragged
from nclbench.scorers.reduction import NONE, Frames, Words, approximate, packed, reduced

# words and frames of a block: its products (float32) take 1.5 MB, about what a core has of cache of its own
WORDS, FRAMES = 256, 1536
_PAIR_NUMBERS = 1 << 21


class Interaction(ABC):
    """What all scorers of sets share. Either side may be the texts."""

    def reads_words(self, side: Embeddings) -> bool:
        """Whether the words of a text have a say."""
        return side.tokens is not None

    def settled(self, text: Embeddings, video: Embeddings) -> tuple[Self, tuple[str, ...]]:
        """The scorer with everything resolved for these test sides, and notes on what they lack. Raises InputError."""
        return self, ()

    @abstractmethod
    def sets(self, side: Embeddings, is_text: bool, plan: Plan) -> Ragged:
        """A collection as loaded -> its sets, on the plan's device."""

    def lacks(self, side: Embeddings, is_text: bool) -> tuple[str, str] | None:
        """What the scorer needs beside the vectors of these words, or frames, and does not find; and what to add."""
        return None

    def degenerate(self, text: Embeddings, video: Embeddings) -> bool:
        """Whether there are only global vectors to act on, so that nothing but their cosine is left."""
        return not self.reads_words(text) and video.tokens is None

    def tile(self, queries: Ragged, items: Ragged) -> Tensor:
        """(n sets, m sets) -> (n, m) float32 within `error` of `pairs`."""
        return _both_ways(queries, items, SCORES)

    def fine(self, queries: Ragged, items: Ragged) -> Tensor:
        """(n, m) float64, the same bits as `pairs`."""
        return _both_ways(queries, items, SUMS)

    def pairs(self, queries: Ragged, items: Ragged) -> Tensor:
        """(P sets, P sets) -> (P,) float64: the definition."""
        texts, videos = (queries, items) if queries.texts else (items, queries)
        out = torch.empty(len(texts), dtype=SUMS, device=texts.device)
        step = max(1, _PAIR_NUMBERS // max(1, texts[:1].vectors.shape[1] * (texts.longest + videos.longest)))
        for start in range(0, len(texts), step):
            part = slice(start, start + step)
            words, frames = Words(texts[part]), Frames(videos[part])
            s = torch.bmm(words.vectors(SUMS), frames.vectors(SUMS).transpose(1, 2)).masked_fill_(~frames.there[:, None], NONE)
            out[part] = reduced(s[..., None], words, frames, lambda table: table[:, :, None])[:, 0]
        return out

    def error(self, queries: Ragged, items: Ragged, largest: float) -> float:
        """The bound of the head of this file."""
        texts, videos = (queries, items) if queries.texts else (items, queries)
        length = _longest(texts) * _longest(videos)
        growth = texts.vectors.shape[1] * SCORE_ROUNDOFF
        e = 1.01 * growth / (1 - growth) * length
        forth, back, gain = _sums(texts, videos)
        near = e + packed(videos) * length
        jump = 1.03 * near if gain else 0.0
        sums = (texts.longest + videos.longest + 8) * SCORE_ROUNDOFF
        one_way = forth * (near * (1 + gain) + jump + sums * (1 + gain) * length)
        return 1.01 * (one_way + back * (e + sums * length) + 2 * SCORE_ROUNDOFF * largest) + 1e-37

    def largest(self, queries: Ragged, items: Ragged) -> float:
        """A bound on |score|: of the weights, the gains and the lengths."""
        texts, videos = (queries, items) if queries.texts else (items, queries)
        forth, back, gain = _sums(texts, videos)
        return (forth * (1 + gain) + back) * _longest(texts) * _longest(videos)


def _sums(texts: Ragged, videos: Ragged) -> tuple[float, float, float]:
    """The largest sum of word weights, of frame weights times what they count, and the largest gain."""

    def total(sets: Ragged) -> float:
        place, there = sets.places()
        return float((sets.weight[place] * there).sum(1).max())

    gain = 0.0 if videos.gain is None else float(videos.gain.max())
    return total(texts), sum(texts.back) * total(videos), gain


def _longest(sets: Ragged) -> float:
    chunks = (sets.vectors[start : start + 4096].to(SUMS) for start in range(0, len(sets.vectors), 4096))
    return max(float(part.square().sum(1).max().sqrt()) for part in chunks)


def _blocks(sets: Ragged, size: int) -> Iterator[tuple[Tensor, Ragged]]:
    """Sets of about one length together, `size` vectors a block: their positions and themselves."""
    order = sets.count.argsort(stable=True)
    counts = sets.count[order].tolist()
    stop = len(order)
    while stop:
        start = max(0, stop - max(1, size // counts[stop - 1]))
        yield order[start:stop], sets[order[start:stop]]
        stop = start


def _both_ways(queries: Ragged, items: Ragged, kind: torch.dtype) -> Tensor:
    if not queries.texts:
        return _both_ways(items, queries, kind).T
    out = torch.empty((len(queries), len(items)), dtype=kind, device=queries.device)
    texts = [(rows, Words(sets)) for rows, sets in _blocks(queries, WORDS)]
    room = torch.empty(0, dtype=kind, device=queries.device)
    for columns, sets in _blocks(items, FRAMES if kind == SCORES else FRAMES // 2):
        frames = Frames(sets)
        # frame by frame, so that videos lie side by side and maxima over frames and over words run along memory
        right = frames.vectors(kind).transpose(0, 1).flatten(0, 1)
        for rows, words in texts:
            size = words.place.numel() * frames.place.numel()
            if room.numel() < size:
                room = room.new_empty(size)
            found = None
            if kind == SCORES:
                found = approximate(_products(words, frames, right, room), words, frames)
            if found is None:
                exact = right.to(SUMS)
                s = _products(words, frames, exact, room if kind == SUMS else exact.new_empty(size))
                found = reduced(s, words, frames, lambda table: table.T[None])
            out[rows[:, None], columns] = found.to(kind)
    return out


def _products(words: Words, frames: Frames, right: Tensor, room: Tensor) -> Tensor:
    """(n, L, F, m) in the room given. right: (F m, D) vectors of the frames."""
    (n, length), (m, count) = words.place.shape, frames.place.shape
    product = room[: n * length * count * m].view(n * length, count * m)
    host.product(words.vectors(right.dtype).flatten(0, 1), right, out=product)
    s = product.view(n, length, count, m)
    return s if bool(frames.there.all()) else s.masked_fill_(~frames.there.T, NONE)

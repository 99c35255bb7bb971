"""Products of words and frames -> scores: maxima, attention, sums. Exactly in float64, within a bound in float32.

The definition and the proof of the bound stand at the head of `interaction`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nclbench.plan import BITS, COUNTS, SCORE_ROUNDOFF, SCORES, SUMS
from nclbench.ragged import Ragged
from nclbench.scorers.dot import tree_sum

# numbers that are looked at together where products are made again
_NUMBERS = 1 << 19
# the product of a frame that is not there, below all others
NONE = -8.0
# beyond this share of words whose best frame is unsure, all products of a block are quicker made again than some
_UNSURE = 0.1
# a float32 has room for so many bits of a frame's number before that is felt
_BITS = 8


def _chosen(vectors: Tensor, place: Tensor) -> Tensor:
    """(..., D) the vectors at these places; quicker than by an index of several axes."""
    return vectors.index_select(0, place.flatten()).view(*place.shape, vectors.shape[1])


class Words:
    """Some texts: (n, L) places and weights; those beyond the end of a text repeat its last word with weight 0."""

    def __init__(self, sets: Ragged) -> None:
        self.sets = sets
        self.place, there = sets.places()
        self.weight = torch.where(there, sets.weight[self.place], 0.0)

    def vectors(self, kind: torch.dtype) -> Tensor:
        """(n, L, D)."""
        return _chosen(self.sets.vectors, self.place).to(kind)


class Frames:
    """Some videos: (m, F) places, weights, neighbours and gains; those beyond the end of a video count nothing."""

    def __init__(self, sets: Ragged) -> None:
        self.sets = sets
        self.place, self.there = sets.places()
        self.weight = torch.where(self.there, sets.weight[self.place], 0.0)
        self.near = None if sets.near is None else sets.near[self.place]
        self.gain = None if sets.gain is None else torch.where(self.there, sets.gain[self.place], 0.0)

    def vectors(self, kind: torch.dtype) -> Tensor:
        """(m, F, D)."""
        return _chosen(self.sets.vectors, self.place).to(kind)


def _bits(frames: int) -> int:
    return (frames - 1).bit_length()


def packed(videos: Ragged) -> float:
    """What the number of a frame in the last bits changes, in proportion to the product."""
    bits = _bits(videos.longest)
    return 2.0 ** (bits - 23) if videos.gain is not None and bits <= _BITS else 0.0


def reduced(s: Tensor, words: Words, frames: Frames, across: Callable[[Tensor], Tensor]) -> Tensor:
    """(n, L, F, m) float64 products -> (n, m) scores. across: brings (m, F) of the frames to (1 or n, F, m)."""
    best = s.amax(2)
    p = best
    if frames.near is not None and frames.gain is not None:
        number = torch.arange(s.shape[2], device=s.device)[:, None]
        first = torch.where(s == best[:, :, None], number, s.shape[2]).amin(2)
        near, gain = (across(table).expand(len(s), -1, -1).gather(1, first) for table in (frames.near, frames.gain))
        p = best + gain * s.gather(2, near[:, :, None])[:, :, 0]
    forth = tree_sum(words.weight[:, :, None] * p)
    return forth if not any(words.sets.back) else forth + tree_sum(_top(s, words.sets) * across(frames.weight))


def _top(s: Tensor, texts: Ragged) -> Tensor:
    """(n, L, F, m) -> (n, F, m) what each frame gets from its best words."""
    whole, each = texts.back
    if not texts.sentence:
        return each * s.amax(1)
    return whole * s[:, 0] + each * s[:, 1:].amax(1) if each else whole * s[:, 0]


def approximate(s: Tensor, words: Words, frames: Frames) -> Tensor | None:
    """As `reduced` in float32, in the place of s. None where too little is sure: then all of it should be made in float64."""
    texts = words.sets
    out = None
    if any(texts.back):
        out = (_top(s, texts) * frames.weight.T.to(SCORES)).sum(1)
    p = _attended(s, words, frames) if frames.gain is not None else s.amax(2)
    if p is None:
        return None
    forth = torch.bmm(words.weight[:, None].to(SCORES), p)[:, 0]
    return forth if out is None else forth + out


def _attended(s: Tensor, words: Words, frames: Frames) -> Tensor | None:
    """(n, L, F, m) float32 -> (n, L, m): the best frame of each word and what its nearest one adds. s is changed.

    None where for too many words no best frame is sure.
    """
    n, length, count, m = s.shape
    assert frames.near is not None and frames.gain is not None
    bits = _bits(count)
    if bits <= _BITS:
        whole = s.view(BITS)
        whole.bitwise_and_(-(1 << bits)).bitwise_or_(torch.arange(count, dtype=BITS, device=s.device)[:, None])
        best = s.amax(2)
        first = best.view(BITS).bitwise_and((1 << bits) - 1).to(COUNTS)
    else:
        best, first = s.max(2)
    column = torch.arange(m, device=s.device)
    flat, place = s.view(n, length, count * m), first * m + column
    near = (frames.near.T * m + column).flatten()
    gain = frames.gain.T.to(SCORES).flatten()
    p = gain.take(place).mul_(flat.gather(2, near.take(place))).add_(best)
    flat.scatter_(2, place, NONE)
    reach = 2.02 * _product_error(words.sets, frames.sets)
    close = s.amax(2).sub_(best) >= -reach
    text, word, video = (close & (words.weight > 0)[:, :, None]).nonzero(as_tuple=True)
    if len(text) and not _decided(p, s, best, first, (text, word, video), words, frames, reach):
        return None
    return p


def _product_error(texts: Ragged, videos: Ragged) -> float:
    """Bounds |s~ - s| of unit vectors on the grid, whose lengths are within 1e-5 of 1."""
    growth = texts.vectors.shape[1] * SCORE_ROUNDOFF
    return 1.02 * (growth / (1 - growth) + packed(videos))


def _decided(
    p: Tensor, s: Tensor, best: Tensor, first: Tensor, where: tuple[Tensor, Tensor, Tensor], words: Words, frames: Frames,
    reach: float,
) -> bool:  # fmt: skip
    """Corrects p where frames are too close to say which is best, and it matters; false where that is too often.

    s: without the best frames.
    """
    assert frames.near is not None and frames.gain is not None
    text, word, video = where
    near, gain = frames.near[video], frames.gain[video].to(SCORES)
    lines = s[text, word, :, video]
    top = best[text, word, video]
    lines.scatter_(1, first[text, word, video][:, None], top[:, None])
    added = gain * lines.gather(1, near)
    band = lines >= (top - reach)[:, None]
    infinite = torch.inf
    span = torch.where(band, added, -infinite).amax(1) - torch.where(band, added, infinite).amin(1)
    unsure = (span > reach / 2.02).nonzero()[:, 0]
    if len(unsure) > _UNSURE * p.numel():
        return False
    step = max(1, _NUMBERS // words.sets.vectors.shape[1])
    for start in range(0, len(unsure), step):
        few = unsure[start : start + step]
        text_, word_, video_ = text[few], word[few], video[few]
        own = _chosen(words.sets.vectors, words.place[text_, word_]).to(SUMS)
        line, frame = band[few].nonzero(as_tuple=True)
        there = _chosen(frames.sets.vectors, frames.place[video_[line], frame]).to(SUMS)
        value = torch.full(band[few].shape, -infinite, dtype=SUMS, device=s.device)
        value[line, frame] = there.mul_(_chosen(own, line)).sum(1)
        exact = value.amax(1)
        number = torch.arange(value.shape[1], device=s.device)
        chosen = torch.where(value == exact[:, None], number, len(number)).amin(1)
        beside = frames.near[video_, chosen]
        there = _chosen(frames.sets.vectors, frames.place[video_, beside]).to(SUMS)
        p[text_, word_, video_] = (exact + frames.gain[video_, chosen] * (own * there).sum(1)).to(SCORES)
    return True

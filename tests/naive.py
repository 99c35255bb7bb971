"""Formulas straight from their definitions, slow and plain. Nothing here imports nclbench.

Letters: S (Q, M) scores, G (Q, M) gains (0 is irrelevant). Shares are 0..100 as in the tables, ranks start at 1.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]
RANKS = ("MdR", "MnR")
SINGLE = ("MdR", "MnR", "MRR", "mAP", "Rsum")


@cache
def _all_orders(m: int) -> Matrix:
    return np.array(list(permutations(range(m))))


def orders(scores: Matrix) -> Matrix:
    """(V, M) every order of the items that never puts a lower score before a higher one."""
    every = _all_orders(len(scores))
    return every[(np.diff(scores[every], axis=1) <= 0).all(axis=1)]


def of_order(name: str, gains: Matrix) -> Matrix:
    """(V, M) gains in the order shown -> (V,) the metric of each order."""
    base, _, cutoff = name.partition("@")
    k = int(cutoff or 0)
    found = gains > 0
    places = np.arange(1, gains.shape[1] + 1)
    first = found.argmax(axis=1) + 1.0
    if base in RANKS:
        return first
    if base == "MRR":
        return 100 / first
    if base == "R":
        return 100.0 * (first <= k)
    if base == "Rsum":
        return sum(100.0 * (first <= cut) for cut in (1, 5, 10))
    if base == "recall":
        return 100.0 * found[:, :k].sum(axis=1) / found.sum(axis=1)
    if base == "mAP":
        precision = found.cumsum(axis=1) / places
        return 100.0 * (precision * found).sum(axis=1) / found.sum(axis=1)
    if base == "nDCG":
        discount = 1 / np.log2(1 + places)
        ideal = -np.sort(-gains, axis=1)
        return 100.0 * (gains * discount)[:, :k].sum(axis=1) / (ideal * discount)[:, :k].sum(axis=1)
    raise AssertionError(name)


@cache
def _of_row(names: tuple[str, ...], scores: tuple[float, ...], gains: tuple[float, ...]) -> Matrix:
    shown = np.array(gains)[orders(np.array(scores))]
    out = []
    for name in names:
        values = of_order(name, shown)
        worst, best = values.min(), values.max()
        out.append((values.mean(), worst, best) if name in RANKS else (values.mean(), best, worst))
    return np.array(out)


def brute(S: Matrix, G: Matrix, names: Sequence[str]) -> dict[str, Matrix]:
    """name -> (3, Q') the mean, the best and the worst over all tie orders, of the queries with a relevant item."""
    rows = [_of_row(tuple(names), tuple(s), tuple(g)) for s, g in zip(S.tolist(), G.tolist(), strict=True) if any(g)]
    table = np.stack(rows)
    return {name: table[:, number].T for number, name in enumerate(names)}


def average(name: str, values: Iterable[float]) -> float:
    found = sorted(values)
    if name != "MdR":
        return sum(found) / len(found)
    return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2


def places(scores: Sequence[float], item: int) -> list[int]:
    """All places 1, 2, … that items with this item's score take when the row is sorted."""
    ranked = sorted(scores, reverse=True)
    return [place for place, score in enumerate(ranked, 1) if score == scores[item]]


def best_places(scores: Sequence[float], gains: Sequence[float]) -> list[int]:
    """`places` of the best relevant item."""
    relevant = [item for item, gain in enumerate(gains) if gain > 0]
    return places(scores, max(relevant, key=lambda item: scores[item]))


def by_place(name: str, place: float) -> float:
    """A metric of the first hit, if it stands at this place (1 is best)."""
    base, _, cutoff = name.partition("@")
    if base in RANKS:
        return place
    if base == "MRR":
        return 100 / place
    cuts = (1, 5, 10) if base == "Rsum" else (int(cutoff),)
    return sum(100.0 * (place <= cut) for cut in cuts)


def clip4clip(S: Matrix, G: Matrix, name: str) -> float:
    """One long list: every place of every best block is a query of its own."""
    listed = [place for s, g in zip(S.tolist(), G.tolist(), strict=True) if any(g) for place in best_places(s, g)]
    return average(name, [by_place(name, place) for place in listed])


def midrank(S: Matrix, G: Matrix, name: str) -> float:
    """Collaborative Experts: the mean place of the block, counted from 0, must be 0 for R@1 and below k for R@k."""
    listed = [np.mean(best_places(s, g)) for s, g in zip(S.tolist(), G.tolist(), strict=True) if any(g)]
    cuts = {"R": [int(name.partition("@")[2] or 0)], "Rsum": [1, 5, 10]}.get(name.partition("@")[0])
    if cuts is None:
        return average(name, [by_place(name, float(place)) for place in listed])
    return average(
        name, [sum(100.0 * (place == 1 if cut == 1 else place - 1 < cut) for cut in cuts) for place in listed]
    )


def captions_of_videos(S: Matrix, owner: Sequence[int]) -> tuple[Matrix, Matrix]:
    """v2t among all captions. S (captions, videos) -> scores and gains of (videos with a caption, captions)."""
    videos = sorted(set(owner))
    gains = [[1.0 if who == video else 0.0 for who in owner] for video in videos]
    return np.array([[S[c, v] for c in range(len(owner))] for v in videos]), np.array(gains)


def videos_of_videos(S: Matrix, owner: Sequence[int]) -> tuple[Matrix, Matrix]:
    """v2t among videos: each video is scored by its best caption. -> scores and gains of (videos, videos)."""
    videos = sorted(set(owner))
    best = [[max(S[c, v] for c in range(len(owner)) if owner[c] == w) for w in videos] for v in videos]
    return np.array(best), np.eye(len(videos))


def exact_resamples(groups: Sequence[Sequence[float]], median: bool) -> Matrix:
    """The statistic of every one of the n^n equally likely resamples of n groups (n <= 5)."""
    out = []
    for drawn in product(groups, repeat=len(groups)):
        values = [value for group in drawn for value in group]
        out.append(average("MdR" if median else "mean", values))
    return np.sort(out)


def resamples(groups: Sequence[Sequence[float]], count: int, draw: np.random.Generator, median: bool = False) -> Matrix:
    """`count` bootstrap resamples of whole groups, one after the other."""
    out = []
    for _ in range(count):
        values = np.concatenate([groups[number] for number in draw.integers(len(groups), size=len(groups))])
        out.append(np.median(values) if median else values.mean())
    return np.array(out)

"""Counting and choosing in one read of a tile, compiled by numba where it is installed (`pip install "nclbench[fast]"`).

torch makes several passes of what these do in one. What they give decides nothing by itself: pairs within the error of a
tile are scored by the definition either way, so that ranks are the same with and without.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# so many scores have to be passed over before importing numba and compiling, about a second, pays
_WORTH = 1 << 28
# columns that are looked at together: as many as make up a few registers
_CHUNK = 128


def worthwhile(scores: int) -> bool:
    """Whether to use what is compiled for so many scores: numba is there, and loaded already or soon worth it."""
    return (loaded() or scores >= _WORTH) and _numba() is not None


def load() -> str | None:
    """Use what is compiled from now on, however small the problem; numba's version, None where it is not there."""
    numba = _numba()
    return None if numba is None else str(numba.__version__)


def loaded() -> bool:
    return "numba" in sys.modules


def count(
    tile: Array, corner: tuple[int, int], query: Array, item: Array, over: Array, under: Array, sure: Array
) -> npt.NDArray[np.int64]:
    """Adds to `sure` (P,) how many other scores of its row of the tile (n, m) are above `over`, for each pair.

    Gives the pairs for which more than these reach `under`. corner: the first row and column. query (P,), item (P,): the
    pair itself, which is left out. over, under: (P,) of the tile's dtype. Integers are int64.
    """
    near = np.zeros(len(query), dtype=np.int64)
    if not len(query) or not tile.size:
        return near
    if len(query) > tile.shape[0]:
        tile = np.ascontiguousarray(tile)  # several pairs a row, each of which reads the whole of it
    flat, step, by_row = _flat(tile)
    kernel = _loops()["count rows" if by_row else "count columns"]
    kernel(flat, step, tile.shape[1], query - corner[0], item - corner[1], over, under, sure, near)
    return np.flatnonzero(near)


def products(left: Array, right: Array) -> npt.NDArray[np.float64]:
    """(P, D), (P, D) float32 -> (P,) float64 sums of products, in the order of `nclbench.scorers.dot.tree_sum`."""
    out = np.empty(len(left))
    _loops()["products"](left, right, out)
    return out


def lead(tile: Array, offset: int, best: Array, where: Array) -> None:
    """Puts the tile's largest values of each row among the best so far.

    best: (n, K) float64 falling, where: (n, K) int64 their columns; both contiguous and changed. offset: the first column.
    """
    if tile.size:
        flat, step, by_row = _flat(tile)
        kernel = _loops()["lead rows" if by_row else "lead columns"]
        bars = best[:, -1].astype(tile.dtype)
        kernel(flat, step, *(tile.shape if by_row else tile.shape[::-1]), offset, best, where, bars)


def _flat(tile: Array) -> tuple[Array, int, bool]:
    """The memory under a tile in one dimension, from one line to the next, and whether lines are rows."""
    by_row = tile.strides[1] == tile.itemsize
    lines = tile if by_row else tile.T
    if lines.strides[1] != lines.itemsize:
        lines = np.ascontiguousarray(lines)
    step = lines.strides[0] // lines.itemsize
    length = (lines.shape[0] - 1) * step + lines.shape[1]
    return np.lib.stride_tricks.as_strided(lines, (length,), (lines.itemsize,)), step, by_row


@cache
def _numba() -> ModuleType | None:
    try:
        return import_module("numba")  # slow
    except ImportError:  # not there, or not for this numpy
        return None


@cache
def _loops() -> dict[str, Any]:
    numba = _numba()
    assert numba is not None

    def kept(loop: Callable[..., None]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True)(loop)
        except RuntimeError:  # no folder to keep compiled code in may be written to
            return numba.njit(nogil=True)(loop)

    return {
        "count rows": kept(_count_rows),
        "count columns": kept(_count_columns),
        "products": kept(_products),
        "lead rows": kept(_lead_rows),
        "lead columns": kept(_lead_columns),
    }


def _count_rows(
    flat: Array, step: int, width: int, row: Array, item: Array, over: Array, under: Array, sure: Array, near: Array
) -> None:
    for pair in range(len(row)):
        line = flat[row[pair] * step : row[pair] * step + width]
        high, low = over[pair], under[pair]
        above, reach = np.int32(0), np.int32(0)
        for column in range(width):
            above += line[column] > high
            reach += line[column] >= low
        if 0 <= item[pair] < width:
            above -= line[item[pair]] > high
            reach -= line[item[pair]] >= low
        sure[pair] += above
        near[pair] = reach - above


def _count_columns(
    flat: Array, step: int, height: int, row: Array, item: Array, over: Array, under: Array, sure: Array, near: Array
) -> None:
    count = len(row)
    above, reach = np.zeros(count, np.int32), np.zeros(count, np.int32)
    dense = True
    for pair in range(1, count):
        dense = dense and row[pair] == row[pair - 1] + 1
    for line in range(height):
        if dense:
            part = flat[line * step + row[0] : line * step + row[0] + count]
            for pair in range(count):
                above[pair] += part[pair] > over[pair]
                reach[pair] += part[pair] >= under[pair]
        else:
            for pair in range(count):
                value = flat[line * step + row[pair]]
                above[pair] += value > over[pair]
                reach[pair] += value >= under[pair]
    for pair in range(count):
        if 0 <= item[pair] < height:
            own = flat[item[pair] * step + row[pair]]
            above[pair] -= own > over[pair]
            reach[pair] -= own >= under[pair]
        sure[pair] += above[pair]
        near[pair] = reach[pair] - above[pair]


def _products(left: Array, right: Array, out: Array) -> None:
    wide = left.shape[1]
    products = np.empty(wide)
    for pair in range(len(left)):
        one, other = left[pair], right[pair]
        for place in range(wide):
            products[place] = np.float64(one[place]) * np.float64(other[place])
        width = wide
        while width > 1:
            half = 1
            while 2 * half < width:
                half *= 2
            lower, upper = products[:half], products[half:width]
            for place in range(len(upper)):
                lower[place] += upper[place]
            width = half
        out[pair] = products[0]


def _lead_rows(
    flat: Array, step: int, height: int, width: int, offset: int, best: Array, where: Array, bars: Array
) -> None:
    last = best.shape[1] - 1
    for row in range(height):
        line = flat[row * step : row * step + width]
        bar = bars[row]
        for start in range(0, width, _CHUNK):
            part = line[start : start + _CHUNK]
            better = np.int32(0)
            for column in range(len(part)):
                better += part[column] > bar
            if better == 0:
                continue
            for column in range(len(part)):
                value = part[column]
                if value > bar:
                    place = last
                    while place > 0 and best[row, place - 1] < value:
                        best[row, place], where[row, place] = best[row, place - 1], where[row, place - 1]
                        place -= 1
                    best[row, place], where[row, place] = value, start + column + offset
                    bars[row] = best[row, last]
                    bar = bars[row]


def _lead_columns(
    flat: Array, step: int, height: int, width: int, offset: int, best: Array, where: Array, bars: Array
) -> None:
    last = best.shape[1] - 1
    for line in range(height):
        for start in range(0, width, _CHUNK):
            part = flat[line * step + start : line * step + min(start + _CHUNK, width)]
            bar = bars[start : start + _CHUNK]
            better = np.int32(0)
            for near in range(len(part)):
                better += part[near] > bar[near]
            if better == 0:
                continue
            for near in range(len(part)):
                value = part[near]
                if value > bar[near]:
                    row, place = start + near, last
                    while place > 0 and best[row, place - 1] < value:
                        best[row, place], where[row, place] = best[row, place - 1], where[row, place - 1]
                        place -= 1
                    best[row, place], where[row, place] = value, line + offset
                    bar[near] = best[row, last]

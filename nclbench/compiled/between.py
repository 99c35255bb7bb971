"""Which scores of a few rows of a tile lie between two bars: a second read, of what the first left open."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop
from nclbench.compiled.lines import flat

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
# scores that are looked at together, since few chunks hold any
_CHUNK = 128
# for the first time room is made for one in so many scores, or for so many of each row
_RARE, _EACH = 1 << 9, 4
# where lines of memory go across the rows, whole lines are read if so many of their scores hold one that is asked for
_DENSE = 32


def between(tile: Array, rows: Integers, over: Array, under: Array, added: Array | None) -> tuple[Integers, Integers]:
    """Scores of these rows of a tile (n, m) that reach `under` and are not above `over`: their places among rows, their columns.

    over, under: one for each of the rows, of the tile's dtype. added: (m,) to the scores of each row, None for nothing.
    """
    memory, step, by_row = flat(tile)
    room = len(rows) * max(_EACH, tile.shape[1] // _RARE)
    if by_row:
        kernel, asked = loop(_along), (rows, over, under)
    elif len(rows) and (rows[1:] > rows[:-1]).all() and len(rows) * _DENSE > rows[-1] - rows[0]:
        memory, kernel, asked = memory[rows[0] :], loop(_across_all), _spread(rows - rows[0], over, under)
    else:
        kernel, asked = loop(_across), (rows, over, under)
    while True:
        place, column = np.empty(room, np.int64), np.empty(room, np.int64)
        found = kernel(memory, step, tile.shape[1], *asked, added, place, column)
        if found <= room:
            return place[:found], column[:found]
        room = found


def _spread(rows: Integers, over: Array, under: Array) -> tuple[Integers, Array, Array]:
    """Bars for every row up to the last, which nothing passes where none is asked for; and the places among those that are."""
    place, high, low = np.zeros(rows[-1] + 1, np.int64), np.empty(rows[-1] + 1, over.dtype), np.empty(rows[-1] + 1, over.dtype)
    high[:], low[:] = -np.inf, np.inf
    place[rows], high[rows], low[rows] = np.arange(len(rows)), over, under
    return place, high, low


def _along(
    flat: Array, step: int, width: int, rows: Array, over: Array, under: Array, added: Array | None, place: Array, column: Array
) -> int:
    found, none, one = 0, np.int32(0), np.int32(1)
    for number in range(len(rows)):
        line, high, low = flat[rows[number] * step : rows[number] * step + width], over[number], under[number]
        for start in range(0, width, _CHUNK):
            part, some = line[start : start + _CHUNK], none
            if added is not None:
                plus = added[start : start + _CHUNK]
            for near in range(len(part)):
                value = part[near] if added is None else part[near] + plus[near]
                some = np.int32(some + (none if value > high else (one if value >= low else none)))
            if some == 0:
                continue
            for near in range(len(part)):
                value = part[near] if added is None else part[near] + plus[near]
                if value >= low and not value > high:
                    if found < len(place):
                        place[found], column[found] = number, start + near
                    found += 1
    return found


def _across_all(
    flat: Array, step: int, height: int, each: Array, over: Array, under: Array, added: Array | None, place: Array, column: Array
) -> int:
    """Bars for each score of a line."""
    found, none, one = 0, np.int32(0), np.int32(1)
    for line in range(height):
        for start in range(0, len(over), _CHUNK):
            highs, lows, some = over[start : start + _CHUNK], under[start : start + _CHUNK], none
            part = flat[line * step + start : line * step + start + len(highs)]
            for near in range(len(highs)):
                value = part[near] if added is None else part[near] + added[line]
                some = np.int32(some + (none if value > highs[near] else (one if value >= lows[near] else none)))
            if some == 0:
                continue
            for near in range(len(highs)):
                value = part[near] if added is None else part[near] + added[line]
                if value >= lows[near] and not value > highs[near]:
                    if found < len(place):
                        place[found], column[found] = each[start + near], line
                    found += 1
    return found


def _across(
    flat: Array, step: int, height: int, rows: Array, over: Array, under: Array, added: Array | None, place: Array, column: Array
) -> int:
    found = 0
    for line in range(height):
        for number in range(len(rows)):
            value = flat[line * step + rows[number]]
            if added is not None:
                value = value + added[line]
            if value >= under[number] and not value > over[number]:
                if found < len(place):
                    place[found], column[found] = number, line
                found += 1
    return found

"""Which scores of a few rows of a tile lie between two bars: one read of these rows alone."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop
from nclbench.compiled.lines import flat

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
# scores that are looked at together, since few chunks hold any
_CHUNK = 128
# for the first time room is made for so many scores of each row
_EACH = 4


def between(tile: Array, rows: Integers, over: Array, under: Array, added: Array | None) -> tuple[Integers, Integers]:
    """Scores of these rows of a tile (n, m) that reach `under` and are not above `over`: their places among rows, their columns.

    over, under: one for each of the rows, of the tile's dtype. added: (m,) to the scores of each row, None for nothing.
    """
    memory, step, by_row = flat(tile)
    kernel = loop(_of_rows if by_row else _of_columns)
    room = _EACH * len(rows)
    while True:
        place, column = np.empty(room, np.int64), np.empty(room, np.int64)
        found = kernel(memory, step, tile.shape[1], rows, over, under, added, place, column)
        if found <= room:
            return place[:found], column[:found]
        room = found


def _of_rows(
    flat: Array, step: int, width: int, rows: Array, over: Array, under: Array, added: Array | None, place: Array, column: Array
) -> int:
    found = 0
    for number in range(len(rows)):
        line, high, low = flat[rows[number] * step : rows[number] * step + width], over[number], under[number]
        for start in range(0, width, _CHUNK):
            part, some = line[start : start + _CHUNK], np.int32(0)
            for near in range(len(part)):
                value = part[near] if added is None else part[near] + added[start + near]
                some += (value >= low) & (value <= high)
            if some == 0:
                continue
            for near in range(len(part)):
                value = part[near] if added is None else part[near] + added[start + near]
                if low <= value <= high:
                    if found < len(place):
                        place[found], column[found] = number, start + near
                    found += 1
    return found


def _of_columns(
    flat: Array, step: int, height: int, rows: Array, over: Array, under: Array, added: Array | None, place: Array, column: Array
) -> int:
    found = 0
    for line in range(height):
        for number in range(len(rows)):
            value = flat[line * step + rows[number]]
            if added is not None:
                value = value + added[line]
            if under[number] <= value <= over[number]:
                if found < len(place):
                    place[found], column[found] = number, line
                found += 1
    return found

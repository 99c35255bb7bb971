"""The largest values of each row of a tile, among the best so far."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop
from nclbench.compiled.lines import flat

Array = npt.NDArray[Any]
# columns that are looked at together: as many as make up a few registers
_CHUNK = 128


def lead(tile: Array, offset: int, best: Array, where: Array) -> None:
    """Puts the tile's largest values of each row among the best so far.

    best: (n, K) falling, where: (n, K) integers, their columns; both contiguous and changed. offset: the first column.
    """
    if tile.size:
        memory, step, by_row = flat(tile)
        kernel = loop(_lead_rows if by_row else _lead_columns)
        bars = best[:, -1].astype(tile.dtype)
        kernel(memory, step, *(tile.shape if by_row else tile.shape[::-1]), offset, best, where, bars)


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

"""How many scores of a tile's row lie above that of each pair."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop
from nclbench.compiled.lines import flat

Array = npt.NDArray[Any]


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
    memory, step, by_row = flat(tile)
    kernel = loop(_count_rows if by_row else _count_columns)
    kernel(memory, step, tile.shape[1], query - corner[0], item - corner[1], over, under, sure, near)
    return np.flatnonzero(near)


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

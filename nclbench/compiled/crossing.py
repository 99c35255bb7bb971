"""How many scores of each row of a tile, and of each column, lie above one bar of its own: both in one read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop
from nclbench.compiled.lines import flat

Array = npt.NDArray[Any]
# rows at a time, for which the columns' bars and counts are loaded once
_ROWS = 4
# lines at most: two counts share a number, of those above and of those that reach the lower bar
_HALF = (1 << 15) - 1
# columns whose bars and counts stay in the nearest cache
_CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Bars:
    """Of a tile's n rows, or columns: over, under (n,) of the tile's dtype, and own (n,) the score of each that is left out, by
    its place in the line, which may lie outside of it. sure (n,) int64 is added to. added: (m,) to the scores of a line.
    """

    over: Array
    under: Array
    own: Array
    sure: Array
    added: Array | None = None


def crossing(tile: Array, rows: Bars, columns: Bars) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Adds to `sure` how many other scores of each row, and of each column, of a tile (n, m) are above `over`.

    Gives the rows, and the columns, of which more than these reach `under`.
    """
    memory, step, by_row = flat(tile)
    first, second = (rows, columns) if by_row else (columns, rows)
    near = np.zeros(len(first.over), np.int64), np.zeros(len(second.over), np.int64)
    for start in range(0, len(first.over), _HALF):
        part = slice(start, min(start + _HALF, len(first.over)))
        added = None if second.added is None else second.added[part]
        mine = first.over[part], first.under[part], first.own[part], first.sure[part], first.added, near[0][part]
        others = second.over, second.under, second.own - start, second.sure, added, near[1]
        loop(_cross)(memory[start * step :], step, *mine, *others)
    of_rows, of_columns = (np.flatnonzero(each) for each in (near if by_row else near[::-1]))
    return of_rows, of_columns


def _cross(
    flat: Array,
    step: int,
    over: Array,
    under: Array,
    own: Array,
    sure: Array,
    added: Array | None,
    near: Array,
    over_others: Array,
    under_others: Array,
    own_others: Array,
    sure_others: Array,
    added_others: Array | None,
    near_others: Array,
) -> None:
    """Lines of the memory, and `others` across them. Two counts share a number, see _HALF."""
    none, reach, both, half = np.int32(0), np.int32(1 << 16), np.int32((1 << 16) + 1), (1 << 16) - 1
    packed, fours = np.zeros(len(over_others), np.int32), len(over) - len(over) % _ROWS
    for start in range(0, len(over_others), _CHUNK):
        highs, lows = over_others[start : start + _CHUNK], under_others[start : start + _CHUNK]
        counts, width = packed[start : start + _CHUNK], len(highs)
        if added is not None:
            plus = added[start : start + _CHUNK]
        for row in range(0, fours, _ROWS):
            at = row * step + start
            line_a, line_b = flat[at : at + width], flat[at + step : at + step + width]
            line_c, line_d = flat[at + 2 * step : at + 2 * step + width], flat[at + 3 * step : at + 3 * step + width]
            over_a, over_b, over_c, over_d = over[row], over[row + 1], over[row + 2], over[row + 3]
            under_a, under_b, under_c, under_d = under[row], under[row + 1], under[row + 2], under[row + 3]
            if added_others is not None:
                plus_a, plus_b = added_others[row], added_others[row + 1]
                plus_c, plus_d = added_others[row + 2], added_others[row + 3]
            of_a, of_b, of_c, of_d = none, none, none, none
            for column in range(width):
                a, b, c, d = line_a[column], line_b[column], line_c[column], line_d[column]
                p, q, r, s = a, b, c, d
                if added_others is not None:
                    p, q, r, s = a + plus_a, b + plus_b, c + plus_c, d + plus_d
                if added is not None:
                    a, b, c, d = a + plus[column], b + plus[column], c + plus[column], d + plus[column]
                # one choice of three numbers: sums of two comparisons are not done in registers of many
                of_a = np.int32(of_a + (both if a > over_a else (reach if a >= under_a else none)))
                of_b = np.int32(of_b + (both if b > over_b else (reach if b >= under_b else none)))
                of_c = np.int32(of_c + (both if c > over_c else (reach if c >= under_c else none)))
                of_d = np.int32(of_d + (both if d > over_d else (reach if d >= under_d else none)))
                high, low = highs[column], lows[column]
                of_p = both if p > high else (reach if p >= low else none)
                of_q = both if q > high else (reach if q >= low else none)
                of_r = both if r > high else (reach if r >= low else none)
                of_s = both if s > high else (reach if s >= low else none)
                counts[column] = np.int32(counts[column] + np.int32(of_p + of_q + of_r + of_s))
            for line, found in ((row, of_a), (row + 1, of_b), (row + 2, of_c), (row + 3, of_d)):
                sure[line] += found & half
                near[line] += (found >> 16) - (found & half)
        for row in range(fours, len(over)):
            found = none
            for column in range(width):
                a = flat[row * step + start + column]
                p = a if added_others is None else a + added_others[row]
                a = a if added is None else a + plus[column]
                found = np.int32(found + (both if a > over[row] else (reach if a >= under[row] else none)))
                of_p = both if p > highs[column] else (reach if p >= lows[column] else none)
                counts[column] = np.int32(counts[column] + of_p)
            sure[row] += found & half
            near[row] += (found >> 16) - (found & half)
    for column in range(len(packed)):
        sure_others[column] += packed[column] & half
        near_others[column] += (packed[column] >> 16) - (packed[column] & half)
        if 0 <= own_others[column] < len(over):
            row = own_others[column]
            p = flat[row * step + column] if added_others is None else flat[row * step + column] + added_others[row]
            above = p > over_others[column]
            sure_others[column] -= above
            near_others[column] -= (p >= under_others[column]) - np.int64(above)
    for row in range(len(over)):
        if 0 <= own[row] < len(over_others):
            a = flat[row * step + own[row]] if added is None else flat[row * step + own[row]] + added[own[row]]
            above = a > over[row]
            sure[row] -= above
            near[row] -= (a >= under[row]) - np.int64(above)

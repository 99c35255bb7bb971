"""The memory under a tile, line by line, for loops that read it in its order."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def flat(tile: Array) -> tuple[Array, int, bool]:
    """The memory under a tile in one dimension, from one line to the next, and whether lines are rows."""
    by_row = tile.strides[1] == tile.itemsize
    lines = tile if by_row else tile.T
    if lines.strides[1] != lines.itemsize:
        lines = np.ascontiguousarray(lines)
    step = lines.strides[0] // lines.itemsize
    length = (lines.shape[0] - 1) * step + lines.shape[1]
    return np.lib.stride_tricks.as_strided(lines, (length,), (lines.itemsize,)), step, by_row

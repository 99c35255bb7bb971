"""Scores of single pairs, and vectors of unit length: in float64, in the order of additions that defines them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop

Array = npt.NDArray[Any]


def products(left: Array, right: Array, row: Array, other: Array) -> npt.NDArray[np.float64]:
    """(N, D), (M, D) float32; (P,), (P,) int64 -> (P,) sums of products, in the order of `nclbench.scorers.dot.tree_sum`."""
    out = np.empty(len(row))
    loop(_products)(left, right, row, other, out)
    return out


def units(vectors: Array) -> npt.NDArray[np.float32]:
    """(N, D) float32 or float64 -> (N, D), scaled by the largest entry, then by the root of the sum of squares, in that order."""
    out = np.empty(vectors.shape, dtype=np.float32)
    loop(_units)(vectors, out)
    return out


def _products(left: Array, right: Array, row: Array, other: Array, out: Array) -> None:
    wide = left.shape[1]
    products = np.empty(wide)
    for pair in range(len(row)):
        one, another = left[row[pair]], right[other[pair]]
        for place in range(wide):
            products[place] = np.float64(one[place]) * np.float64(another[place])
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


def _units(vectors: Array, out: Array) -> None:
    wide = vectors.shape[1]
    scaled, squares = np.empty(wide), np.empty(wide)
    for row in range(len(vectors)):
        one, to = vectors[row], out[row]
        largest = np.float64(0)
        for place in range(wide):
            largest = max(largest, abs(np.float64(one[place])))
        for place in range(wide):
            scaled[place] = np.float64(one[place]) / largest
            squares[place] = scaled[place] * scaled[place]
        width = wide
        while width > 1:
            half = 1
            while 2 * half < width:
                half *= 2
            lower, upper = squares[:half], squares[half:width]
            for place in range(len(upper)):
                lower[place] += upper[place]
            width = half
        length = np.sqrt(squares[0])
        for place in range(wide):
            to[place] = np.float32(scaled[place] / length)

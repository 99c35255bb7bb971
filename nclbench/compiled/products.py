"""Scores of single pairs."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.compiled import loop

Array = npt.NDArray[Any]


def products(left: Array, right: Array) -> npt.NDArray[np.float64]:
    """(P, D), (P, D) float32 -> (P,) float64 sums of products, in the order of `nclbench.scorers.dot.tree_sum`."""
    out = np.empty(len(left))
    loop(_products)(left, right, out)
    return out


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

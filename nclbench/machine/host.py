"""What numpy does quicker than torch where memory is the processor's own.

Its OpenBLAS multiplies matrices quicker (by a sixth; twice as fast on AMD processors with AVX-512, which torch's library does not
use there), and a matrix and a vector as fast as memory gives the matrix; its exponentials take half the time; and it asks for
large pages, without which much memory that is written for the first time costs four times as much. On another device torch does
all of it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

# what is smaller is memory used before, in which no page is new
LARGE = 32 << 20


def quiet() -> "np.errstate":
    """What overflows or vanishes says nothing, as in torch."""
    return np.errstate(all="ignore")


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """(n, D), (m, D) of one dtype -> (n, m), left right^T. out: where to, of the same dtype.

    Last bits depend on the shape, on how `out` lies in memory, and on whether left and right are the same memory.
    """
    if left.device.type != "cpu":
        return torch.mm(left, right.T, out=out)
    assert out is None or out.dtype == left.dtype == right.dtype
    with quiet():
        if out is None:
            return torch.from_numpy(left.numpy() @ right.numpy().T)
        np.matmul(left.numpy(), right.numpy().T, out=out.numpy())
    return out


def mv(matrix: Tensor, vector: Tensor) -> Tensor:
    """(n, m), (m,) of one dtype -> (n,). Last bits depend on the shape, and on whether rows or columns lie together in memory."""
    if matrix.device.type != "cpu":
        return torch.mv(matrix, vector)
    with quiet():
        return torch.from_numpy(matrix.numpy() @ vector.numpy())


def native(values: Tensor) -> Any:
    """The same memory as what multiplies it: an array where memory is the processor's own. Both know +=, /, @ and slices."""
    return values.numpy() if values.device.type == "cpu" else values


def raise_(values: Any, least: float) -> Any:
    """A native array or tensor, in place: at least so much."""
    if isinstance(values, Tensor):
        return values.clamp_(min=least)
    return np.maximum(values, values.dtype.type(least), out=values)


def exp_(values: Tensor) -> Tensor:
    """exp of each, in place."""
    if values.device.type != "cpu":
        return values.exp_()
    with quiet():
        np.exp(values.numpy(), out=values.numpy())
    return values


def room(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Memory for values of the dtype and on the device of `like`, with anything in it."""
    if like.device.type != "cpu" or shape[0] * shape[1] * like.itemsize <= LARGE:
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, dtype=like.numpy().dtype))

"""What numpy does quicker than torch where memory is the processor's own.

Its OpenBLAS multiplies matrices quicker (by a sixth; twice as fast on AMD processors with AVX-512, which torch's library does not
use there), and a matrix and a vector as fast as memory gives the matrix; its exponentials take half the time; and it asks for
large pages, without which much memory that is written for the first time costs four times as much. On another device torch does
all of it.
"""

import numpy as np
import torch
from torch import Tensor

# what is smaller is memory used before, in which no page is new
LARGE = 32 << 20


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """(n, D), (m, D) of one dtype -> (n, m), left right^T. out: where to. Last bits depend on the shape."""
    if left.device.type != "cpu":
        return torch.mm(left, right.T, out=out)
    with np.errstate(all="ignore"):
        if out is None:
            return torch.from_numpy(left.numpy() @ right.numpy().T)
        np.matmul(left.numpy(), right.numpy().T, out=out.numpy())
    return out


def mv(matrix: Tensor, vector: Tensor) -> Tensor:
    """(n, m), (m,) of one dtype -> (n,). Last bits depend on the shape, and on whether rows or columns lie together in memory."""
    if matrix.device.type != "cpu":
        return torch.mv(matrix, vector)
    with np.errstate(all="ignore"):
        return torch.from_numpy(matrix.numpy() @ vector.numpy())


def exp_(values: Tensor) -> Tensor:
    """exp of each, in place."""
    if values.device.type != "cpu":
        return values.exp_()
    with np.errstate(all="ignore"):
        np.exp(values.numpy(), out=values.numpy())
    return values


def room(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Memory for values of the dtype and on the device of `like`, with anything in it."""
    if like.device.type != "cpu" or shape[0] * shape[1] * like.itemsize <= LARGE:
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, dtype=like.numpy().dtype))

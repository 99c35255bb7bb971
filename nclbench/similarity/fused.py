"""What is learnt of products of float16 operands without keeping them: sums of exponentials, and what lies above a bar.

On a device by Triton (`nclbench.machine.epilogues`), which must be asked for (`Plan.fused`): it has not been measured yet; else,
and as what it is compared with, block by block in torch.
"""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from nclbench.plan import BITS, COUNTS, SCORES, SUMS
from nclbench.similarity.halves import Halves, product

# columns that one program goes through: float32 sums are of so many addends, and sums of these float64
_SHARE = 8192
# a block's sums are spread over so many warps, so that they stay in registers
_WARPS = 8
# places that 32 bits can tell apart
_PLACES = (1 << 31) - 1
# entries of a block of the plain form
_PLAIN = 1 << 22
# places for what lies between the bars, a row at first
_ROOM = 256


@cache
def _kernels() -> Any:
    return import_module("nclbench.machine.epilogues")


def interpreted() -> bool:
    """Whether Triton was told to run its kernels on the processor, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def compiled(device: str) -> bool:
    """Whether Triton's kernels can be used for what lies on a device."""
    return find_spec("triton") is not None and (device.startswith("cuda") or interpreted())


def exp_sums(operands: Halves, scale: float, down: Tensor, across: Tensor) -> Tensor:
    """(n,) float64 sums over j of exp(scale x_ij + down_i + across_j) of the products x (n, m). down: (n,), across: (m,).

    Exponents are float32 and should be at most about 0, see `nclbench.sinkhorn.kernel`.
    """
    n, m = len(operands.left), len(operands.right)
    down, across = down.to(SCORES), across.to(SCORES)
    if not compiled(operands.left.device.type):
        return _plain_exp_sums(operands, scale, down, across)
    blocks, shares = _blocks("exponentials"), -(-m // _SHARE)
    out = torch.empty((shares, n), dtype=SCORES, device=down.device)
    _kernels().exponentials[-(-n // blocks[0]), shares](
        operands.left, operands.right, down, across, out, n, m, _SHARE, operands.scale * scale, operands.left.shape[1], *blocks,
        num_warps=_WARPS,
    )  # fmt: skip
    return out.sum(0, dtype=SUMS)


def _plain_exp_sums(operands: Halves, scale: float, down: Tensor, across: Tensor) -> Tensor:
    out = torch.zeros(len(down), dtype=SUMS, device=down.device)
    rows = max(1, _PLAIN // _SHARE)
    for left in range(0, len(across), _SHARE):
        columns = slice(left, left + _SHARE)
        for top in range(0, len(down), rows):
            part = slice(top, top + rows)
            x = product(operands.left[part], operands.right[columns]).mul_(operands.scale * scale)
            out[part] += x.add_(down[part, None]).add_(across[columns]).exp_().sum(1)
    return out


def above(operands: Halves, across: Tensor, over: Tensor, under: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) how many scores + across (m,) of each row are above over (n,); the rows and columns of those from under (n,) to that.

    All are float32, in units of the scores. Places are in rising order.
    """
    if not compiled(operands.left.device.type):
        return _plain_above(operands, across, over, under)
    n, m = len(operands.left), len(operands.right)
    step = max(1, _PLACES // m)
    found = [_above(operands, across, over, under, slice(top, min(top + step, n))) for top in range(0, n, step)]
    sure, rows, columns = zip(*found, strict=True)
    return torch.cat(sure), torch.cat(rows), torch.cat(columns)


def _above(
    operands: Halves, across: Tensor, over: Tensor, under: Tensor, part: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """As `above`, for some of the rows."""
    left, right, blocks = operands.left[part], operands.right, _blocks("above")
    (n, width), m, room = left.shape, len(right), _ROOM * len(left)
    while True:
        sure, found = (torch.zeros(length, dtype=BITS, device=over.device) for length in (n, 1))
        hits = torch.empty(room, dtype=BITS, device=over.device)
        _kernels().above[-(-n // blocks[0]), -(-m // _SHARE)](
            left, right, across, over[part], under[part], sure, found, hits, room, n, m, _SHARE, operands.scale, width,
            *blocks, num_warps=_WARPS,
        )  # fmt: skip
        if int(found) <= room:
            break
        room = int(found)
    places = hits[: int(found)].to(COUNTS).sort().values
    return sure.to(COUNTS), places // m + part.start, places % m


def _plain_above(
    operands: Halves, across: Tensor, over: Tensor, under: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    sure, rows, columns = [], [], []
    step = max(1, _PLAIN // len(operands.right))
    for top in range(0, len(over), step):
        part = slice(top, top + step)
        x = product(operands.left[part], operands.right).mul_(operands.scale).add_(across)
        more = x > over[part, None]
        row, column = ((x >= under[part, None]) & ~more).nonzero(as_tuple=True)
        sure.append(more.sum(1))
        rows.append(row + top)
        columns.append(column)
    return torch.cat(sure), torch.cat(rows), torch.cat(columns)


def _blocks(name: str) -> tuple[int, int, int]:
    kernels = _kernels()
    found: tuple[int, int, int] = kernels.SMALL if interpreted() else kernels.BLOCKS[name]
    return found

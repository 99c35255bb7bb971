"""Sums kept as two numbers, so that they come out the same in whatever order threads and processes add up.

The error of each addition is kept beside the sum (Knuth's two-sum): only orders that differ in the 106th bit differ.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Wide = tuple[Tensor, Tensor]


def zero(like: Tensor) -> Wide:
    return torch.zeros_like(like), torch.zeros_like(like)


def plus(whole: Wide | None, more: Tensor) -> Wide:
    """A sum and one more number, elementwise; None: a sum of nothing."""
    if whole is None:
        return more, torch.zeros_like(more)
    high, low = whole
    total = high + more
    part = total - high
    return total, low + ((high - (total - part)) + (more - part))


def join(parts: Sequence[Wide]) -> Wide:
    """The sum of several sums."""
    whole = parts[0]
    for high, low in parts[1:]:
        whole = plus((whole[0], whole[1] + low), high)
    return whole

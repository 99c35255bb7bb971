"""What an operator becomes when it is fitted: a function of a score, and vectors over rows and columns."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nclbench.plan import SUMS

Rows = slice | Tensor

# ties under an operator, in proportion to the size of its scores. Fits in another order of summation were seen to
# differ by 1e-14; cold Sinkhorn scores converge towards each other, so a wider band would make ties of differences
TIE = 2.0**-36
# and this is what sums of large numbers may lose, in proportion to these
ROUNDED = 2.0**-46
# pairs under a function without a slope are decided by the definition when they are this close
NEAR = 2.0**-20


@dataclass(frozen=True, eq=False)
class TileMap:
    """A fitted operator: a pure function of a score, values of its row and values of its column.

    function(x, *row values, *column values) is elementwise. row: vectors (N,), column: vectors (M,).
    slope bounds |df/dx|, infinite where nothing does: then the function sees float64 tiles only. scale is the size of f
    in which ties are measured, by default that of a function that adds its vectors to slope x.
    shift: the function is x + column[0]. item_bias: (M,) what to add to raw scores for the same order in every row, so
    that an inner-product index can serve the operator; None where nothing does.
    whole_columns: the function maps whole columns (N, m) and not single scores. error: how far f may lie from what exact
    arithmetic would have fitted; scores that it cannot tell apart are ties.
    """

    function: Callable[..., Tensor]
    row: tuple[Tensor, ...] = ()
    column: tuple[Tensor, ...] = ()
    slope: float = 1.0
    scale: float | None = None
    shift: bool = False
    item_bias: Tensor | None = None
    whole_columns: bool = False
    error: float = 0.0

    @property
    def fine(self) -> bool:
        return self.slope == float("inf")

    def size(self, largest: float) -> float:
        """About the largest |f|, where |x| is at most `largest`."""
        if self.scale is not None:
            return self.scale
        return self.slope * largest + sum(float(v.abs().max()) for v in self._numbers)

    def tolerance(self, largest: float, spread: float) -> float:
        """How close ties are, where |x| is at most `largest` and x lies within `spread` of some value."""
        if self.scale is not None:
            return 2 * self.error + near(self.scale, self.scale)
        reach = sum(float(v.amax() - v.amin()) / 2 for v in self._numbers)
        return 2 * self.error + near(self.size(largest), self.slope * spread + reach)

    @property
    def _numbers(self) -> list[Tensor]:
        return [v for v in (*self.row, *self.column) if v.is_floating_point()]

    def on_tile(self, x: Tensor, rows: Rows, columns: Rows) -> Tensor:
        kind = x.dtype if self.shift else SUMS
        down = (v[rows, None].to(kind) if v.is_floating_point() else v[rows, None] for v in self.row)
        across = (v[None, columns].to(kind) if v.is_floating_point() else v[None, columns] for v in self.column)
        return self.function(x.to(kind), *down, *across)

    @property
    def bias_values(self) -> npt.NDArray[np.float64] | None:
        """(M,) the item bias as an array, if there is one."""
        return None if self.item_bias is None else self.item_bias.cpu().numpy()

    def on_pairs(self, scores: Tensor, query: Tensor, item: Tensor) -> Tensor:
        return self.function(scores, *(v[query] for v in self.row), *(v[item] for v in self.column))


def near(largest: float, spread: float) -> float:
    """How close fitted values of this size and spread are when they tie. A constant added to all makes no ties."""
    return TIE * spread + ROUNDED * largest


def add(x: Tensor, bias: Tensor) -> Tensor:
    return x + bias


def column_bias(bias: Tensor, error: float = 0.0) -> TileMap:
    """x + bias of the item, (M,) in score units. A constant shift ranks nothing, so the mean is taken off.

    error: how far the bias may lie from its definition, in score units.
    """
    bias = bias - bias.mean()
    return TileMap(add, column=(bias,), shift=True, item_bias=bias, error=error)

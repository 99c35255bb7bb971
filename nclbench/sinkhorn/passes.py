"""A pass over a kernel K: from weights of its columns to sums of its rows, on to masses of the columns. Several share a look."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.machine.wide import Wide, join, plus, zero
from nclbench.plan import Plan

# blocks, and the rows that they are of
Blocks = Iterable[tuple[Tensor, slice]]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Asks what rows of these weights (N,) draw: (M,) log sum_i w_i exp(L_ij)."""

    weights: Tensor


# of a pass: under the b (M,) given, or of rows alone
Ask = Tensor | Drawn


def _of_rows() -> Tensor:
    raise AssertionError("what rows draw has no sums of rows")


@dataclass(frozen=True, eq=False)
class Pass:
    """What a pass under b (M,) gives. log_mass: (M,) log p_j = log sum_i r_i softmax_j(L_ij + b_j), or what rows draw.

    sums: to be called before the next pass, (N,) log sum_j exp(L_ij + b_j); where it is called, all processes must.
    """

    log_mass: Tensor
    sums: Callable[[], Tensor] = _of_rows


@dataclass(frozen=True, eq=False)
class _Part:
    """One of the asks, in K's dtype. weight: (M,) None where rows draw. shares, totals: (N,)."""

    weight: Tensor | None
    shares: Tensor
    totals: Tensor

    def least(self) -> Tensor:
        """(1,) the least total, at most 1."""
        return self.totals.amin(0, keepdim=True).clamp_(max=1)

    def native(self, mass: Tensor) -> tuple[Any, ...]:
        return None if self.weight is None else host.native(self.weight), *map(host.native, (self.shares, self.totals, mass))


class Sweep:
    """One look at K (N, M) for several asks, which have the same bits as each alone.

    mass: (N,) r. like: (M,) of the masses' dtype and device. kind: K's dtype. least: what totals are at least.
    """

    def __init__(self, asks: Sequence[Ask], mass: Tensor, like: Tensor, kind: torch.dtype, least: float) -> None:
        def part(ask: Ask) -> _Part:
            weight, shares = (None, ask.weights) if isinstance(ask, Drawn) else (ask.to(kind), mass)
            return _Part(weight, shares.to(kind), torch.ones_like(mass))

        self._parts, self._like, self._least = [part(ask) for ask in asks], like, least

    def over(self, strips: Iterator[slice], blocks: Callable[[slice], Blocks]) -> list[Wide]:
        """The masses of the columns from these strips, for each of the asks."""
        wholes: list[Wide | None] = [None] * len(self._parts)
        for rows in strips:
            masses = [torch.zeros_like(self._like) for _ in self._parts]
            natives = [part.native(mass) for part, mass in zip(self._parts, masses, strict=True)]
            with host.quiet():
                for block, there in blocks(rows):
                    _add(host.native(block), there, natives, self._least)
            wholes = [plus(whole, mass) for whole, mass in zip(wholes, masses, strict=True)]
        return [zero(self._like) if whole is None else whole for whole in wholes]

    def joined(self, threads: Sequence[list[Wide]], plan: Plan) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(1,) the least total, (N,) those of this process's rows, 1 for others, (M,) the masses, for each of the asks.

        Processes tell each other all of it in one message.
        """
        wholes = [join(several) for several in zip(*threads, strict=True)]
        told = [(part.least(), *whole) for part, whole in zip(self._parts, wholes, strict=True)]
        if plan.world > 1:
            heard = plan.heard(torch.stack([torch.cat(each) for each in told]))
            told = [_agreed([each[ask] for each in heard]) for ask in range(len(told))]
        return [(least, part.totals, high + low) for part, (least, high, low) in zip(self._parts, told, strict=True)]


def _agreed(heard: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What processes told, (1 + 2 M,) each: (1,) the least total of all, and the two numbers of a sum of their masses."""
    m = len(heard[0]) // 2
    return torch.stack([each[:1] for each in heard]).amin(0), *join([(each[1 : 1 + m], each[1 + m :]) for each in heard])


def _add(block: Any, rows: slice, parts: Sequence[tuple[Any, ...]], least: float) -> None:
    """Adds a block's share to the masses, and its rows' totals."""
    for weight, shares, totals, mass in parts:
        if weight is None:
            mass += block.T @ shares[rows]
        else:
            total = host.raise_(block @ weight, least)
            totals[rows] = total
            mass += block.T @ (shares[rows] / total)

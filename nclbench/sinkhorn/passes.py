"""A pass over a kernel K: from weights of its columns to sums of its rows, on to masses of the columns. Several share a look."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.machine.wide import Wide, plus, zero
from nclbench.plan import Plan

# the rows that blocks are of, and the blocks
Blocks = Iterable[tuple[Tensor, slice]]


@dataclass(frozen=True, eq=False)
class Pass:
    """What a pass under b (M,) gives. log_mass: (M,) log p_j = log sum_i r_i softmax_j(L_ij + b_j). sums: to be called before the
    next pass, (N,) log sum_j exp(L_ij + b_j); where it is called, all processes must.
    """

    log_mass: Tensor
    sums: Callable[[], Tensor]


class Sweep:
    """One look at K under each of weights (M,). shares: (N,) r of its dtype. least: what totals are at least.

    Several weights have the same bits as each alone: what a block gives depends on that block and one of them.
    """

    def __init__(self, weights: Sequence[Tensor], mass: Tensor, kind: torch.dtype, least: float) -> None:
        self.weights, self.least = weights, least
        self.scaled, self.shares = [weight.to(kind) for weight in weights], mass.to(kind)
        self.totals = [torch.zeros_like(mass) for _ in weights]

    def over(self, strips: Iterator[slice], blocks: Callable[[slice], Blocks]) -> list[tuple[Tensor, Wide]]:
        """(1,) the least total of these strips, and the masses of the columns, under each of the weights."""
        found = [(torch.ones_like(weight[:1]), zero(weight)) for weight in self.weights]
        shares = host.native(self.shares)
        for rows in strips:
            masses = [torch.zeros_like(weight) for weight in self.weights]
            each = [tuple(map(host.native, some)) for some in zip(self.scaled, self.totals, masses, strict=True)]
            with host.quiet():
                for block, part in blocks(rows):
                    k = host.native(block)
                    for scaled, totals, mass in each:
                        total = host.raise_(k @ scaled, self.least)
                        totals[part] = total
                        mass += k.T @ (shares[part] / total)
            found = [
                (torch.minimum(least, totals[rows].amin()), plus(whole, mass))
                for (least, whole), totals, mass in zip(found, self.totals, masses, strict=True)
            ]
        return found

    def joined(self, threads: Sequence[list[tuple[Tensor, Wide]]], plan: Plan) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(1,) the least total, (N,) those of this process's rows, 0 for others, (M,) the masses, for each of the weights."""
        found = []
        for totals, parts in zip(self.totals, zip(*threads, strict=True), strict=True):
            least = -plan.largest(-torch.stack([part for part, _ in parts]).amin(0))
            found.append((least.clamp(min=self.least), totals, plan.wide_total([part for _, part in parts])))
        return found

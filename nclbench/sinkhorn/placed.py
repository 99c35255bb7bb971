"""Kernels on a device: the passes of a small one replayed as a graph, those of a streamed one summed where they are made."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nclbench.machine.graphs import Replayed
from nclbench.plan import SCORES
from nclbench.similarity.fused import exp_sums
from nclbench.similarity.halves import Halves
from nclbench.similarity.interfaces import Scores
from nclbench.sinkhorn.kernel import Kernel
from nclbench.sinkhorn.passes import Ask, Drawn

# a pass over more entries takes longer than sending its operations
_SMALL = 1 << 28
_TINY = 1e-36


@dataclass(eq=False)
class Placed(Kernel):
    """As `Kernel`, to the same numbers but for the order of sums."""

    _replayed: Replayed | None = field(default=None, init=False)

    @property
    def path(self) -> str:
        return super().path + (", fused" if self._operands is not None else "")

    @property
    def _operands(self) -> Halves | None:
        """What products are made of, where passes are fused: not those of float64, and single float16 numbers are too rough."""
        plan = self.scores.plan
        fused = plan.fused and self.kind == SCORES and not self.keep and plan.world == 1
        return self.scores.operands if fused else None

    def _measured_all(self, asks: Sequence[Ask]) -> list[tuple[Tensor, ...]]:
        n, m = self.scores.shape
        if not self.keep or n * m > _SMALL or self.scores.plan.world > 1:
            return super()._measured_all(asks)
        plain = super()._measured_all
        return [plain([ask])[0] if isinstance(ask, Drawn) else self._replay(ask) for ask in asks]

    def _replay(self, bias: Tensor) -> tuple[Tensor, ...]:
        if self._replayed is None:
            self._replayed = Replayed(lambda given: Kernel._measured_all(self, [given])[0], bias)
        return self._replayed(bias)

    def _passes(self, asks: Sequence[Ask]) -> list[tuple[Tensor, Tensor, Tensor]]:
        operands = self._operands
        if operands is None:
            return super()._passes(asks)
        return [self._fused(operands, ask) for ask in asks]

    def _fused(self, operands: Halves, ask: Ask) -> tuple[Tensor, Tensor, Tensor]:
        # K_ij = exp(L_ij + taken_j + row_i + column_j)
        if isinstance(ask, Drawn):
            mass = exp_sums(operands.turned(), self.scale, self.scaling, self.row + ask.weights.log())
            return torch.ones_like(mass[:1]), torch.ones_like(self.mass), mass
        totals = exp_sums(operands, self.scale, self.row, self.scaling + ask.log()).clamp_(min=_TINY)
        shares = self.row + (self.mass / totals).log()
        mass = exp_sums(operands.turned(), self.scale, self.scaling, shares)
        return totals.amin()[None], totals, mass

    def _scale(self, bias: Tensor) -> None:
        self._replayed = None
        super()._scale(bias)


def kernel_of(scores: Scores, tau: float, mass: Tensor, wish: str = "auto") -> Kernel | None:
    """`Kernel.of`, of the kind that the device is best served by."""
    return (Kernel if torch.device(scores.plan.device).type == "cpu" else Placed).of(scores, tau, mass, wish)

"""How a task's passes are made: over a kernel of exponentials, or, where that cannot hold it, by logarithms of float64 tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from nclbench.similarity.reducers import LogSumExp, SoftmaxMass
from nclbench.sinkhorn.passes import Ask, Drawn, Pass
from nclbench.sinkhorn.placed import kernel_of
from nclbench.sinkhorn.tasks import Task


class Looks(Protocol):
    """rounded: in single precision. scaling: (M,) a b to begin with.

    error(steps): about how far potentials may lie from those of as many steps in float64. together: None where each must be
    asked alone. leave: what was made may serve the next task.
    """

    @property
    def path(self) -> str: ...
    @property
    def rounded(self) -> bool: ...
    @property
    def scaling(self) -> Tensor: ...
    def error(self, steps: int) -> float: ...
    def passed(self, ask: Ask) -> Pass: ...
    def together(self, asks: Sequence[Ask]) -> list[Pass] | None: ...
    def leave(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Logs:
    """In the log domain: one look at all tiles for everything that is asked under some b."""

    task: Task
    path = "log domain"
    rounded = False

    @property
    def scaling(self) -> Tensor:
        return torch.zeros_like(self.task.columns)

    def error(self, steps: int) -> float:
        return 0.0

    def passed(self, ask: Ask) -> Pass:
        return self.together([ask])[0]

    def together(self, asks: Sequence[Ask]) -> list[Pass]:
        scores, scale = self.task.scores, self.task.scale
        biases = [ask for ask in asks if not isinstance(ask, Drawn)]
        found = iter(scores.reduce(*(SoftmaxMass(scale, bias, self.task.rows) for bias in biases)) if biases else [])
        return [
            Pass(self._drawn(ask.weights)) if isinstance(ask, Drawn) else Pass(next(found)[0], partial(self._sums, ask))
            for ask in asks
        ]

    def _drawn(self, weights: Tensor) -> Tensor:
        return torch.as_tensor(self.task.scores.reversed().reduce(LogSumExp(self.task.scale, weights.log()))[0])

    def _sums(self, bias: Tensor) -> Tensor:
        return torch.as_tensor(self.task.scores.reduce(LogSumExp(self.task.scale, bias))[0])

    def leave(self) -> None:
        """Nothing is made beforehand."""


def looks_at(task: Task) -> Looks:
    return kernel_of(task.scores, task.tau, task.rows, task.precision) or Logs(task)

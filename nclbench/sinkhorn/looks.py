"""How a task's passes are made: over a kernel of exponentials, or, where that cannot hold it, by logarithms of float64 tiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from nclbench.similarity.reducers import LogSumExp, SoftmaxMass
from nclbench.sinkhorn.passes import Pass
from nclbench.sinkhorn.placed import kernel_of
from nclbench.sinkhorn.tasks import Task


class Looks(Protocol):
    """rounded: in single precision. attraction: (M,) log sum_i w_i exp(L_ij), if asked for. scaling: (M,) a b to begin with.

    error(steps): about how far potentials may lie from those of as many steps in float64. together: None where each must be
    asked alone. leave: what was made may serve the next task.
    """

    @property
    def path(self) -> str: ...
    @property
    def rounded(self) -> bool: ...
    @property
    def attraction(self) -> Tensor | None: ...
    @property
    def scaling(self) -> Tensor: ...
    def error(self, steps: int) -> float: ...
    def passed(self, bias: Tensor) -> Pass: ...
    def together(self, biases: Sequence[Tensor]) -> list[Pass] | None: ...
    def leave(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Logs:
    """In the log domain. Each b is one look at all tiles, several at once too."""

    task: Task
    weights: Tensor | None
    path = "log domain"
    rounded = False

    @property
    def attraction(self) -> Tensor | None:
        if self.weights is None:
            return None
        return torch.as_tensor(self.task.scores.reversed().reduce(LogSumExp(self.task.scale, self.weights.log()))[0])

    @property
    def scaling(self) -> Tensor:
        return torch.zeros_like(self.task.columns)

    def error(self, steps: int) -> float:
        return 0.0

    def passed(self, bias: Tensor) -> Pass:
        return self.together([bias])[0]

    def together(self, biases: Sequence[Tensor]) -> list[Pass]:
        scores, scale = self.task.scores, self.task.scale
        found = scores.reduce(*(SoftmaxMass(scale, bias, self.task.rows) for bias in biases))
        return [Pass(torch.as_tensor(masses[0]), partial(self._sums, bias)) for bias, masses in zip(biases, found, strict=True)]

    def _sums(self, bias: Tensor) -> Tensor:
        return torch.as_tensor(self.task.scores.reduce(LogSumExp(self.task.scale, bias))[0])

    def leave(self) -> None:
        """Nothing is made beforehand."""


def looks_at(task: Task, weights: Tensor | None) -> Looks:
    """weights: (N,) those that the attraction is asked for with."""
    return kernel_of(task.scores, task.tau, task.rows, weights) or Logs(task, weights)

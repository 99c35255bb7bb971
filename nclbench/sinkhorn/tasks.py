"""What is asked of Sinkhorn, and what it answers."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nclbench.plan import SUMS, Plan
from nclbench.similarity.interfaces import Scores


@dataclass(frozen=True, eq=False)
class Potentials:
    """bias: (M,) b in units of L, to be added to L. mass: (M,) p / c under it.

    marginal_error: mean |p / c - 1|. path: how the passes were made. error: about how far b may lie from that of passes
    in float64, 0 where they were.
    """

    bias: Tensor
    mass: Tensor
    iterations: int
    marginal_error: float
    converged: bool
    path: str
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class Task:
    """scores: (N, M). rows (N,), columns (M,): the shares r and c, each of which sums to one. iters: None for to tol.

    precision: of the kernel, one of `precision.KINDS`.
    """

    scores: Scores
    tau: float
    start: str
    iters: int | None
    tol: float
    max_iters: int
    rows: Tensor
    columns: Tensor
    precision: str = "auto"

    def turned(self) -> "Task":
        """The same of the other direction."""
        return replace(self, scores=self.scores.reversed(), rows=self.columns, columns=self.rows)

    def same(self, other: "Task") -> bool:
        """Whether both ask the same of the same scores."""
        mine, others = (
            (each.tau, each.start, each.iters, each.tol, each.max_iters, each.precision, each.scores.reverse)
            for each in (self, other)
        )
        return mine == others and torch.equal(self.rows, other.rows) and torch.equal(self.columns, other.columns)

    @property
    def scale(self) -> float:
        return 1 / self.tau

    @property
    def target(self) -> Tensor:
        return self.columns.log()

    @property
    def limit(self) -> int:
        return self.max_iters if self.iters is None else self.iters

    @property
    def twins(self) -> Tensor | None:
        """(M,) the first column that is the same as each, None where nobody knows or all differ."""
        alike = self.scores.alike
        return None if alike is None or torch.equal(alike, torch.arange(len(alike), device=alike.device)) else alike

    def report(self, done: int) -> None:
        self.scores.plan.report("sinkhorn", done, self.limit)

    def error(self, excess: Tensor) -> float:
        """mean |p / c - 1| of log p / c, the same in every process."""
        error = float(self.scores.plan.largest((excess.exp() - 1).abs().mean()[None]))
        if not math.isfinite(error):
            raise ArithmeticError("Sinkhorn potentials are not finite")
        return error


def shares(mass: Tensor | None, length: int, plan: Plan) -> Tensor:
    """(length,) of any scale, uniform where None -> summing to one."""
    if mass is None:
        return torch.full((length,), 1 / length, dtype=SUMS, device=plan.device)
    return mass.to(plan.device, SUMS) / mass.to(plan.device, SUMS).sum()

"""Sinkhorn's potentials: one number an item that makes the items' summed retrieval probabilities right.

With L = S / tau, find b so that p_j = sum_i r_i softmax_j(L_ij + b_j) equals the target c_j (r and c sum to one):
alternate row and column normalisation of exp(L) (Sinkhorn & Knopp 1967; Cuturi 2013, algorithm 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nclbench.plan import SUMS, Plan
from nclbench.reducers import LogSumExp, SoftmaxMass

# beyond this range of logits a stored kernel of exponentials could under- or overflow in float64 (limit about 700,
# products of three factors occur), so the logarithms themselves are kept
SAFE_RANGE = 200.0


class Scores(Protocol):
    """What is needed of a similarity: rows are queries, columns are items."""

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def plan(self) -> Plan: ...
    def reversed(self) -> "Scores": ...
    def reduce(self, *reducers: Any) -> list[Any]: ...
    def strips(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class Potentials:
    """bias: (M,) b in units of L, to be added to L. mass: (M,) p / c under it.

    marginal_error: mean |p / c - 1|. path: how the passes were made.
    """

    bias: Tensor
    mass: Tensor
    iterations: int
    marginal_error: float
    converged: bool
    path: str


def sinkhorn(
    scores: Scores,
    tau: float,
    *,
    start: str = "gallery",
    iters: int | None = None,
    tol: float = 1e-4,
    max_iters: int = 1000,
    row_mass: Tensor | None = None,
    column_mass: Tensor | None = None,
) -> Potentials:
    """Runs until mean |p/c - 1| <= tol, or exactly `iters` times.

    start="gallery": one half-step on the items (inverted softmax), then (queries, items) in turn, as UCoFiA does;
    start="query": b = 0, then (queries, items) in turn, as POT and DBSN do. The items are always normalised last.
    row_mass (N,), column_mass (M,): positive; uniform where None. Any scale: they are normalised to sum to one.
    """
    n, m = scores.shape
    r = _shares(row_mass, n, scores.plan)
    c = _shares(column_mass, m, scores.plan)
    if start == "gallery":
        (column,) = scores.reversed().reduce(LogSumExp(1 / tau, r.log()))
        bias = c.log() - column
    else:
        bias = torch.zeros_like(c)
    mass_of, path = _pass(scores, tau, r)
    limit = max_iters if iters is None else iters
    done = 0
    while True:
        log_mass = mass_of(bias)
        error = float(((log_mass - c.log()).exp() - 1).abs().mean())
        scores.plan.report("sinkhorn", done, limit)
        if done == limit or (iters is None and error <= tol):
            break
        bias = bias + c.log() - log_mass
        done += 1
    if not math.isfinite(error):
        raise ArithmeticError("Sinkhorn potentials are not finite")
    return Potentials(bias, (log_mass - c.log()).exp(), done, error, error <= tol, path)


def _shares(mass: Tensor | None, length: int, plan: Plan) -> Tensor:
    if mass is None:
        return torch.full((length,), 1 / length, dtype=SUMS, device=plan.device)
    return mass.to(plan.device, SUMS) / mass.to(plan.device, SUMS).sum()


def _pass(scores: Scores, tau: float, r: Tensor) -> tuple[Callable[[Tensor], Tensor], str]:
    """A function b -> log p, and its name: a kept kernel of exponentials where it fits, else logarithms by tile."""
    if scores.plan.fits(scores.shape):
        kernel = _Kernel.of(scores, tau, r)
        if kernel is not None:
            return kernel.log_mass, "stored kernel"
    return lambda bias: scores.reduce(SoftmaxMass(1 / tau, bias, r))[0][0], "log domain"


@dataclass(frozen=True, eq=False)
class _Kernel:
    """exp(L - row maximum), kept as strips of this process's rows: two matrix-vector products make a pass.

    A row's own factor cancels in the softmax, so taking the maximum off changes nothing.
    """

    strips: list[tuple[slice, Tensor]]
    row_mass: Tensor
    width: int
    plan: Plan

    @classmethod
    def of(cls, scores: Scores, tau: float, r: Tensor) -> "_Kernel | None":
        """None where the range of the logits is not safe for exponentials (in any process)."""
        strips, unsafe = [], torch.zeros(1, dtype=SUMS, device=scores.plan.device)
        for rows, tile in scores.strips():
            logits = (tile - tile.amax(1, keepdim=True)) / tau
            unsafe += float(logits.amin()) < -SAFE_RANGE
            strips.append((rows, logits.exp_()))
            if unsafe:
                strips.clear()
                break
        if float(scores.plan.total(unsafe)):
            return None
        return cls(strips, r, scores.shape[1], scores.plan)

    def log_mass(self, bias: Tensor) -> Tensor:
        weight = (bias - bias.mean()).exp()
        mass = torch.zeros(self.width, dtype=SUMS, device=self.plan.device)
        for rows, kernel in self.strips:
            mass += kernel.T @ (self.row_mass[rows] / (kernel @ weight))
        return (self.plan.total(mass) * weight).log()

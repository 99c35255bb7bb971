"""Sinkhorn's potentials: one number an item that makes the items' summed retrieval probabilities right.

With L = S / tau, find b so that p_j = sum_i r_i softmax_j(L_ij + b_j) equals the target c_j (r and c sum to one):
alternate row and column normalisation of exp(L) (Sinkhorn & Knopp 1967; Cuturi 2013, algorithm 1).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.machine.threads import alone
from nclbench.plan import SUMS, Plan
from nclbench.similarity.interfaces import Scores
from nclbench.similarity.reducers import LogSumExp, SoftmaxMass
from nclbench.sinkhorn.anderson import Anderson
from nclbench.sinkhorn.placed import kernel_of

# how many steps the acceleration mixes: more where many will be needed
_DEPTH, _DEEP, _STRICT = 8, 20, 1e-5
# steps without a better error before history is dropped, and, after as many again, before it is given up
_PATIENCE = 60


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

    With iters these are the plain iterates, the items normalised last. start="gallery": one half-step on the items
    (inverted softmax), then (queries, items) in turn, as UCoFiA does; start="query": b = 0, then (queries, items) in
    turn, as POT and DBSN do. With tol they are accelerated (`nclbench.sinkhorn.anderson`), and start does not matter.
    row_mass (N,), column_mass (M,): positive; uniform where None. Any scale: they are normalised to sum to one.
    """
    with alone():
        return _sinkhorn(scores, tau, start, iters, tol, max_iters, row_mass, column_mass)


def _sinkhorn(
    scores: Scores,
    tau: float,
    start: str,
    iters: int | None,
    tol: float,
    max_iters: int,
    row_mass: Tensor | None,
    column_mass: Tensor | None,
) -> Potentials:
    n, m = scores.shape
    r, c = _shares(row_mass, n, scores.plan), _shares(column_mass, m, scores.plan)
    if iters is not None and scores.reverse:
        found = _mirrored(scores, tau, start, iters, tol, r, c)
        if found is not None:
            return found
    start = start if iters is not None else ""
    passes = _Passes(scores, tau, r, start)
    target = c.log()
    bias = passes.begun(target, start)
    faster = Anderson(m, _DEEP if tol <= _STRICT else _DEPTH, scores.plan.device) if iters is None else None
    limit = max_iters if iters is None else iters
    best, best_at, done = math.inf, 0, 0
    while True:
        log_mass = passes.mass(bias)
        error = _error(log_mass - target, scores.plan)
        scores.plan.report("sinkhorn", done, limit)
        if done == limit or (iters is None and error <= tol):
            break
        if error < 0.98 * best:
            best, best_at = error, done
        image = bias + target - log_mass
        if faster is None:
            bias = image
        elif done - best_at > 2 * _PATIENCE and passes.rounded:
            break  # a kernel in single precision has an error below which nothing goes
        else:
            if done - best_at == _PATIENCE:
                faster.forget()
            bias = faster.step(bias, image)
        done += 1
    if passes.kernel is not None:
        passes.kernel.leave()
    return Potentials(bias, (log_mass - target).exp(), done, error, error <= tol, passes.path, passes.error(done))


def _mirrored(
    scores: Scores, tau: float, start: str, iters: int, tol: float, r: Tensor, c: Tensor
) -> Potentials | None:
    """Plain iterates from passes over the other direction's kernel: both have half-steps of rows and columns in turn.

    scores: (N, M), reversed. A pass of the other direction takes biases of the N queries to their masses, and its sums
    over the M items are those of the items' half-step. None where no kernel holds the scores.
    """
    other, plan = scores.reversed(), scores.plan
    kernel = kernel_of(other, tau, c, torch.ones_like(c) if start == "query" else None)
    if kernel is None:
        return None
    bias, target = torch.zeros_like(c), r.log()
    if kernel.attraction is None:
        there, done = target, 0
    else:
        there, done = target - kernel.attraction, 1
    for step in range(done, iters + 1):
        plan.report("sinkhorn", step, iters)
        sums, log_mass = kernel.log_sums(there)
        there = there + target - log_mass
        if step == iters:
            bias = c.log() - sums
    following = c.log() - kernel.log_sums(there)[0]
    twins = scores.alike if kernel.kind != SUMS else None
    log_mass, bias = _levelled(bias - following, twins), _levelled(bias, twins)
    error = _error(log_mass, plan)
    return Potentials(bias, log_mass.exp(), iters, error, error <= tol, kernel.path, kernel.error(iters))


def _error(excess: Tensor, plan: Plan) -> float:
    """mean |p / c - 1| of log p / c, the same in every process."""
    error = float(plan.largest((excess.exp() - 1).abs().mean()[None]))
    if not math.isfinite(error):
        raise ArithmeticError("Sinkhorn potentials are not finite")
    return error


def _shares(mass: Tensor | None, length: int, plan: Plan) -> Tensor:
    if mass is None:
        return torch.full((length,), 1 / length, dtype=SUMS, device=plan.device)
    return mass.to(plan.device, SUMS) / mass.to(plan.device, SUMS).sum()


class _Passes:
    """b -> log p by a kernel of exponentials; where that cannot hold it, by logarithms of float64 tiles."""

    def __init__(self, scores: Scores, tau: float, rows: Tensor, start: str) -> None:
        self.scores, self.scale, self.rows = scores, 1 / tau, rows
        self.kernel = kernel_of(scores, tau, rows, rows if start == "gallery" else None)
        # single precision may round equal columns apart, and what is equal must tie
        self.twins = scores.alike if self.rounded else None

    @property
    def path(self) -> str:
        return "log domain" if self.kernel is None else self.kernel.path

    @property
    def rounded(self) -> bool:
        return self.kernel is not None and self.kernel.kind != SUMS

    def error(self, steps: int) -> float:
        return 0.0 if self.kernel is None else self.kernel.error(steps)

    def mass(self, bias: Tensor) -> Tensor:
        if self.kernel is not None:
            return _levelled(self.kernel.log_mass(bias), self.twins)
        return torch.as_tensor(self.scores.reduce(SoftmaxMass(self.scale, bias, self.rows))[0][0])

    def begun(self, target: Tensor, start: str) -> Tensor:
        """(M,) the first b: of the items' half-step (gallery), 0 (query), or what the kernel was scaled with."""
        if start == "query" or (not start and self.kernel is None):
            return torch.zeros_like(target)
        if self.kernel is None:
            return target - torch.as_tensor(self.scores.reversed().reduce(LogSumExp(self.scale, self.rows.log()))[0])
        attraction = self.kernel.attraction
        return _levelled(self.kernel.scaling if attraction is None else target - attraction, self.twins)


def _levelled(values: Tensor, twins: Tensor | None) -> Tensor:
    """(M,) with the mean of equal items for each of them."""
    if twins is None:
        return values
    total = torch.zeros_like(values).index_add_(0, twins, values)
    count = torch.zeros_like(values).index_add_(0, twins, torch.ones_like(values))
    return (total / count)[twins]

"""What can be learnt from tiles: monoids with an identity, a step, a merge and a finish.

Each gives values per row of the view that it runs on; statistics per column come from the reversed view.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.plan import COUNTS, SUMS, Plan

State = tuple[Tensor, ...]
_TINY = 1e-280


@dataclass(frozen=True, eq=False)
class LogSumExp:
    """log sum over columns of exp(scale x + weight), one value a row. weight: (M,) log weights or None."""

    scale: float
    weight: Tensor | None = None
    whole_rows = False
    fine = True
    settles = False
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return (torch.full((shape[0],), -torch.inf, dtype=SUMS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        x = tile * self.scale
        if self.weight is not None:
            x = x + self.weight[columns]
        state[0][rows] = torch.logaddexp(state[0][rows], x.logsumexp(1))
        return state

    def merge(self, a: State, b: State) -> State:
        return (torch.logaddexp(a[0], b[0]),)

    def finish(self, state: State) -> Tensor:
        return state[0]


@dataclass(frozen=True, eq=False)
class SoftmaxMass:
    """Probability mass of each column, log p_j with p_j = sum_i r_i softmax_j(scale x_ij + b_j), and each row's
    log-sum-exp.

    bias: (M,) b. row_mass: (N,) r, which sums to one. Finishes as (log mass (M,), log-sum-exp (N,)).
    """

    scale: float
    bias: Tensor
    row_mass: Tensor
    whole_rows = True
    fine = True
    settles = False
    across = True

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        empty = [torch.full((length,), -torch.inf, dtype=SUMS, device=plan.device) for length in reversed(shape)]
        return tuple(empty)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        odds = (tile * self.scale).add_(self.bias[columns])
        top = odds.amax(1, keepdim=True)
        odds.sub_(top).exp_()
        total = odds.sum(1)
        state[1][rows] = top[:, 0] + total.log()
        mass = odds.T @ (self.row_mass[rows] / total)
        log_mass = mass.log()
        # columns that no row reaches underflow as a sum of probabilities, not as a sum of their logarithms
        faint = (mass < _TINY).nonzero()[:, 0]
        if len(faint):
            logits = tile[:, faint] * self.scale + self.bias[columns][faint]
            shares = logits - state[1][rows, None] + self.row_mass[rows, None].log()
            log_mass[faint] = shares.logsumexp(0)
        state[0][columns] = torch.logaddexp(state[0][columns], log_mass)
        return state

    def merge(self, a: State, b: State) -> State:
        return torch.logaddexp(a[0], b[0]), torch.logaddexp(a[1], b[1])

    def finish(self, state: State) -> State:
        return state


@dataclass(frozen=True, eq=False)
class TopMean:
    """The mean of the k largest scores of each row (of all, where there are fewer), from float64 tiles."""

    k: int
    whole_rows = False
    fine = True
    settles = False
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        size = (shape[0], min(self.k, shape[1]))
        return (torch.full(size, -torch.inf, dtype=SUMS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        kept = state[0][rows]
        best = tile.topk(min(kept.shape[1], tile.shape[1]), dim=1).values
        state[0][rows] = torch.cat([kept, best], 1).topk(kept.shape[1], dim=1).values
        return state

    def merge(self, a: State, b: State) -> State:
        return (torch.cat([a[0], b[0]], 1).topk(a[0].shape[1], dim=1).values,)

    def finish(self, state: State) -> Tensor:
        return state[0].mean(1)


@dataclass(frozen=True, eq=False)
class Largest:
    """The k largest scores of each row (all, where there are fewer), best first: (N, k), from float64 tiles."""

    k: int
    whole_rows = False
    fine = True
    settles = False
    across = False

    init, step, merge = TopMean.init, TopMean.step, TopMean.merge

    def finish(self, state: State) -> Tensor:
        return state[0]


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and population standard deviation of each row, from float64 tiles (Chan, Golub & LeVeque 1979)."""

    whole_rows = False
    fine = True
    settles = False
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return (torch.zeros(3, shape[0], dtype=SUMS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        mean = tile.mean(1)
        spread = (tile - mean[:, None]).square().sum(1)
        new = torch.stack([torch.full_like(mean, tile.shape[1]), mean, spread])
        (state[0][:, rows],) = self.merge((state[0][:, rows],), (new,))
        return state

    def merge(self, a: State, b: State) -> State:
        (n, mean, spread), (m, other, more) = a[0], b[0]
        count = n + m
        share = m / count.clamp(min=1)
        gap = other - mean
        return (torch.stack([count, mean + gap * share, spread + more + gap.square() * n * share]),)

    def finish(self, state: State) -> tuple[Tensor, Tensor]:
        count, mean, spread = state[0]
        return mean, (spread / count).sqrt()


@dataclass(frozen=True, eq=False)
class Below:
    """How many scores of each row are below a bar, by the tiles' own values."""

    bar: float
    whole_rows = False
    fine = False
    settles = False
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return (torch.zeros(shape[0], dtype=COUNTS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        state[0][rows] += (tile < self.bar).sum(1)
        return state

    def merge(self, a: State, b: State) -> State:
        return (a[0] + b[0],)

    def finish(self, state: State) -> Tensor:
        return state[0]

"""What scores more than it should: reducers that compare pairs which are not relevant with the best relevant pair of their
row, and of their column.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.plan import COUNTS, SUMS, Plan
from nclbench.ranking.counting import Exact

State = tuple[Tensor, ...]
# probabilities are kept this far from 0 and 1 before a logarithm is taken, as in the authors' code
FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class Outranking:
    """Of how many rows a column scores more than their best relevant one, by the defined score: (M,).

    query, item: (P,) the relevant pairs, sorted by query, which are never counted. lost: (N,) the best score of a relevant
    item of each query, infinite where there is none. error bounds |tile - exact|: closer scores are decided by `exact`, and
    within tolerance they tie.
    """

    query: Tensor
    item: Tensor
    lost: Tensor
    exact: Exact
    error: float
    tolerance: float
    whole_rows = False
    fine = True
    settles = False
    across = True

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return (torch.zeros(shape[1], dtype=COUNTS, device=plan.device),)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        relevant = self._relevant(rows, columns)
        state[0][columns] += self._more(tile, self.lost[rows, None], relevant, rows, columns).sum(0)
        return state

    def _more(self, tile: Tensor, bar: Tensor, relevant: tuple[Tensor, Tensor], rows: slice, columns: slice) -> Tensor:
        """(n, m) which pairs that are not relevant score more than a bar, (n, 1) or (1, m)."""
        margin = self.error + self.tolerance
        found, near = tile > bar + margin, tile >= bar - margin
        near ^= found
        found[relevant] = near[relevant] = False
        row, column = near.nonzero(as_tuple=True)
        if len(row):
            known = bar.expand(tile.shape)[row, column]
            found[row, column] = self.exact(row + rows.start, column + columns.start) - known > self.tolerance
        return found

    def _relevant(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Where the relevant pairs stand in a tile: their rows and columns there."""
        bounds = torch.tensor([rows.start, rows.stop], device=self.query.device)
        first, last = torch.searchsorted(self.query, bounds).tolist()
        query, item = self.query[first:last], self.item[first:last]
        inside = (item >= columns.start) & (item < columns.stop)
        return query[inside] - rows.start, item[inside] - columns.start

    def merge(self, a: State, b: State) -> State:
        return tuple(one + other for one, other in zip(a, b, strict=True))

    def finish(self, state: State) -> State:
        return state


@dataclass(frozen=True, eq=False)
class HardNegatives(Outranking):
    """own: (M,) the best score of a relevant query of each item, infinite where there is none. scale: of a row's softmax.

    Finishes as over (M,), as above; into (M,): how many rows score more than a column's own; hard (N,): how many pairs of a
    row do either; pushed (N,): the sum over these of -log(1 - p); total (N,): the log-sum-exp of each row.
    """

    own: Tensor
    scale: float
    whole_rows = True

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        counts = (torch.zeros(length, dtype=COUNTS, device=plan.device) for length in (shape[1], shape[1], shape[0]))
        sums = (torch.zeros(shape[0], dtype=SUMS, device=plan.device) for _ in range(2))
        return (*counts, *sums)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        over, into, hard, pushed, total = state
        relevant = self._relevant(rows, columns)
        beats = self._more(tile, self.lost[rows, None], relevant, rows, columns)
        over[columns] += beats.sum(0)
        intrudes = self._more(tile, self.own[None, columns], relevant, rows, columns)
        into[columns] += intrudes.sum(0)
        beats |= intrudes
        odds = tile * self.scale
        top = odds.amax(1, keepdim=True)
        odds.sub_(top).exp_()
        sums = odds.sum(1)
        total[rows] = top[:, 0] + sums.log()
        row, column = beats.nonzero(as_tuple=True)
        share = (odds[row, column] / sums[row]).clamp_(FLOOR, 1 - FLOOR)
        hard[rows] += torch.bincount(row, minlength=len(tile))
        pushed[rows] += torch.bincount(row, share.neg_().log1p_().neg_(), minlength=len(tile))
        return state

"""Hard negatives: what is not relevant and scores more than what is, for a query or for an item, and NegNCE over them.

With d_i the best score of a relevant item of query i and e_j that of a relevant query of item j, a pair that is not relevant
is a hard negative where S_ij > d_i or S_ij > e_j. Ties are none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nclbench.fitting import Fit, Row
from nclbench.plan import SUMS
from nclbench.problem import Integers
from nclbench.ranking.outranking import FLOOR, HardNegatives, Outranking
from nclbench.ranking.ranks import Ranking
from nclbench.representation import Values, in_units
from nclbench.similarity.view import Job, View
from nclbench.temperature import DEFAULT_TAU


@dataclass(frozen=True, eq=False)
class Rivals:
    """over: (M,) of how many queries an item outranks the right one (nobody's own item included).

    into: (M,) how many queries that do not want an item outrank its own; None, as all below, where scores of different
    queries are in no common unit. pairs: how many hard negatives there are. attraction: the mean over queries with a relevant
    item of -log of the probability of one. repulsion: the mean over hard negatives of -log(1 - p), 0 without any. p: the softmax
    over items of scale times the score.
    """

    over: Integers
    into: Integers | None = None
    pairs: int | None = None
    attraction: float | None = None
    repulsion: float | None = None
    scale: float | None = None


@dataclass(frozen=True, eq=False)
class Contest:
    """What must be looked at: for each ranking one job a fold, none without labels. scale: of probabilities."""

    rankings: tuple[Ranking | None, ...]
    asked: tuple[tuple[Job, ...], ...]
    scale: float

    @classmethod
    def of(cls, found: Sequence[tuple[Row, Ranking | None]], tau: float | None, logit_scale: float | None) -> "Contest":
        """The scale is 1 / tau, else the model's own, else 100."""
        scale = 1 / tau if tau is not None else logit_scale if logit_scale is not None else 1 / DEFAULT_TAU
        asked = (() if ranking is None or not len(ranking.query) else _jobs(row, ranking, scale) for row, ranking in found)
        return cls(tuple(ranking for _, ranking in found), tuple(asked), scale)

    @property
    def jobs(self) -> list[Job]:
        return [job for jobs in self.asked for job in jobs]

    def rivals(self, values: Sequence[Values]) -> list[Rivals | None]:
        """values: what the jobs found. One a ranking, None without labels."""
        left = iter(values)
        return [
            _joined(jobs, [next(left) for _ in jobs], ranking, self.scale) if jobs and ranking is not None else None
            for jobs, ranking in zip(self.asked, self.rankings, strict=True)
        ]


def _jobs(row: Row, ranking: Ranking, scale: float) -> tuple[Job, ...]:
    """One a fold. What folds add to their scores differs by a constant, so that only queries of one can be compared."""
    maps = [fit.fitted.map for fit in row.fits if fit.fitted is not None]
    common = len(row.fits) == 1 and all(found is None or found.item_bias is not None for found in maps)
    return tuple(_job(fit, in_units(fit, fit.seen) if common else fit.seen, ranking, scale, common) for fit in row.fits)


def _job(fit: Fit, view: View, ranking: Ranking, scale: float, common: bool) -> Job:
    mine = slice(None) if fit.rows is None else np.isin(ranking.query, fit.rows)
    query, item = (view.plan.indices(values[mine]) for values in (ranking.query, ranking.item))
    score = view.exact(query, item)
    n, m = view.shape
    lost, own = (_best(place, score, size) for place, size in ((query, n), (item, m)))
    known = (query, item, lost, view.exact, view.error, view.tolerance)
    return view, (HardNegatives(*known, own, scale) if common else Outranking(*known))


def _best(place: torch.Tensor, score: torch.Tensor, size: int) -> torch.Tensor:
    """(size,) the largest score at each place, infinite where there is none."""
    best = torch.full((size,), -torch.inf, dtype=SUMS, device=score.device).scatter_reduce_(0, place, score, "amax")
    return torch.where(best.isinf(), torch.inf, best)


def _joined(jobs: Sequence[Job], parts: Sequence[Values], ranking: Ranking, scale: float) -> Rivals:
    over = torch.stack([part[0] for part in parts]).sum(0).cpu().numpy()
    view, reducer = jobs[0]
    if not isinstance(reducer, HardNegatives):
        return Rivals(over)
    _, into, hard, pushed, total = parts[0]
    query, item = reducer.query, reducer.item
    odds = view.exact(query, item) * scale - total[query]
    # of several relevant items any will do: their probabilities are added
    _, first, place = np.unique(ranking.query, return_index=True, return_inverse=True)
    right = torch.zeros(len(first), dtype=SUMS, device=odds.device).index_add_(0, view.plan.indices(place), odds.exp())
    pairs = int(hard.sum())
    return Rivals(
        over,
        into.cpu().numpy(),
        pairs,
        float(-right.clamp(FLOOR, 1 - FLOOR).log().mean()),
        float(pushed.sum()) / pairs if pairs else 0.0,
        scale,
    )

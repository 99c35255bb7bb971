"""What is timed of ours, through the doors that everybody uses: ranking, Sinkhorn, a whole evaluation."""

from dataclasses import dataclass, replace

import numpy as np

from nclbench.bench.data import Data
from nclbench.bench.peers import Answer
from nclbench.bench.rankers import SIX
from nclbench.evaluation import evaluate
from nclbench.fitting import bases_of, fit_row
from nclbench.machine.threads import alone
from nclbench.metrics import measure, parse
from nclbench.metrics.blocks import Blocks
from nclbench.operators import operators
from nclbench.ranking.ranks import Ranking, Request, rank
from nclbench.results import Results
from nclbench.similarity.bases import Stored
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn.potentials import sinkhorn
from nclbench.sinkhorn.tasks import Potentials

Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Stages:
    """Our work on this data. A matrix is looked at anew in each call; vectors are prepared once, with the view of them."""

    data: Data

    def from_embeddings(self) -> View:
        """The scores of prepared vectors, recomputed tile by tile whatever would fit."""
        plan = replace(self.data.plan, memory=1)
        return View(Bases(self.data.problem, plan).base("queries", "items"))

    def from_matrix(self) -> View:
        return View(Stored(self.data.scores, self.data.plan))

    def ranks(self, view: View, top: int = 0) -> list[Ranking]:
        """Both directions in one pass; top: the best so many of each row and column too."""
        other = view.reversed()
        return rank([Request(view, self.data.relevance, top), Request(other, self.data.relevance.reversed(), top)])

    def top(self, view: View, k: int = 10) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]] | None":
        """(N, k) the best items of each query, nothing else."""
        return rank([Request(view, None, k)])[0].top

    def six(self, names: tuple[str, ...]) -> Figures:
        """Metrics of the queries from the ready matrix; percent as fractions."""
        return _figures(rank([Request(self.from_matrix(), self.data.relevance)])[0], names)

    def iterates(self, view: View, tau: float, iterations: int, start: str = "query") -> Answer:
        """Exactly so many plain iterations."""
        return _answer(sinkhorn(view, tau, iters=iterations, start=start))

    def balanced(self, view: View, tau: float, tol: float) -> Answer:
        """To a mean relative marginal error of tol, which is the L1 error where all shares are equal."""
        found = sinkhorn(view, tau, tol=tol)
        if not found.converged:
            raise ArithmeticError(f"marginal error {found.marginal_error:g} after {found.iterations} passes")
        return _answer(found)

    @alone()
    def both(self, spec: str) -> list[Figures]:
        """From embeddings: six metrics of both directions, raw and under an operator. `evaluation` without intervals."""
        bases = bases_of(self.data.problem, self.data.plan, reverse=False, keep=True, both=True)
        rows = [fit_row(each, operators.parse(each), bases, reverse) for reverse in (False, True) for each in ("none", spec)]
        bases.fitted()
        wanted = (self.data.relevance, self.data.relevance.reversed())
        return [_figures(found, SIX) for found in rank([Request(row.first.seen, wanted[row.reverse]) for row in rows])]

    def evaluation(self, spec: str, memory: int | None = None) -> Results:
        """From embeddings: raw and under an operator, both directions, all metrics with their intervals."""
        plan = self.data.plan if memory is None else replace(self.data.plan, memory=memory)
        return evaluate(self.data.problem, spec, details=False, plan=plan)


def _figures(found: Ranking, names: tuple[str, ...]) -> Figures:
    blocks = Blocks.of(found.query, found.above, found.tied, found.gain)
    values = measure(blocks, [parse(name) for name in names])
    return {name: each.value / (100 if each.unit == "percent" else 1) for name, each in values.items()}


def _answer(found: Potentials) -> Answer:
    return Answer(found.bias.cpu().numpy(), found.iterations)


def adaptive(elements: int) -> int:
    """How many passes over a matrix of so many entries are long enough to be timed."""
    return int(min(500, max(20, 2e8 // elements)))

"""`try:` a remedy that gains something on this very data: fitted on folds of it, never on the queries that it then ranks."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nclbench.evaluation import evaluate
from nclbench.fusion import in_query_order
from nclbench.plan import Plan
from nclbench.problem import Problem
from nclbench.results import Results
from nclbench.significance import interval

FOLDS = 5
# scores that trying may cost, and the fewest queries that say something
_SCORES, _LEAST = 50_000_000, 200


@dataclass(frozen=True)
class Advice:
    """spec: what to try, empty where nothing tried surely gains. before, after: R@1 in percent (gini@10 without
    labels), each under its own name. gain: (mean, low, high) of the paired difference in points, for R@1.

    tried: all specs, the best of which this is. fitted: what they were fitted on. reason: why there is no advice.
    model: on which, where there are several.
    """

    direction: str
    spec: str
    measure: str
    before: float
    after: float
    gain: tuple[float, float, float] | None
    tried: tuple[str, ...]
    fitted: str
    queries: int
    reason: str = ""
    model: str = ""

    @property
    def text(self) -> str:
        """One sentence."""
        if self.reason:
            return self.reason
        how = f"{len(self.tried)} tried on {self.queries} queries{self.model and f' of {self.model}'}, fitted on {self.fitted}"
        if not self.spec:
            best = "" if self.gain is None else f", the best {self._gain}"
            return f"nothing: none of {', '.join(self.tried)} surely helps ({how}{best})"
        shown = f"{self.before:.1f} to {self.after:.1f}" if self.gain else f"{self.before:.2f} to {self.after:.2f}"
        sure = "" if self.gain is None else f" ({self._gain})"
        options = f"--normalize {self.spec}" + ("" if self.fitted == "the bank" else f" --bank folds={FOLDS}")
        return f"{options} brings {self.measure} from {shown}{sure}; the best of {how}"

    @property
    def _gain(self) -> str:
        assert self.gain is not None
        return "{:+.1f}, 95 % interval {:+.1f} to {:+.1f}".format(*self.gain)


def advise(problem: Problem, direction: str, tau: float, plan: Plan) -> Advice:
    """Tries the remedies that can be deployed as a bias an item, fitted on the bank or else on folds of the queries."""
    asked = problem if direction == "t2v" else problem.reversed()
    tried = ("csls", *(f"{name}:tau={value:g}" for name in ("is", "sinkhorn") for value in (tau, 2 * tau)))
    labelled = problem.relevance is not None
    banked = asked.has("query_bank", "items")
    sample = min(len(asked.queries), _SCORES // len(asked.items))
    nothing = Advice(direction, "", "", 0.0, 0.0, None, tried, "", sample)
    if sample < min(_LEAST, len(asked.queries)):
        return replace(nothing, reason=f"no advice: {len(asked.items)} items are too many to try remedies on")
    if sample < len(asked.queries):
        chosen = np.random.default_rng(0).choice(len(asked.queries), sample, replace=False)
        asked = in_query_order(asked, np.sort(chosen))
    found = evaluate(asked, tried, metrics="R@1", direction="t2v", folds=0 if banked else FOLDS, plan=plan)
    runs = {run.operator.spec: run for run in found.runs if not run.operator.unavailable and not run.operator.transductive}
    specs = tuple(spec for spec in runs if spec != "none")
    if not specs:
        return replace(nothing, reason=f"no advice: {FOLDS} folds of these queries cannot be made")
    uneven = next(name for name in reversed(list(runs["none"].diagnostics)) if name.startswith("gini@"))
    # better is less: of what is missed, or of how unevenly items are shown
    rated = {spec: -run.metrics["R@1"].value if labelled else run.diagnostics[uneven]["value"] for spec, run in runs.items()}
    best = min(specs, key=lambda spec: rated[spec])
    gain = None
    if labelled:
        difference = 100 * (_first(found, best) - _first(found, "none"))
        gain = (rated["none"] - rated[best], *interval(difference, cluster=_clusters(asked)))
    return replace(
        nothing,
        spec=best if rated[best] < rated["none"] and (gain is None or gain[1] > 0) else "",
        measure="R@1" if labelled else uneven,
        before=abs(rated["none"]),
        after=abs(rated[best]),
        gain=gain,
        tried=specs,
        fitted="the bank" if banked else f"{FOLDS} folds",
    )


def _first(found: Results, spec: str) -> npt.NDArray[np.float64]:
    """(Q,) 1 where the right item is first, for the queries that have one."""
    rank = found.queries["rank"][found.queries["spec"] == spec]
    return np.asarray(rank[~np.isnan(rank)] == 1, dtype=np.float64)


def _clusters(problem: Problem) -> npt.NDArray[np.int64] | None:
    """(Q,) the item that each query with a relevant one wants, where each wants one only."""
    pairs = problem.relevance
    return pairs.item if pairs is not None and len(np.unique(pairs.query)) == len(pairs) else None

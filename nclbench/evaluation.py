"""One run: fit every operator in every direction, rank them all in one pass over the scores, measure, and say how."""

import platform
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict

import numpy as np

from nclbench import __version__, instances
from nclbench.errors import UsageError, nearest
from nclbench.fitting import Fit, fit
from nclbench.metrics import Named, check_ties, measure, parse
from nclbench.metrics.blocks import Blocks
from nclbench.operators import Fitted, Operator, operators
from nclbench.plan import Plan, choose, describe
from nclbench.problem import Integers, Problem
from nclbench.protocols import Protocols
from nclbench.ranking import Ranking, rank
from nclbench.registry import show
from nclbench.results import Applied, Results, Run, Value, stacked
from nclbench.significance import intervals
from nclbench.stamps import cautions, revision, signature
from nclbench.views import Bases, Views

DEFAULT_METRICS = ("R@1", "R@5", "R@10", "R@50", "recall@10", "MdR", "MnR", "MRR", "mAP", "nDCG@10", "Rsum")
DIRECTIONS = ("both", "t2v", "v2t")
TOP = 10


def evaluate(
    problem: Problem,
    normalize: str | Operator | Sequence[str | Operator] = (),
    *,
    metrics: str | Sequence[str] | None = None,
    direction: str = "both",
    ties: str = "expected",
    reference: bool = True,
    strict: bool = False,
    seed: int = 0,
    details: bool = True,
    oracle: Collection[str] = (),
    plan: Plan | None = None,
) -> Results:
    """The raw row (unless `reference` is false) and one row an operator, in each direction.

    metrics: names such as `R@10`; all standard ones if None. ties: see `nclbench.metrics`. strict: an operator that
    does not converge or cannot be applied is an error. details: one row a query and an item beside the runs. oracle:
    canonical specs that were chosen with the labels of this very split. Never changes the problem. Raises NclbenchError.
    """
    began = time.perf_counter()
    names = _names([metrics] if isinstance(metrics, str) else metrics, ties)
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must be at least 0")
    if direction not in DIRECTIONS:
        raise UsageError(f"unknown direction {direction!r}{nearest(direction, DIRECTIONS)}")
    asked_for = normalize if isinstance(normalize, Sequence) and not isinstance(normalize, str) else [normalize]
    chosen = [operators.parse(spec) if isinstance(spec, str) else spec for spec in asked_for]
    raw = operators.parse("none")
    chosen = ([raw] if reference else []) + [each for each in chosen if each != raw or not reference]
    chosen = list(dict.fromkeys(chosen))
    plan = plan or choose()

    protocols = Protocols.of(problem)
    bases = Bases(protocols.problem, plan)
    rows = [
        fit(operator, Views(bases, reverse), strict)
        for reverse in (False, True)
        if direction in ("both", "v2t" if reverse else "t2v")
        for operator in chosen
    ]
    fitted_at = time.perf_counter()
    top = TOP if details or problem.relevance is None else 0
    asked = [(row, protocol) for row in rows for protocol in protocols.names(row.views.reverse)]
    rankings = iter(
        rank(
            [
                protocols.request(protocol, row.seen, row.views.reverse, top)
                for row, protocol in asked
                if row.fitted is not None
            ]
        )
    )
    found = [(row, protocol, next(rankings) if row.fitted else None) for row, protocol in asked]
    ranked = time.perf_counter()

    runs, queries, items = [], [], []
    raw_top = {row.views.reverse: r.top for row, _, r in found if r is not None and row.operator == raw}
    for row, protocol, ranking in found:
        run = _run(problem, row, protocol, ranking, names, ties, seed, raw_top.get(row.views.reverse), oracle)
        runs.append(run)
        if ranking is not None and details:
            blocks = Blocks.of(ranking.query, ranking.above, ranking.tied, ranking.gain) if len(ranking.query) else None
            order = (None, protocols.order) if row.views.reverse else (protocols.order, None)
            queries.append(instances.queries(run, row.views, ranking, blocks, order[0]))
            if protocol != "videos":
                bias = None if row.fitted is None or row.fitted.map is None else row.fitted.map.bias_values
                items.append(instances.items(run, row.views, ranking, bias, order[1]))
    ended = time.perf_counter()
    return Results(
        runs=tuple(runs),
        inputs=tuple({**asdict(entry), "shape": list(entry.shape)} for entry in problem.inputs),
        environment={
            "nclbench": __version__,
            "git": revision(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            **describe(plan),
            "seed": seed,
        },
        command=" ".join(sys.argv[:1]),
        warnings=tuple(dict.fromkeys([*problem.notes, *_notes(problem, bases, rows, protocols.note)])),
        timing={"fit": fitted_at - began, "rank": ranked - fitted_at, "measure": ended - ranked},
        queries=stacked(queries),
        items=stacked(items),
    )


def _names(metrics: Sequence[str] | None, ties: str) -> list[Named]:
    check_ties(ties)
    names = [parse(text) for text in (metrics or DEFAULT_METRICS)]
    if metrics is None and ties == "clip4clip":
        names = [name for name in names if not name.metric.multiple]
    return list(dict.fromkeys(names))


def _run(
    problem: Problem,
    row: Fit,
    protocol: str,
    ranking: Ranking | None,
    names: Sequence[Named],
    ties: str,
    seed: int,
    raw_top: Integers | None,
    oracle: Collection[str],
) -> Run:
    direction = "v2t" if row.views.reverse else "t2v"
    fitted = row.fitted or Fitted(None)
    applied = Applied(
        spec=show(row.operator),
        name=row.operator.name,
        params=row.params,
        fitted_on=row.views.fitted_on,
        transductive=row.views.transductive,
        unavailable=row.unavailable,
    )
    stored = problem.scores.get(("queries", "items"))
    scorer = problem.scorer if stored is None else "stored"
    dtype = "fp32" if stored is None else f"fp{8 * stored.dtype.itemsize}"
    values: dict[str, Value] = {}
    tied: dict[str, int] = {}
    if ranking is not None and len(ranking.query):
        blocks = Blocks.of(ranking.query, ranking.above, ranking.tied, ranking.gain)
        values = _values(blocks, ranking, names, ties, seed)
        unsure = blocks.first_size > blocks.first_relevant
        tied = {"queries": int(unsure.sum()), "items": int((blocks.first_size - 1)[unsure].sum())}
    overlap = {}
    if problem.relevance is None and ranking is not None and ranking.top is not None and raw_top is not None:
        both = [len(np.intersect1d(a, b)) for a, b in zip(ranking.top, raw_top, strict=True)]
        overlap = {f"overlap@{TOP}": {"value": float(np.mean(both)) / ranking.top.shape[1], "unit": "fraction"}}
    return Run(
        dataset=problem.dataset,
        split=problem.split,
        model=problem.model,
        direction=direction,
        protocol=protocol,
        operator=applied,
        scorer=scorer,
        metrics=values,
        signature=signature(
            f"v2t:{protocol}" if row.views.reverse else "t2v",
            (0, 0) if ranking is None else (len(np.unique(ranking.query)) or ranking.shape[0], ranking.shape[1]),
            ties,
            scorer,
            dtype,
            applied,
            fitted.convergence,
            applied.spec in oracle,
        ),
        ties=tied,
        diagnostics=overlap,
        convergence=fitted.convergence,
        oracle=applied.spec in oracle,
        options={"ties": ties, "tie_tolerance": row.seen.tolerance, "interval": "bootstrap, 95 %"},
    )


def _values(blocks: Blocks, ranking: Ranking, names: Sequence[Named], ties: str, seed: int) -> dict[str, Value]:
    first = np.searchsorted(ranking.query, blocks.rows)
    single = len(ranking.query) == len(blocks.rows)
    cluster = ranking.item[first] if single else None
    found = measure(blocks, names, ties)
    ends: list[list[float | None]] = [[None, None]] * len(found)
    if ties != "clip4clip":  # there a query weighs as much as its ties, which no resampling of queries estimates
        table = np.stack([each.per_query for each in found.values()], 1)
        ends = intervals(table, np.array([each.median for each in found.values()]), cluster=cluster, seed=seed).tolist()
    return {
        name: Value(each.value, each.unit, len(each.per_query), each.optimistic, each.pessimistic, low, high)
        for (name, each), (low, high) in zip(found.items(), ends, strict=True)
    }


def _notes(problem: Problem, bases: Bases, rows: Sequence[Fit], protocol: str) -> list[str]:
    said: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        texts = [f"n/a, {row.unavailable}"] if row.unavailable else []
        for text in [*texts, *(row.fitted.notes if row.fitted else ())]:
            said.setdefault((show(row.operator), text), []).append("v2t" if row.views.reverse else "t2v")
    leaning = {row.views.reverse for row in rows if row.views.transductive}
    return [
        *(f"{', '.join(directions)} {spec}: {text}" for (spec, text), directions in said.items()),
        *([protocol] if protocol and any(row.views.reverse for row in rows) else []),
        *cautions(
            problem,
            tempered=any(row.fitted is not None and "tau" in row.fitted.params for row in rows),
            transductive=[name for name, reverse in (("t2v", False), ("v2t", True)) if reverse in leaning],
            largest=bases.base("queries", "items").largest,
        ),
    ]

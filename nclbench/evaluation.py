"""One run: fit every operator in every direction, rank them all in one pass over the scores, measure, and say how."""

import platform
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from nclbench import __version__, instances
from nclbench.errors import ConvergenceError, UsageError, nearest
from nclbench.fitting import Row, bases_of, fit_row
from nclbench.metrics import Named, check_ties, measure, parse
from nclbench.metrics.blocks import Blocks
from nclbench.operators import Operator, chain_name, parse_chain
from nclbench.pairs import Bases
from nclbench.plan import Plan, choose, describe
from nclbench.problem import Integers, Problem
from nclbench.protocols import Protocols
from nclbench.ranking import Ranking, rank
from nclbench.registry import show
from nclbench.results import Applied, Results, Run, Value, stacked
from nclbench.significance import intervals
from nclbench.stamps import Used, cautions, revision, signature

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
    folds: int = 0,
    plan: Plan | None = None,
) -> Results:
    """The raw row (unless `reference` is false) and one row an operator, in each direction.

    metrics: names such as `R@10`; all standard ones if None. ties: see `nclbench.metrics`. strict: an operator that
    does not converge or cannot be applied is an error. details: one row a query and an item beside the runs. oracle:
    canonical specs that were chosen with the labels of this very split. folds: each of so many shares of the queries
    (v2t: of the items) is ranked with the others as its bank. Never changes the problem. Raises NclbenchError.
    """
    began = time.perf_counter()
    names = _names([metrics] if isinstance(metrics, str) else metrics, ties)
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must be at least 0")
    if folds < 0 or folds == 1:
        raise UsageError(f"folds is {folds}; give at least 2")
    if direction not in DIRECTIONS:
        raise UsageError(f"unknown direction {direction!r}{nearest(direction, DIRECTIONS)}")
    plan = plan or choose()
    protocols = Protocols.of(problem)
    directions, left_out = _directions(problem, direction)
    bases = {reverse: bases_of(protocols.problem, plan, reverse) for reverse in directions}
    if not problem.each:
        bases = dict.fromkeys(directions, bases[directions[0]])
    rows = [
        fit_row(spec, operator, at, reverse, strict, folds)
        for reverse in directions
        for spec, operator, at in _chosen(normalize, reference, bases[reverse], strict)
    ]
    fitted_at = time.perf_counter()
    top = TOP if details or problem.relevance is None else 0
    asked = [(row, protocol) for row in rows for protocol in protocols.names(row.reverse)]
    wanted = [
        list(row.requests(protocols.request(protocol, row.first.seen, row.reverse, top))) if row.available else []
        for row, protocol in asked
    ]
    rankings = iter(rank([request for requests in wanted for request in requests]))
    found = [
        (row, protocol, row.joined([next(rankings) for _ in requests]) if requests else None)
        for (row, protocol), requests in zip(asked, wanted, strict=True)
    ]
    ranked = time.perf_counter()

    runs, queries, items = [], [], []
    raw_top = {row.reverse: ranking.top for row, _, ranking in found if ranking is not None and row.first.spec == "none"}
    for row, protocol, ranking in found:
        run = _run(problem, row, protocol, ranking, names, ties, seed, raw_top.get(row.reverse), oracle)
        runs.append(run)
        if ranking is not None and details:
            blocks = Blocks.of(ranking.query, ranking.above, ranking.tied, ranking.gain) if len(ranking.query) else None
            order = (None, protocols.order) if row.reverse else (protocols.order, None)
            queries.append(instances.queries(run, row.first.views, ranking, blocks, order[0]))
            if protocol != "videos":
                items.append(instances.items(run, row.first.views, ranking, row.bias, order[1]))
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
        warnings=tuple(dict.fromkeys([*problem.notes, *left_out, *_notes(problem, bases[directions[0]], rows, protocols.note)])),
        timing={"fit": fitted_at - began, "rank": ranked - fitted_at, "measure": ended - ranked},
        queries=stacked(queries),
        items=stacked(items),
    )


def _directions(problem: Problem, direction: str) -> tuple[list[bool], list[str]]:
    """Whether each wanted direction is the reverse one, and a note on one that is left out."""
    only = problem.adjusted_for
    if only and direction not in ("both", only):
        raise UsageError(f"these scores were adjusted for {only}: {direction} of them is not {direction} of the operator")
    wanted = [reverse for reverse in (False, True) if (only or direction) in ("both", "v2t" if reverse else "t2v")]
    note = f"these scores were adjusted for {only}, so the other direction is left out: evaluate the embeddings for it"
    return wanted, [note] if only and direction == "both" else []


def _chosen(
    normalize: str | Operator | Sequence[str | Operator], reference: bool, bases: Bases, strict: bool
) -> Iterator[tuple[str, Operator, Bases]]:
    """The rows of a direction: canonical spec, operator, and the bases of the row's scorer. Equal ones once."""
    given = normalize if isinstance(normalize, Sequence) and not isinstance(normalize, str) else [normalize]
    specs = [spec if isinstance(spec, str) else show(spec) for spec in given]
    chains = dict.fromkeys(parse_chain(spec) for spec in (["none", *specs] if reference else specs))
    for scorer, operator in chains:
        at = bases if scorer is None else bases.scored(show(scorer))
        if strict and at.degenerate:
            raise ConvergenceError(f"{at.notes[0]}; add tokens, or evaluate cosine")
        yield chain_name(scorer, operator), operator, at


def _names(metrics: Sequence[str] | None, ties: str) -> list[Named]:
    check_ties(ties)
    names = [parse(text) for text in (metrics or DEFAULT_METRICS)]
    if metrics is None and ties == "clip4clip":
        names = [name for name in names if not name.metric.multiple]
    return list(dict.fromkeys(names))


def _run(
    problem: Problem,
    row: Row,
    protocol: str,
    ranking: Ranking | None,
    names: Sequence[Named],
    ties: str,
    seed: int,
    raw_top: Integers | None,
    oracle: Collection[str],
) -> Run:
    direction = "v2t" if row.reverse else "t2v"
    views = row.first.views
    applied = Applied(
        spec=row.first.spec,
        name=row.first.operator.name,
        params=row.params,
        fitted_on=views.fitted_on if row.available else "nothing",
        transductive=views.transductive and row.available,
        unavailable=row.first.unavailable,
        bank_sizes=views.bank_sizes if row.available else {},
    )
    averaged = 0 if ranking is None else len(np.unique(ranking.query))
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
        scorer=views.problem.scored_by,
        metrics=values,
        signature=signature(
            f"v2t:{protocol}" if row.reverse else "t2v",
            row.first.seen.shape if ranking is None else (averaged or ranking.shape[0], ranking.shape[1]),
            ties,
            views.problem.scored_by,
            views.problem.precision,
            applied,
            row.convergence,
            applied.spec in oracle,
        ),
        ties=tied,
        diagnostics=overlap,
        convergence=row.convergence,
        oracle=applied.spec in oracle,
        degenerate=views.bases.degenerate,
        options={"ties": ties, "tie_tolerance": row.first.seen.tolerance, "interval": "bootstrap, 95 %"},
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


def _notes(problem: Problem, bases: Bases, rows: Sequence[Row], protocol: str) -> list[str]:
    said: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        texts = [f"n/a, {row.first.unavailable}"] if row.first.unavailable else []
        for text in [*texts, *row.notes]:
            said.setdefault((row.first.spec, text), []).append("v2t" if row.reverse else "t2v")
    used = [Used.of(row.first) for row in rows if row.available]
    return [
        *(f"{', '.join(directions)} {spec}: {text}" for (spec, text), directions in said.items()),
        *(note for row in rows for note in row.first.views.bases.notes),
        *([protocol] if protocol and any(row.reverse for row in rows) else []),
        *cautions(problem, used, bases.base("queries", "items").largest),
    ]

"""One run: fit every operator in every direction, rank them all in one pass over the scores, measure, and say how."""

import platform
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np

from nclbench import __version__, diagnosis, instances
from nclbench.errors import ConvergenceError, UsageError, nearest
from nclbench.fitting import Row, bases_of, fit_row
from nclbench.machine.memory import give_back
from nclbench.machine.threads import alone
from nclbench.metrics import Named, check_ties, measure, parse
from nclbench.operators import Operator, chain_name, parse_chain
from nclbench.plan import Plan, choose, describe
from nclbench.plausible import doubts
from nclbench.problem import Problem
from nclbench.protocols import Protocols
from nclbench.ranking.ranks import Ranking, rank
from nclbench.registry import show
from nclbench.representation import Representation, represent
from nclbench.results import Results, stacked
from nclbench.rivals import Contest, Rivals
from nclbench.runs import TOP, blocks_of, run_of
from nclbench.similarity.pairs import Bases
from nclbench.stamps import notes, revision

DEFAULT_METRICS = ("R@1", "R@5", "R@10", "R@50", "recall@10", "MdR", "MnR", "MRR", "mAP", "nDCG@10", "Rsum")
DIRECTIONS = ("both", "t2v", "v2t")
# a row, the protocol that it is ranked under, and how
Ranked = tuple[Row, str, Ranking | None]


@alone()
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
    hubness: bool = False,
    tau: float | None = None,
    depth: int = TOP,
    plan: Plan | None = None,
) -> Results:
    """The raw row (unless `reference` is false) and one row an operator, in each direction.

    metrics: names such as `R@10`; all standard ones if None. ties: see `nclbench.metrics`. strict: an operator that
    does not converge or cannot be applied is an error. details: one row a query and an item beside the runs. oracle:
    canonical specs that were chosen with the labels of this very split. folds: each of so many shares of the queries
    (v2t: of the items) is ranked with the others as its bank. hubness: also what chance makes of each diagnostic, hard
    negatives, and each item's probability mass at `tau` (None: that of the first operator that has one, else the model's own).
    depth: how many of a query's best items its row names. Never changes the problem. Raises NclbenchError.
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
    protocols, size = Protocols.of(problem), len(problem.queries) * len(problem.items)
    directions, left_out = _directions(problem, direction)
    bases = {reverse: bases_of(protocols.problem, plan, reverse, keep=True, both=len(directions) > 1) for reverse in directions}
    if not problem.each:
        bases = dict.fromkeys(directions, bases[directions[0]])
    rows = [
        fit_row(spec, operator, at, reverse, strict, folds)
        for reverse in directions
        for spec, operator, at in _chosen(normalize, reference, bases[reverse], strict)
    ]
    for each in bases.values():
        each.fitted()
    give_back(size)
    fitted_at = time.perf_counter()
    top = max(TOP, depth) if details or hubness or problem.relevance is None else 0
    found = _ranked(rows, protocols, top)
    masses: Sequence[Representation | None] = [None] * len(found)
    hard: Sequence[Rivals | None] = [None] * len(found)
    if hubness:
        masses, hard, guessed = _contested(found, tau, problem.logit_scale)
        left_out += guessed
    told = notes(problem, bases[directions[0]], rows, protocols.note)
    # what scores are made of is as large as all tables that are made now
    found, rows = [(row.ranked(), protocol, ranking) for row, protocol, ranking in found], []
    for each in bases.values():
        each.ranked()
    give_back(size)
    ranked = time.perf_counter()
    for row, _, ranking in found[:reference]:
        left_out += doubts(ranking, "v2t" if row.reverse else "t2v", row.first.views.problem.scored_by == "stored")
    raw_top = {row.reverse: ranking.top for row, _, ranking in found if ranking is not None and row.first.spec == "none"}
    runs, queries, items = [], [], []
    raw: dict[tuple[bool, str], instances.Columns] = {}
    for (row, protocol, ranking), mass, rival in zip(found, masses, hard, strict=True):
        blocks = blocks_of(ranking)
        measured = {} if blocks is None else measure(blocks, names, ties)
        run = run_of(problem, row, protocol, ranking, blocks, measured, ties, seed, raw_top.get(row.reverse), oracle)
        if ranking is not None:
            run = replace(run, diagnostics={**run.diagnostics, **diagnosis.of_gallery(ranking, mass, rival, hubness)})
        runs.append(run)
        if ranking is not None and details:
            order = (None, protocols.order) if row.reverse else (protocols.order, None)
            queries.append(instances.queries(run, row.first.views, ranking, blocks, order[0], measured))
            if run.operator.spec == "none":
                raw[row.reverse, protocol] = queries[-1]
            if blocks is not None and (row.reverse, protocol) in raw:
                queries[-1] |= diagnosis.changes(queries[-1], raw[row.reverse, protocol])
            if protocol != "videos":
                items.append(instances.items(run, row.first.views, ranking, row.bias, mass, rival, order[1]))
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
        warnings=tuple(dict.fromkeys([*problem.notes, *left_out, *told])),
        timing={"fit": fitted_at - began, "rank": ranked - fitted_at, "measure": ended - ranked},
        queries=stacked(queries, spent=True),
        items=stacked(items, spent=True),
    )


def _ranked(rows: Sequence[Row], protocols: Protocols, top: int) -> list[Ranked]:
    """Every row under every protocol of its direction, in as few passes as can be; None where the row is unavailable."""
    asked = [(row, protocol) for row in rows for protocol in protocols.names(row.reverse)]
    wanted = [
        list(row.requests(protocols.request(protocol, row.first.seen, row.reverse, top))) if row.available else []
        for row, protocol in asked
    ]
    rankings = iter(rank([request for requests in wanted for request in requests]))
    return [
        (row, protocol, row.joined([next(rankings) for _ in requests]) if requests else None)
        for (row, protocol), requests in zip(asked, wanted, strict=True)
    ]


def _contested(
    found: Sequence[Ranked], tau: float | None, logit_scale: float | None
) -> tuple[list[Representation | None], list[Rivals | None], list[str]]:
    """What items get of the queries' attention, and hard negatives, of each ranking but those of videos; and notes."""
    rankings = [(row, ranking if protocol != "videos" else None) for row, protocol, ranking in found]
    contest = Contest.of(rankings, tau, logit_scale)
    masses, guessed, values = represent(rankings, tau, logit_scale, contest.jobs)
    return masses, contest.rivals(values), guessed


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

"""One run: what a row's ranking and metrics are in `results.json`."""

from collections.abc import Collection, Mapping

import numpy as np

from nclbench.fitting import Row
from nclbench.metrics import Measured
from nclbench.metrics.blocks import Blocks
from nclbench.problem import Integers, Problem
from nclbench.ranking.ranks import Ranking
from nclbench.results import Applied, Run, Value
from nclbench.significance import intervals
from nclbench.stamps import signature

# how many of the best items are named
TOP = 10


def run_of(
    problem: Problem,
    row: Row,
    protocol: str,
    ranking: Ranking | None,
    blocks: Blocks | None,
    measured: Mapping[str, Measured],
    ties: str,
    seed: int,
    raw_top: Integers | None,
    oracle: Collection[str],
) -> Run:
    """row: as `Row.ranked` leaves it. measured: every metric of the blocks. raw_top: (N, K) the best items of the raw row, where
    nothing is labelled.
    """
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
    if ranking is not None and blocks is not None:
        values = _values(blocks, ranking, measured, ties, seed)
        unsure = blocks.first_size > blocks.first_relevant
        tied = {"queries": int(unsure.sum()), "items": int((blocks.first_size - 1)[unsure].sum())}
    overlap = {}
    if problem.relevance is None and ranking is not None and ranking.top is not None and raw_top is not None:
        now, raw = ranking.top[:, :TOP], raw_top[:, :TOP]
        both = [len(np.intersect1d(a, b)) for a, b in zip(now, raw, strict=True)]
        overlap = {f"overlap@{TOP}": {"value": float(np.mean(both)) / now.shape[1], "unit": "fraction"}}
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
            row.first.shape if ranking is None else (averaged or ranking.shape[0], ranking.shape[1]),
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
        options={
            "ties": ties,
            "tie_tolerance": row.first.tolerance,
            **({"precision": "single"} if row.rounded else {}),
            "interval": "bootstrap, 95 %",
            **({"scorer": settled} if (settled := views.bases.settled) != views.problem.scored_by and settled else {}),
        },
    )


def blocks_of(ranking: Ranking | None) -> Blocks | None:
    """None where nothing is relevant to anything."""
    if ranking is None or not len(ranking.query):
        return None
    return Blocks.of(ranking.query, ranking.above, ranking.tied, ranking.gain)


def _values(
    blocks: Blocks, ranking: Ranking, found: Mapping[str, Measured], ties: str, seed: int
) -> dict[str, Value]:
    first = np.searchsorted(ranking.query, blocks.rows)
    single = len(ranking.query) == len(blocks.rows)
    cluster = ranking.item[first] if single else None
    ends: list[list[float | None]] = [[None, None]] * len(found)
    if ties != "clip4clip":  # there a query weighs as much as its ties, which no resampling of queries estimates
        table = np.stack([each.per_query for each in found.values()], 1)
        ends = intervals(table, np.array([each.median for each in found.values()]), cluster=cluster, seed=seed).tolist()
    return {
        name: Value(each.value, each.unit, len(each.per_query), each.optimistic, each.pessimistic, low, high)
        for (name, each), (low, high) in zip(found.items(), ends, strict=True)
    }

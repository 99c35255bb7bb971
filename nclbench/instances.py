"""One row a query and one row an item, for Parquet: what happened to each of them under one operator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench import diagnosis
from nclbench.metrics import Measured
from nclbench.metrics.blocks import Blocks
from nclbench.metrics.ranks import first_rank
from nclbench.problem import Embeddings, Integers
from nclbench.ranking.ranks import Ranking
from nclbench.representation import Representation
from nclbench.results import Run
from nclbench.rivals import Rivals
from nclbench.similarity.views import Views

Columns = dict[str, npt.NDArray[Any]]


def queries(
    run: Run,
    views: Views,
    ranking: Ranking,
    blocks: Blocks | None,
    place: Integers | None,
    measured: Mapping[str, Measured],
) -> Columns:
    """Ranks of the first relevant item (NaN and -1 where a query has none) and the ids of the best items.

    above, tied: items that beat or equal it. item: the one relevant item, None where there is none or several. A
    column a metric: the values that were averaged. place: (N,) the query's position in the input, None for as it stands.
    """
    asking, asked = views.side("queries"), views.side("items")
    assert asking is not None and asked is not None
    n = len(asking)
    columns: Columns = {**_keys(run, n), "id": np.array(asking.ids, dtype=object)}
    columns["caption"] = _captions(asking)
    for name, rule in (("rank", "expected"), ("rank_optimistic", "optimistic"), ("rank_pessimistic", "pessimistic")):
        columns[name] = np.full(n, np.nan)
        if blocks is not None:
            columns[name][blocks.rows] = first_rank(blocks, rule)
    for name in ("above", "tied", "relevant"):
        columns[name] = np.full(n, -1, dtype=np.int64)
    if blocks is not None:
        columns["above"][blocks.rows] = blocks.first_above
        columns["tied"][blocks.rows] = blocks.first_size - 1
        columns["relevant"][blocks.rows] = blocks.relevant
    names = np.array(asked.ids, dtype=object)
    if blocks is not None:
        columns |= diagnosis.of_queries(ranking, names)
    columns["item"] = _single(ranking, names, n)
    for name, metric in measured.items():
        columns[name] = np.full(n, np.nan)
        if blocks is not None:
            columns[name][blocks.rows] = metric.per_query
    columns["top"] = np.empty(n, dtype=object)
    for row, best in enumerate([[] for _ in range(n)] if ranking.top is None else names[ranking.top].tolist()):
        columns["top"][row] = best
    return _in_input_order(columns, place)


def items(
    run: Run,
    views: Views,
    ranking: Ranking,
    bias: npt.NDArray[np.float64] | None,
    masses: Representation | None,
    rivals: Rivals | None,
    place: Integers | None,
) -> Columns:
    """How often an item is among the first k (N_k), how many queries want it, its fitted bias (NaN without one), and what
    `diagnosis.of_items` says of it.
    """
    asked = views.side("items")
    assert asked is not None
    m = len(asked)
    columns: Columns = {**_keys(run, m), "id": np.array(asked.ids, dtype=object)}
    columns["caption"] = _captions(asked)
    columns["wanted"] = np.bincount(ranking.item, minlength=m)
    for k in diagnosis.CUTOFFS if ranking.top is not None else ():
        columns[f"occurrence@{k}"] = diagnosis.occurrences(ranking, k)
    columns["bias"] = np.full(m, np.nan) if bias is None else bias
    columns |= diagnosis.of_items(ranking, masses, rivals, views.problem.relevance is not None)
    return _in_input_order(columns, place)


def _single(ranking: Ranking, names: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """(N,) the name of the item that a query wants, None unless it wants exactly one."""
    found = np.full(count, None, dtype=object)
    times = np.bincount(ranking.query, minlength=count)
    once = times[ranking.query] == 1
    found[ranking.query[once]] = names[ranking.item[once]]
    return found


def _keys(run: Run, count: int) -> Columns:
    values = {
        "dataset": run.dataset,
        "model": run.model,
        "spec": run.operator.spec,
        "direction": run.direction,
        "protocol": run.protocol,
    }
    return {name: np.full(count, value, dtype=object) for name, value in values.items()}


def _captions(side: Embeddings) -> npt.NDArray[Any]:
    """(N,) texts for people, None where the input has none."""
    return np.array([None] * len(side) if side.captions is None else side.captions, dtype=object)


def _in_input_order(columns: Columns, place: Integers | None) -> Columns:
    if place is None:
        return columns
    order = np.argsort(place)
    return {name: values[order] for name, values in columns.items()}

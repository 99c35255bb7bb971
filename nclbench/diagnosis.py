"""What a ranking and the items' probability masses say of each item, each query and the whole gallery."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.diagnostics import of_counts, of_masses, of_rivals
from nclbench.diagnostics.chance import chance
from nclbench.diagnostics.hard_negatives import errors, first_places, wishes, wrong
from nclbench.problem import Integers
from nclbench.ranking.ranks import Ranking
from nclbench.representation import Representation
from nclbench.rivals import Rivals

CUTOFFS = (1, 5, 10)
Columns = dict[str, npt.NDArray[Any]]


def cutoffs(ranking: Ranking) -> tuple[int, ...]:
    """Those k for which there are k items; of longer lists nothing can be said."""
    return () if ranking.top is None else tuple(k for k in CUTOFFS if k <= ranking.top.shape[1])


def occurrences(ranking: Ranking, k: int) -> Integers:
    """(M,) N_k: how many queries have each item among their first k."""
    assert ranking.top is not None
    return np.bincount(ranking.top[:, :k].ravel(), minlength=ranking.shape[1])


def of_gallery(
    ranking: Ranking, masses: Representation | None, rivals: Rivals | None = None, beside_chance: bool = True
) -> dict[str, Any]:
    """Every diagnostic of a row by its name: value and unit; of k-occurrences also what chance makes (95 % of drawings)."""
    n, m = ranking.shape
    found: dict[str, Any] = {}
    for k in cutoffs(ranking):
        usual = chance(n, m, k) if beside_chance else {}
        counts = occurrences(ranking, k)
        for name, each in of_counts().items():
            found[f"{name}@{k}"] = {"value": each.function(counts), "unit": "fraction"}
            if name in usual:
                found[f"{name}@{k}"] |= dict(zip(("chance", "chance_low", "chance_high"), usual[name], strict=True))
    if rivals is not None and rivals.scale is not None:
        for name, each in of_rivals().items():
            found[name] = {"value": each.function(rivals), "unit": each.unit, "scale": rivals.scale}
    if masses is None:
        return found
    found |= {name: {"value": value, "unit": "cosine"} for name, value in masses.gap.items()}
    targets = {"N/M": (masses.mass, np.full(m, n / m))}
    if len(ranking.query):
        targets["wanted"] = (masses.mass, errors(masses.mass, ranking.query, ranking.item, masses.pairs).wanted)
    if masses.bank is not None:
        mass, size = masses.bank
        targets["bank"] = (mass, np.full(m, size / m))
    for target, (mass, wanted) in targets.items():
        for name, each in of_masses().items():
            key = name if target == "N/M" else name.replace("p.", f"p.{target}.")
            found[key] = {"value": each.function(mass, wanted), "unit": "fraction", "tau": masses.tau}
    return found


def of_items(ranking: Ranking, masses: Representation | None, rivals: Rivals | None, labels: bool) -> Columns:
    """One row an item. p: probability mass; wanted_mass: n; fp, fn: false positives and negatives in queries, by mass and
    (`@1`) by first places; bad@k: among the first k of so many queries that do not want it. over: above the right item of so
    many queries; into: so many queries that do not want it are above its own. NaN where not defined.
    """
    m = ranking.shape[1]
    columns: Columns = {"p": np.full(m, np.nan) if masses is None else masses.mass}
    if masses is not None and masses.bank is not None:
        columns["p_bank"] = masses.bank[0]
    if not labels:
        return columns
    columns["wanted_mass"] = np.bincount(ranking.item, wishes(ranking.query), minlength=m)
    soft = None if masses is None else errors(masses.mass, ranking.query, ranking.item, masses.pairs)
    columns["fp"] = np.full(m, np.nan) if soft is None else soft.positive
    columns["fn"] = np.full(m, np.nan) if soft is None else soft.negative
    if ranking.top is not None:
        hard = first_places(ranking.top[:, 0], ranking.query, ranking.item, m)
        columns["fp@1"], columns["fn@1"] = hard.positive, hard.negative
    for k in CUTOFFS if ranking.top is not None else ():
        assert ranking.top is not None
        columns[f"bad@{k}"] = wrong(ranking.top[:, :k], ranking.query, ranking.item, m)
    if rivals is not None:
        columns["over"] = rivals.over
        columns["into"] = np.full(m, np.nan) if rivals.into is None else rivals.into.astype(float)
    return columns


def of_queries(ranking: Ranking, names: npt.NDArray[Any]) -> Columns:
    """One row a query. right: its relevant item that ranks first; wants: all of them, with their gains; beaten_by: what
    stands first instead.

    names: (M,) ids.
    """
    n = ranking.shape[0]
    columns: Columns = {name: np.full(n, None, dtype=object) for name in ("right", "wants", "gains", "beaten_by")}
    order = np.lexsort((ranking.above, ranking.query))
    rows, starts = np.unique(ranking.query[order], return_index=True)
    best = order[starts]
    columns["right"][rows] = names[ranking.item[best]]
    for row in range(n):
        columns["wants"][row], columns["gains"][row] = [], []
    ends = [*starts[1:].tolist(), len(order)]
    for name, values in (("wants", names[ranking.item[order]]), ("gains", ranking.gain[order])):
        listed = values.tolist()
        for row, first, end in zip(rows.tolist(), starts.tolist(), ends, strict=True):
            columns[name][row] = listed[first:end]
    if ranking.top is not None:
        leader = ranking.top[rows, 0]
        wrongly = ~np.isin(rows * ranking.shape[1] + leader, ranking.query * ranking.shape[1] + ranking.item)
        columns["beaten_by"][rows[wrongly]] = names[leader[wrongly]]
    return columns


def changes(now: Mapping[str, npt.NDArray[Any]], raw: Mapping[str, npt.NDArray[Any]]) -> Columns:
    """What an operator did to each query, both tables in one order. rank_raw; won: ranks gained; gave_way: the item that
    stood first raw and is no longer above the right one (None where that is not known from the best items).
    """
    n = len(now["id"])
    columns: Columns = {"rank_raw": raw["rank"], "won": raw["rank"] - now["rank"], "gave_way": np.full(n, None, dtype=object)}
    for row in np.flatnonzero(columns["won"] > 0):
        rival, above, top = raw["beaten_by"][row], int(now["above"][row]), now["top"][row]
        if rival is not None and above <= len(top) and rival not in top[:above]:
            columns["gave_way"][row] = rival
    return columns

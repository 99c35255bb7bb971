"""The same queries over the same gallery, or a refusal that names what differs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.comparison import Matched, Pair, Saved
from nclbench.comparison.paired import Integers
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.results import Columns, Run

_SHOWN = 3
_NEEDED = ("item", "relevant", "rank")


def match(pair: Pair, metrics: Sequence[str], *, intersect: bool = False) -> Matched:
    """The rows of both runs in one order. intersect: queries that only one of them has are left out.

    InputError where the queries (without `intersect`), the gallery, the relevant items or the tie rule differ, or
    where a metric was not averaged.
    """
    same_terms(pair, sizes=False)
    before, after = rows(*pair.reference), rows(*pair.other)
    _same_gallery(pair)
    old, new = before["id"].tolist(), after["id"].tolist()
    shared = set(old) & set(new)
    left_out = len(set(old) ^ set(new))
    if left_out and not intersect:
        hint = "--missing intersect compares the rest, where the galleries are the same"
        raise InputError(f"{_both(pair)}: other queries, {_differing(pair, old, new)}; {hint}")
    if not shared:
        raise InputError(f"{_both(pair)}: no query is in both, {_differing(pair, old, new)}")
    places = [{name: at for at, name in enumerate(names)} for names in (old, new)]
    order = [name for name in old if name in shared]
    before = _taken(before, np.array([places[0][name] for name in order]))
    after = _taken(after, np.array([places[1][name] for name in order]))
    _same_relevance(pair, before, after)
    ranked = before["relevant"] > 0
    if not ranked.any():
        raise InputError(f"{_both(pair)}: no query of both has a relevant item")
    before, after = _taken(before, ranked), _taken(after, ranked)
    for (saved, run), columns in ((pair.reference, before), (pair.other, after)):
        for name in metrics:
            if name not in columns:
                raise InputError(f"{saved.name}: {run.operator.spec} has no values of {name} for each query; evaluate it again")
    items = before["item"].tolist()
    return Matched(pair, before, after, {} if None in items else {"item": _numbered(items)}, left_out)


def rows(saved: Saved, run: Run, table: str = "queries") -> Columns:
    """The rows of one run among those of its file; InputError where there are none, or the same id twice."""
    columns: Columns = getattr(saved.results, table)
    keys = {
        "dataset": run.dataset,
        "model": run.model,
        "spec": run.operator.spec,
        "direction": run.direction,
        "protocol": run.protocol,
    }
    mine = np.ones(len(columns.get("id", ())), dtype=bool)
    for name, value in keys.items():
        if name in columns:
            mine &= columns[name] == value
    if not mine.any():
        raise InputError(
            f"{saved.name}: no rows of {table} for {run.selector} {run.operator.spec} beside it; "
            "write both again with nclbench eval -o or --out-dir"
        )
    lost = [name for name in (_NEEDED if table == "queries" else ()) if name not in columns]
    if lost:
        raise InputError(f"{saved.name}: the rows beside it have no column {lost[0]!r}; evaluate again with this version")
    found = _taken(columns, np.flatnonzero(mine))
    if len(set(found["id"].tolist())) < len(found["id"]):
        raise InputError(f"{saved.name}: {run.selector} {run.operator.spec} has rows of the same id twice; evaluate it again")
    return found


def _taken(columns: Columns, which: npt.NDArray[Any]) -> Columns:
    return {name: values[which] for name, values in columns.items()}


def same_terms(pair: Pair, *, sizes: bool = True) -> None:
    """InputError where the tie rules differ or, as far as it is stamped and `sizes` asks, the numbers of items."""
    runs = pair.reference[1], pair.other[1]
    rules = [printable(run.options.get("ties", "expected")) for run in runs]
    if rules[0] != rules[1]:
        raise InputError(f"{_both(pair)}: ties are {rules[0]} in one and {rules[1]} in the other; evaluate both alike")
    counts = [printable(term) for run in runs for term in run.terms if term.endswith(" items")]
    if sizes and len(counts) == 2 and counts[0] != counts[1]:
        raise InputError(f"{_both(pair)}: ranks {counts[0]} in one and {counts[1]} in the other; rank the same items in both")


def _same_gallery(pair: Pair) -> None:
    """Items have rows under the captions protocol alone, which ranks the same gallery."""
    found: list[list[str]] = []
    for saved, run in (pair.reference, pair.other):
        named = [each for each in saved.results.runs if _is_gallery_of(each, run)]
        found += [rows(saved, each, "items")["id"].tolist() for each in named[:1]]
    if len(found) == 2 and set(found[0]) != set(found[1]):
        hint = "rank the same items in both: ranks among others cannot be intersected afterwards"
        raise InputError(f"{_both(pair)}: other galleries, {_differing(pair, *found)}; {hint}")


def _is_gallery_of(each: Run, run: Run) -> bool:
    alike = (each.dataset, each.split, each.model, each.direction, each.operator.spec) == (
        run.dataset, run.split, run.model, run.direction, run.operator.spec,
    )  # fmt: skip
    return alike and each.protocol != "videos"


def _same_relevance(pair: Pair, before: Columns, after: Columns) -> None:
    for name in ("relevant", "item"):
        other = np.flatnonzero(before[name] != after[name])
        if len(other):
            at = other[0]
            raise InputError(
                f"{_both(pair)}: query {printable(before['id'][at])!r} wants "
                f"{'items' if name == 'relevant' else 'the item'} {printable(before[name][at])} in one and "
                f"{printable(after[name][at])} in the other; use the same annotations"
            )


def _both(pair: Pair) -> str:
    (one, _), (other, run) = pair.reference, pair.other
    return f"{other.name} against {one.name}, {run.selector}"


def _differing(pair: Pair, old: Sequence[str], new: Sequence[str]) -> str:
    """`only in a.json: 'q1', 'q2' (2 of 100)` for each side that has some of its own."""
    said = []
    for (saved, _), mine, theirs in ((pair.reference, old, set(new)), (pair.other, new, set(old))):
        own = [name for name in mine if name not in theirs]
        if own:
            names = ", ".join(repr(printable(name)) for name in own[:_SHOWN])
            more = ", …" if len(own) > _SHOWN else ""
            said.append(f"only in {saved.name}: {names}{more} ({len(own)} of {len(mine)})")
    return "; ".join(said)


def _numbered(names: Sequence[str]) -> Integers:
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names])

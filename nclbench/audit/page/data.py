"""What the page knows, as plain JSON: positions instead of names wherever a name stands more than once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.audit.advice import Advice
from nclbench.audit.findings import findings
from nclbench.audit.page.whole import FIRST, STEP, whole
from nclbench.audit.states import Direction, State
from nclbench.diagnostics.chance import drawn
from nclbench.files import printable
from nclbench.results import Results

_METRICS = ("R@1", "R@5", "R@10", "MdR", "MnR")
_DRAWINGS = 50


def payload(
    results: Results, directions: Sequence[Direction], advice: Sequence[Advice], thumbnails: Mapping[str, str], most: int
) -> dict[str, Any]:
    """All of the page. most: items, and queries, that are listed."""
    first = directions[0].reference.run
    models = list(dict.fromkeys(state.run.model for state in directions[0].states))
    return {
        "title": f"{printable(first.dataset)}: {', '.join(map(printable, models))}",
        "command": printable(results.command),
        "signatures": list(dict.fromkeys(run.signature for run in results.runs)),
        "warnings": [printable(text) for text in results.warnings],
        "directions": [_direction(each, advice, thumbnails, most) for each in directions],
    }


def _direction(direction: Direction, advice: Sequence[Advice], thumbnails: Mapping[str, str], most: int) -> dict[str, Any]:
    items, queries = direction.reference.items, direction.reference.queries
    n, m = len(queries["id"]), len(items["id"])
    listed = _listed(direction, most)
    asked = _sample(n, most)
    place = {name: at for at, name in enumerate(items["id"][listed])}
    left_out = []
    if m > most:
        who = direction.words[3]
        left_out.append(f"{len(listed)} of {m} {who} are listed: the most and the least shown, and a random sample of the others")
    if n > most:
        left_out.append(f"{len(asked)} of {n} {direction.words[1]} are listed, a random sample")
    told = direction.reference.run.diagnostics
    return {
        "name": direction.name,
        "words": direction.words,
        "queryCount": n,
        "itemCount": m,
        "k": direction.cutoff,
        "share": direction.share,
        "fair": n / m,
        "most": told.get(f"largest@{direction.cutoff}", {}).get("chance_high", 1.0) * direction.share,
        "labelled": direction.labelled,
        "sample": "; ".join(left_out),
        "items": {
            "id": [printable(name) for name in items["id"][listed]],
            "title": [printable(direction.titles[at]) for at in listed],
            "thumb": {str(at): thumbnails[name] for name, at in place.items() if name in thumbnails},
        },
        "queries": {
            "id": [printable(name) for name in queries["id"][asked]],
            "text": ["" if text is None else printable(text) for text in queries["caption"][asked]],
            "wants": [[place[name] for name in names if name in place] for names in queries["wants"][asked]]
            if direction.labelled
            else [],
        },
        "states": [_state(direction, state, listed, asked, place) for state in direction.states],
        "bins": {"first": FIRST, "step": STEP},
        "findings": [
            {
                "verdict": each.verdict,
                "says": each.says,
                "values": [None if v is None else {"text": each.text(v[0]), "verdict": v[1]} for v in each.values],
                "chance": "" if each.chance is None else each.text(each.chance[0]),
                "range": "" if each.chance is None else " to ".join(map(each.text, each.chance[1:])),
                "thresholds": each.thresholds,
            }
            for each in findings(direction)
        ],
        "advice": [printable(each.text) for each in advice if each.direction == direction.name],
        "chance": usual(n, m, direction.cutoff),
    }


def _state(
    direction: Direction, state: State, listed: npt.NDArray[Any], asked: npt.NDArray[Any], place: Mapping[str, int]
) -> dict[str, Any]:
    items, queries = state.items, state.queries
    named = {"shown": f"occurrence@{direction.cutoff}", "first": "occurrence@1", "stolen": "bad@1"}
    named |= {name: name for name in ("p", "fp", "fn", "over")}
    found: dict[str, Any] = {
        "label": printable(direction.label(state)),
        "spec": printable(state.spec),
        "fitted": printable(state.run.operator.seen),
        "transductive": state.run.operator.transductive,
        "before": direction.states.index(direction.before(state)),
        "tau": state.tau,
        "whole": _placed(whole(direction, state), listed, items),
        "metrics": {name: round(state.run.metrics[name].value, 2) for name in _METRICS if name in state.run.metrics},
        "items": {key: _numbers(items[name][listed]) for key, name in named.items() if name in items},
        "queries": {
            "top": [[place.get(name, -1) for name in names] for names in queries["top"][asked]],
        },
    }
    if direction.labelled:
        found["queries"] |= {
            "rank": _numbers(queries["rank"][asked]),
            "above": _numbers(queries["above"][asked]),
            "right": [place.get(name, -1) for name in queries["right"][asked]],
            "beaten": [place.get(name, -1) for name in queries["beaten_by"][asked]],
        }
    if "gave_way" in queries:
        found["queries"]["gave"] = [place.get(name, -1) for name in queries["gave_way"][asked]]
    return found


def _placed(found: dict[str, Any], listed: npt.NDArray[Any], items: Mapping[str, Any]) -> dict[str, Any]:
    """Positions of all items as positions of the listed ones, -1 for others."""
    position = np.full(len(items["id"]), -1)
    position[listed] = np.arange(len(listed))
    if "sorted" in found:
        found["sorted"]["item"] = position[found["sorted"]["item"]].tolist()
    return {**found, "hub": int(position[found["hub"]])}


def _numbers(values: npt.NDArray[Any]) -> list[float | int | None]:
    """Seven digits are more than any reader wants and less than half the bytes."""
    if values.dtype.kind in "iu":
        return [int(value) for value in values]
    return [None if np.isnan(value) else float(f"{value:.7g}") for value in values]


def _listed(direction: Direction, most: int) -> npt.NDArray[Any]:
    """Positions of the items that are listed, in order: all, or half of them those that stand out in any state."""
    m = len(direction.reference.items["id"])
    if m <= most:
        return np.arange(m)
    each = most // (4 * len(direction.states))
    chosen = set()
    for state in direction.states:
        order = np.argsort(direction.occurrence(state), kind="stable")
        chosen |= set(order[:each].tolist()) | set(order[-each:].tolist())
    rest = np.random.default_rng(0).permutation(np.setdiff1d(np.arange(m), list(chosen)))
    return np.sort(np.concatenate([list(chosen), rest[: most - len(chosen)]]).astype(np.int64))


def _sample(n: int, most: int) -> npt.NDArray[Any]:
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def usual(n: int, m: int, k: int) -> list[float]:
    """How many items would be in 0, 1, 2, … of the lists if all were equally likely: the mean of some drawings."""
    drawings = [np.bincount(counts) for counts in drawn(n, m, k, times=_DRAWINGS if n * k <= 1_000_000 else 5)]
    total = np.zeros(max(map(len, drawings)))
    for each in drawings:
        total[: len(each)] += each
    return [round(float(value), 4) for value in total / len(drawings)]

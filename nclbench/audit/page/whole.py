"""What the page says and draws of all items and queries, however few of them it lists."""

from typing import Any

import numpy as np

from nclbench.audit.states import Direction, State, Values
from nclbench.diagnostics.hard_negatives import bins
from nclbench.diagnostics.representation import lorenz

# of p / fair share in powers of two; no edge at 1, where all are that are even
FIRST, STEP, BINS = -8.125, 0.25, 65
EDGES = (0.25, 0.5, 1.0, 2.0, 4.0)
_POINTS = 400


def whole(direction: Direction, state: State) -> dict[str, Any]:
    """Counts and curves of a state. before: what its changes are against."""
    shown = direction.occurrence(state)
    hub = int(np.argmax(shown))
    ratio = state.items["p"] * len(state.items["id"]) / len(state.queries["id"])
    found: dict[str, Any] = {
        "unseen": int((shown == 0).sum()),
        "hub": hub,
        "hubCount": int(shown[hub]),
        "occurrence": np.bincount(shown).tolist(),
        "lorenz": [_thin(each) for each in lorenz(shown.astype(np.float64))],
    }
    if not np.isnan(ratio).any():
        with np.errstate(divide="ignore"):
            place = np.floor((np.log2(ratio) - FIRST) / STEP).clip(0, BINS - 1)
        found["representation"] = np.bincount(place.astype(np.int64), minlength=BINS).tolist()
        order = _thinned(np.argsort(-ratio, kind="stable"))
        rank = _thinned(np.arange(1, len(ratio) + 1))
        found["sorted"] = {"x": rank.tolist(), "y": [round(float(ratio[at]), 5) for at in order], "item": order.tolist()}
    before = direction.before(state)
    if direction.labelled:
        won = np.nan_to_num(before.queries["rank"] - state.queries["rank"])
        found["won"], found["lost"] = int((won > 0).sum()), int((won < 0).sum())
        if not np.isnan(state.items["fp"]).any():
            place = bins(before.items["p"], len(state.queries["id"]) / len(state.items["id"]), EDGES)
            groups = [np.flatnonzero(place == each) for each in range(len(EDGES) + 1)]
            found["errors"] = {"items": list(map(len, groups))}
            for name in ("fp", "fn"):
                found["errors"][name] = [float(state.items[name][group].mean()) if len(group) else 0.0 for group in groups]
    return found


def _thinned(values: Values) -> Values:
    """As many as a picture has room for, the first and the last among them."""
    return values if len(values) <= _POINTS else values[np.linspace(0, len(values) - 1, _POINTS).round().astype(np.int64)]


def _thin(values: Values) -> list[float]:
    return [round(float(value), 5) for value in _thinned(values)]

"""A sweep as JSON: the choices, the curves that they come from, and which files have been looked at."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nclbench.results import Value
from nclbench.sweep import Swept
from nclbench.sweep.curves import Curve, Point
from nclbench.sweep.noise import RULE

SCHEMA = "nclbench.sweep/1"


def render(swept: Swept, splits: tuple[str, ...] = (), command: str = "") -> str:
    """Strict JSON in ASCII, so that nothing in a name can act on a terminal."""
    data = to_json(swept, splits, command)
    return json.dumps(data, allow_nan=False, indent=1).replace("\x7f", "\\u007f") + "\n"


def to_json(swept: Swept, splits: tuple[str, ...] = (), command: str = "") -> dict[str, Any]:
    """Plain data for JSON. splits: all that the validation file has, where it names any."""
    problem = swept.problem
    how = "oracle" if swept.oracle else "folds" if swept.folds else "validation"
    return {
        "schema": SCHEMA,
        "oracle": swept.oracle,
        "select": {"by": str(swept.select), "metric": swept.select.metric, "how": how, "folds": swept.folds, "noise": RULE},
        "chosen": [_choice(direction, curve) for direction, curve in swept.choices()],
        "curves": [_curve(curve) for curve in swept.curves],
        "dataset": problem.dataset,
        "split": problem.split,
        "splits": list(splits),
        "model": problem.model,
        "scorer": problem.scored_by,
        "inputs": [dict(entry) for entry in swept.results.inputs],
        "environment": dict(swept.results.environment),
        "command": command,
        "warnings": list(swept.warnings),
    }


def _choice(direction: str, curve: Curve) -> dict[str, Any]:
    best = curve.best
    found: dict[str, Any] = {"template": curve.grid.template, "direction": direction, "by": curve.selector}
    found["spec"] = None if best is None else best.spec
    found["value"] = None if best is None or best.value is None else best.value.value
    return found | {"reason": curve.points[0].failed if best is None else ""}


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "template": curve.grid.template,
        "selector": curve.selector,
        "metric": curve.metric,
        "parameters": [asdict(axis) for axis in curve.grid.axes],
        "reference": _value(curve.raw),
        "chosen": None if curve.best is None else curve.best.spec,
        "flat": curve.flat(),
        "warnings": list(curve.warnings()),
        "points": [_point(curve, point) for point in curve.points],
    }


def _point(curve: Curve, point: Point) -> dict[str, Any]:
    operator = point.run.operator
    return {
        "spec": point.spec,
        "at": {axis.name: axis.values[place] for axis, place in zip(curve.grid.axes, point.at, strict=True)},
        **_value(point.value),
        "margin": point.margin,
        "within_noise": point.within,
        "failed": point.failed,
        "fitted_on": operator.seen,
        "transductive": operator.transductive,
        "oracle": point.run.oracle,
        "signature": point.run.signature,
    }


def _value(value: Value | None) -> Mapping[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "unit": "", "n": 0}
    return {name: getattr(value, name) for name in ("value", "low", "high", "unit", "n")}

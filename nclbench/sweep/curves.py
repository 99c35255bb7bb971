"""A curve: the points of one grid in one direction, which of them is chosen, and what else would have done."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nclbench.errors import UsageError
from nclbench.grids import Axis, Grid
from nclbench.operators import parse_chain
from nclbench.results import Run, Value

_SAME = 1e-9
Place = tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """at: its place on the axes of the grid. failed: why it is never chosen, empty if it may be.

    margin: how much worse than the best is noise. within: whether it is no worse than that.
    """

    spec: str
    at: Place
    run: Run
    value: Value | None
    failed: str = ""
    margin: float = 0.0
    within: bool = False


@dataclass(frozen=True)
class Curve:
    """selector: `t2v`, `v2t` or `v2t-videos`, whose metric is on the curve. reference: the raw row.

    chosen: a place in points, None where every one has failed.
    """

    grid: Grid
    selector: str
    metric: str
    reference: Run
    points: tuple[Point, ...]
    chosen: int | None

    @property
    def best(self) -> Point | None:
        return None if self.chosen is None else self.points[self.chosen]

    @property
    def raw(self) -> Value | None:
        return self.reference.metrics.get(self.metric)

    def flat(self) -> str:
        """`tau 0.0125 to 0.032 within noise`."""
        inside = [point for point in self.points if point.within]
        if self.best is None or len(self.points) == 1:
            return ""
        if len(inside) == 1:
            return "no other point within noise"
        if len(self.grid.axes) == 1:
            said = _stretches(self.grid.axes[0], {point.at[0] for point in inside})
        else:
            axes = enumerate(self.grid.axes)
            spans = (_stretches(axis, {point.at[number] for point in inside}) for number, axis in axes)
            said = f"{len(inside)} of {len(self.points)} points, {'; '.join(spans)},"
        return f"{said} within noise"

    def warnings(self) -> Iterator[str]:
        """What a reader of the choice must know."""
        name = f"{self.selector} {self.grid.template}"
        failed = [point for point in self.points if point.failed]
        if self.best is None:
            yield f"{name}: nothing could be chosen, {failed[0].failed}"
            return
        if failed:
            yield f"{name}: {len(failed)} of {len(self.points)} points could not be chosen, the first: {failed[0].failed}"
        for number, axis in enumerate(self.grid.axes):
            place, last = self.best.at[number], len(axis.values) - 1
            ranged = axis.numbers is not None and (axis.scale != "choice" or last > 1)
            if ranged and last > 0 and place in (0, last) and _goes_on(self.best.spec, axis, place):
                end = "upper" if place else "lower"
                yield f"{name}: the best {axis.name}, {axis.values[place]}, is the {end} end of its range; widen it"
        if len({point.run.operator.transductive for point in self.points if not point.failed}) > 1:
            yield f"{name}: points fitted on the queries under test compete with others here; sweep each fit on its own"
        if self.raw is not None and self.best.value is not None and not _better(self.best.value, self.raw):
            yield f"{name}: no point is better than the raw scores"


def choose(grid: Grid, points: Sequence[Point]) -> int | None:
    """The best point that has not failed; of equals the one nearest to the middle of all that are within noise."""
    fit = [number for number, point in enumerate(points) if not point.failed]
    if not fit:
        return None
    top = max(_goodness(points[number]) for number in fit)
    equals = [number for number in fit if _goodness(points[number]) >= top - _SAME]
    inside = [points[number].at for number in fit if points[number].within] or [points[number].at for number in equals]
    numeric = [number for number, axis in enumerate(grid.axes) if axis.numbers is not None]
    middle = {axis: sum(at[axis] for at in inside) / len(inside) for axis in numeric}

    def distance(number: int) -> float:
        at = points[number].at
        return sum(((at[axis] - middle[axis]) / len(grid.axes[axis].values)) ** 2 for axis in numeric)

    return min(equals, key=lambda number: (round(distance(number), 12), number))


def gap(point: Point, best: Point) -> float:
    """How much worse a point is."""
    return _goodness(best) - _goodness(point)


def leader(points: Sequence[Point]) -> Point | None:
    """A best point, before it is known which of equals is chosen."""
    fit = [point for point in points if not point.failed]
    return max(fit, key=_goodness) if fit else None


def failure(run: Run, metric: str) -> str:
    """Why a run must not be chosen."""
    end = run.convergence
    if run.operator.unavailable is not None:
        return f"n/a: {run.operator.unavailable}"
    if run.degenerate or metric not in run.metrics:
        return "n/a: degenerate"
    if end is not None and not end.converged and not end.fixed:
        return f"NOT converged: marginal error {end.marginal_error:.1e} after {end.iterations} iterations"
    return ""


def _goodness(point: Point) -> float:
    assert point.value is not None
    return -point.value.value if point.value.unit == "rank" else point.value.value


def _better(one: Value, other: Value) -> bool:
    return one.value < other.value if one.unit == "rank" else one.value > other.value


def _stretches(axis: Axis, places: set[int]) -> str:
    """`tau 0.01 to 0.03`, `fit bank, test`: neighbours as one stretch."""
    if axis.numbers is None:
        return f"{axis.name} {', '.join(axis.values[place] for place in sorted(places))}"
    said = []
    for first in sorted(place for place in places if place - 1 not in places):
        last = first
        while last + 1 in places:
            last += 1
        said.append(axis.values[first] + (f" to {axis.values[last]}" if last > first else ""))
    return f"{axis.name} {', '.join(said)}"


def _goes_on(spec: str, axis: Axis, place: int) -> bool:
    """Whether the parameter can go beyond this end of its grid."""
    found = re.search(rf"(?<=[:,]){re.escape(axis.name)}=([^,+]+)", spec)
    if found is None:
        return True  # a value that is the default is not spelled, and defaults lie inside
    if found[1].lstrip("-").isdigit():
        text = str(int(found[1]) + (1 if place else -1))
    else:
        text = repr(float(found[1]) * (2 if place else 0.5))
    try:
        parse_chain(f"{spec[: found.start(1)]}{text}{spec[found.end(1) :]}")
    except UsageError:
        return False
    return True

"""Many runs of one validation problem: grids of specs become curves, and each direction gets its choice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

from nclbench.errors import InputError, UsageError, nearest
from nclbench.evaluation import evaluate
from nclbench.grids import LIMIT, Grid, expand
from nclbench.metrics import parse
from nclbench.operators import chain_name, operators, parse_chain
from nclbench.plan import Plan
from nclbench.problem import Problem
from nclbench.results import Results, Run
from nclbench.scorers import scorers
from nclbench.sweep.curves import Curve, Point, choose, failure, gap, leader
from nclbench.sweep.noise import Array, clusters, margin, per_query

SELECTORS = ("t2v", "v2t", "v2t-videos")
# runs of one pass over the scores; their rows a query are held at once
_AT_ONCE = 12
_Found = dict[tuple[str, str], tuple[Run, Array | None]]


@dataclass(frozen=True)
class Select:
    """`R@1`, or `t2v.R@1` where one direction chooses for all. selector: empty for each direction its own."""

    metric: str
    selector: str = ""

    @classmethod
    def parse(cls, text: str) -> "Select":
        selector, dot, metric = text.partition(".")
        if not dot:
            return cls(str(parse(text)))
        if selector not in SELECTORS:
            raise UsageError(f"cannot read --select {text!r}{nearest(selector, SELECTORS)}")
        return cls(str(parse(metric)), selector)

    def __str__(self) -> str:
        return f"{self.selector}.{self.metric}" if self.selector else self.metric


@dataclass(frozen=True)
class Swept:
    """curves: one a template and direction (or the one direction that chooses). directions: those chosen for.

    oracle: chosen on the reported split itself. folds: shares of a labelled bank, 0 for a validation split.
    results: of the first pass, for its inputs and environment. warnings: on the choices, and then of the runs.
    """

    curves: tuple[Curve, ...]
    select: Select
    directions: tuple[str, ...]
    problem: Problem
    results: Results
    oracle: bool = False
    folds: int = 0
    warnings: tuple[str, ...] = ()

    def choices(self) -> Iterator[tuple[str, Curve]]:
        """(direction, the curve that chooses for it), in the order of the templates."""
        for direction in self.directions:
            for curve in self.curves:
                if self.select.selector or curve.selector == direction:
                    yield direction, curve


def grids(templates: Sequence[str]) -> tuple[Grid, ...]:
    """Every template with its specs in canonical form, each once. UsageError for what no run could read."""
    found = []
    for template in dict.fromkeys(templates):
        grid = expand(template, _whole)
        places: dict[str, tuple[int, ...]] = {}
        for spec, at in zip(grid.specs, grid.at, strict=True):
            places.setdefault(canonical(spec), at)
        found.append(replace(grid, specs=tuple(places), at=tuple(places.values())))
    total = sum(len(grid.specs) for grid in found)
    if total > LIMIT:
        raise UsageError(f"{total} points in all grids; at most {LIMIT} can be run, make them coarser")
    return tuple(found)


def canonical(spec: str) -> str:
    """The spec as results name it."""
    return chain_name(*parse_chain(spec))


def sweep(
    problem: Problem,
    templates: Sequence[str],
    *,
    select: str = "R@1",
    direction: str = "both",
    folds: int = 0,
    oracle: bool = False,
    called: str = "test",
    seed: int = 0,
    plan: Plan | None = None,
) -> Swept:
    """Runs every point on a labelled problem and chooses, for each template and direction, the best.

    select: a metric, each direction choosing by its own; or one direction's, as `t2v.R@1`, which then chooses for all.
    folds: each share of the queries is ranked with the others as its bank. oracle: the problem is the reported split.
    called: what rows call the folds after, where the problem is a bank or a validation split.
    """
    wanted, found = Select.parse(select), grids(templates)
    if problem.relevance is None:
        raise InputError("nothing can be chosen: no pair is known to be relevant; give a labelled validation file")
    directions = ("t2v", "v2t") if direction == "both" else (direction,)
    chooser = wanted.selector.partition("-")[0]
    if chooser and chooser not in directions:
        raise UsageError(f"--select {wanted} chooses by {chooser}, and --direction {direction} leaves it out")
    specs = list(dict.fromkeys(spec for grid in found for spec in grid.specs))
    results, rows = _run(problem, specs, wanted, chooser or direction, folds, oracle, seed, plan)
    rows = {key: (_called(run, called), values) for key, (run, values) in rows.items()}
    selectors = [wanted.selector] if wanted.selector else list(directions)
    have = dict.fromkeys(selector for _, selector in rows)
    if wanted.selector not in ("", *have):
        raise UsageError(f"--select {wanted}: the input has no {wanted.selector} (it has {', '.join(have)})")
    curves = tuple(_curve(problem, grid, selector, wanted.metric, rows) for selector in selectors for grid in found)
    chosen = {curve.best.spec for curve in curves if curve.best is not None}
    others = [spec for spec in specs if spec not in chosen]
    said = [text for text in results.warnings if not any(f" {spec}: " in text for spec in others)]
    told = [text for curve in curves for text in curve.warnings()]
    return Swept(curves, wanted, directions, problem, results, oracle, folds, tuple(dict.fromkeys([*told, *said])))


def _run(
    problem: Problem,
    specs: Sequence[str],
    select: Select,
    direction: str,
    folds: int,
    oracle: bool,
    seed: int,
    plan: Plan | None,
) -> tuple[Results, _Found]:
    """Results without runs, and the run and the values a query of each (spec, selector)."""
    found: _Found = {}
    parts = []
    named = parse(select.metric)
    for start in range(0, len(specs), _AT_ONCE):
        part = evaluate(
            problem,
            specs[start : start + _AT_ONCE],
            metrics=[select.metric],
            direction=direction,
            reference=not start,
            seed=seed,
            oracle=specs if oracle else (),
            folds=folds,
            plan=plan,
        )
        for run in part.runs:
            mine = _rows(part.queries, run)
            found[run.operator.spec, run.selector] = run, per_query(mine, named) if mine else None
        parts.append(replace(part, runs=(), queries={}, items={}))
    return Results.joined(parts), found


def _called(run: Run, name: str) -> Run:
    """The run with its folds named after what they are folds of."""
    fitted = run.operator.fitted_on.replace("test-folds(", f"{name}-folds(")
    signature = run.signature.replace("test-folds(", f"{name}-folds(")
    return replace(run, operator=replace(run.operator, fitted_on=fitted), signature=signature)


def _rows(table: Mapping[str, Any], run: Run) -> dict[str, Any]:
    if not table or run.operator.unavailable is not None:
        return {}
    keys = {"spec": run.operator.spec, "direction": run.direction, "protocol": run.protocol}
    mine = None
    for name, value in keys.items():
        mine = (table[name] == value) if mine is None else mine & (table[name] == value)
    return {name: table[name][mine] for name in ("relevant", "above", "tied", "rank")}


def _curve(problem: Problem, grid: Grid, selector: str, metric: str, rows: _Found) -> Curve:
    points = []
    for spec, at in zip(grid.specs, grid.at, strict=True):
        run = rows[spec, selector][0]
        points.append(Point(spec, at, run, run.metrics.get(metric), failure(run, metric)))
    best = leader(points)
    if best is not None:
        values, together = {spec: rows[spec, selector][1] for spec in grid.specs}, clusters(problem, selector)
        for number, point in enumerate(points):
            if not point.failed:
                noise = _noise(values[point.spec], values[best.spec], best, together)
                points[number] = replace(point, margin=noise, within=gap(point, best) <= noise + 1e-9)
    return Curve(grid, selector, metric, rows["none", selector][0], tuple(points), choose(grid, points))


def _noise(values: Array | None, best: Array | None, leading: Point, together: Any) -> float:
    if values is not None and best is not None:
        return margin(best - values, together)
    value = leading.value
    return 0.0 if value is None or value.low is None or value.high is None else (value.high - value.low) / 2


def _whole(name: str, key: str) -> bool:
    """Whether a parameter of an operator or scorer takes integers only."""
    for registry in (operators, scorers):
        if registry.aliases.get(name, name) in registry.names():
            hint = get_type_hints(registry.get(name)).get(key)
            kinds = get_args(hint) or (hint,)
            return int in kinds and float not in kinds
    return False

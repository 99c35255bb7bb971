"""From results to the comparison table: which columns, which blocks, which marks, and what the notes must say."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from nclbench.errors import UsageError, nearest
from nclbench.files import printable
from nclbench.report.cells import STANDINGS, Cell, Extra, Group, Mark, Note, Row, Table
from nclbench.report.standing import standing, standings_of, terms
from nclbench.results import Results, Run, Value

__all__ = ["DEFAULT_METRICS", "Table", "build"]

DEFAULT_METRICS = ("R@1", "R@5", "R@10", "MdR", "MnR")
_PROTOCOLS = {
    ("v2t", "captions"): "best caption among all captions",
    ("v2t-videos", "videos"): "best caption per video, among videos",
}
_ORDER = ("t2v", "v2t", "v2t-videos")
_IDENTITY = ("dataset", "split", "model", "scorer")


Beside = Callable[[Run, str], tuple[Extra, ...]]
# dataset, split, terms and standing: only rows that share all four compete
_Block = tuple[str, str, tuple[str, ...], str]
# figures are sums of many terms: closer than this they are equal
_DIGITS = 9


def build(
    results: Results | Sequence[Results],
    *,
    metrics: Sequence[str] | None = None,
    decimals: int = 1,
    beside: Beside | None = None,
    notes: Sequence[Note] = (),
) -> Table:
    """The table of all runs. metrics: columns by name; by default `DEFAULT_METRICS` as far as the runs have them.

    decimals: of percent and ranks; fractions get two more. beside: what stands beside a metric of a run, explained by
    `notes`.
    """
    runs = [run for part in ((results,) if isinstance(results, Results) else results) for run in part.runs]
    names = columns(runs, metrics)
    under = terms(runs)
    grouped: dict[tuple[str, str], dict[_Block, list[Row]]] = {}
    for run in runs:
        row = row_of(run, names, decimals, beside, under[id(run)][1])
        blocks = grouped.setdefault((run.selector, run.protocol), {})
        blocks.setdefault((run.dataset, run.split, under[id(run)][0], row.standing), []).append(row)
    numbers: dict[str, int] = {}
    groups = tuple(
        Group(
            selector=printable(selector),
            title=title(selector, protocol, any(name == "videos" for _, name in grouped)),
            blocks=tuple(signed(_marked(rows), numbers) for rows in _ordered(grouped[selector, protocol])),
        )
        for selector, protocol in sorted(grouped, key=lambda key: _place(key[0]))
    )
    rows = [row for group in groups for block in group.blocks for row in block]
    identity = {name: list(dict.fromkeys(getattr(row, name) for row in rows)) for name in _IDENTITY}
    stands = {name for row in rows for name in standings_of(row.standing, row.transductive)}
    said = [f"{name} {found[0]}" for name, found in identity.items() if len(found) == 1 and found[0]]
    return Table(
        caption=printable(", ".join([*said, *tie_rule(runs)])),
        labels=(*(name for name, found in identity.items() if len(found) > 1 and _tells(name, rows)), "spec", "fitted_on"),
        metrics=tuple(printable(name) for name in names),
        groups=groups,
        notes=(
            *(Note(*STANDINGS[name]) for name in STANDINGS if name in stands and STANDINGS[name][0]),
            *(Note(str(number), text) for text, number in numbers.items()),
            *notes,
        ),
        legend=legend(rows),
        signatures=tuple(dict.fromkeys(row.signature for row in rows)),
    )


def tie_rule(runs: Sequence[Run]) -> list[str]:
    """The one that all runs share, if it is not the usual one; of several each row says its own."""
    rules = {str(run.options.get("ties", "expected")) for run in runs}
    return [f"ties {rule}" for rule in rules if len(rules) == 1 and rule != "expected"]


def _tells(name: str, rows: Sequence[Row]) -> bool:
    """Whether a label says more than the model does: scorers matter where one model has several."""
    return name != "scorer" or len({(row.model, row.scorer) for row in rows}) > len({row.model for row in rows})


def columns(runs: Sequence[Run], wanted: Sequence[str] | None) -> list[str]:
    """Which metrics are shown; without labels there are only diagnostics. One that no run has is a UsageError."""
    metrics = list(dict.fromkeys(name for run in runs for name in run.metrics))
    known = list(dict.fromkeys([*metrics, *(name for run in runs for name in run.figures)]))
    if wanted is None:
        return [name for name in DEFAULT_METRICS if name in metrics] or metrics or known or list(DEFAULT_METRICS)
    return list(dict.fromkeys(_known(name, known) for name in wanted))


def _known(name: str, known: Sequence[str]) -> str:
    """The name as the runs have it, however it is written."""
    spelled = {each.lower(): each for each in known}.get(name.lower())
    if name in known or spelled is not None:
        return name if name in known else str(spelled)
    from nclbench.metrics import parse

    found = str(parse(name))
    if found not in known and known:
        raise UsageError(f"no run has a metric {printable(found)!r}{nearest(found, known)}")
    return found


def row_of(run: Run, metrics: Sequence[str], decimals: int = 1, beside: Beside | None = None, apart: str = "") -> Row:
    """One run as a row, without marks and signs. apart: in what it was ranked otherwise than others."""
    operator = run.operator
    figures = run.figures
    nothing = "–" if operator.unavailable is None else "n/a"
    return Row(
        dataset=printable(run.dataset),
        split=printable(run.split),
        model=printable(run.model),
        scorer=printable(run.scorer),
        direction=printable(run.direction),
        protocol=printable(run.protocol),
        spec=printable(operator.spec),
        fitted_on=printable(operator.seen),
        standing=standing(run),
        transductive=operator.transductive,
        unavailable=printable(operator.unavailable or ""),
        remark=printable("; ".join(filter(None, [apart, *_remarks(run, metrics, decimals)]))),
        signature=printable(run.signature),
        cells=tuple(
            _cell(figures.get(name), nothing, decimals, () if beside is None else beside(run, name)) for name in metrics
        ),
    )


def _cell(metric: Value | None, nothing: str, decimals: int, extras: tuple[Extra, ...] = ()) -> Cell:
    if metric is None or not math.isfinite(metric.value):
        return Cell(nothing)
    return Cell(shown(metric.value, metric.unit, decimals), float(metric.value), printable(metric.unit), extras=extras)


def shown(value: float, unit: str, decimals: int = 1) -> str:
    """`48.0`, or `0.512` of a fraction."""
    return f"{value:.{_places(unit, decimals)}f}"


def _places(unit: str, decimals: int) -> int:
    return decimals + 2 if unit in ("fraction", "nats") else decimals


def _remarks(run: Run, metrics: Sequence[str], decimals: int) -> Iterable[str]:
    """What a reader must know about one row: no figures and why, how it converged, what ties leave open."""
    if run.operator.unavailable is not None:
        yield f"n/a: {run.operator.unavailable}"
    if run.degenerate:
        yield "degenerate: there was nothing that this row's scorer or operator could act on"
    end = run.convergence
    if end is not None:
        ended = "converged" if end.converged else "NOT converged"
        plural = "" if end.iterations == 1 else "s"
        yield f"{ended}, {end.iterations} iteration{plural}, marginal error {end.marginal_error:.2g}"
    open_ones = []
    for name in metrics:
        metric = run.metrics.get(name)
        if metric is None:
            continue
        low, high = sorted((metric.optimistic, metric.pessimistic))
        if high - low > 10 ** -_places(metric.unit, min(decimals, 1)) + 1e-9:
            ends = (shown(bound, metric.unit, decimals) for bound in (low, high))
            open_ones.append(f"{name} between {' and '.join(ends)}")
    if open_ones:
        yield f"{', '.join(open_ones)} over tie orders"
        if "queries" in run.ties:
            yield f"{run.ties['queries']} tied quer{'y' if run.ties['queries'] == 1 else 'ies'}"
        if run.options.get("precision") == "single":
            yield "fitted in single precision: precision=double leaves fewer ties"


def title(selector: str, protocol: str, two: bool) -> str:
    """What stands over the rows of a direction. two: v2t stands under both protocols, so that each must say which it is."""
    if protocol == "captions" and not two:
        return printable(selector)
    spelled = _PROTOCOLS.get((selector, protocol), "" if selector in _ORDER else protocol)
    return printable(f"{selector} ({spelled})" if spelled else selector)


def _place(selector: str) -> int:
    return _ORDER.index(selector) if selector in _ORDER else len(_ORDER)


def _ordered(blocks: dict[_Block, list[Row]]) -> list[list[Row]]:
    """Blocks of one dataset and terms together, in the order of the runs; within it in the order of `STANDINGS`."""
    datasets = list(dict.fromkeys(key[:3] for key in blocks))
    return [blocks[*name, standing] for name in datasets for standing in STANDINGS if (*name, standing) in blocks]


def _marked(rows: list[Row]) -> list[Row]:
    """Best and second best of each column, where at least two rows have a figure. Equal values share the mark.

    Ranks are better when lower, percent when higher; of a diagnostic nobody can say.
    """
    found = [ranked(cells) for cells in zip(*(row.cells for row in rows), strict=True)]
    return [replace(row, cells=tuple(cells[at] for cells in found)) for at, row in enumerate(rows)]


def ranked(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that compete, with the marks that they get."""
    values = {round(cell.value, _DIGITS) for cell in cells if cell.value is not None}
    units = {cell.unit for cell in cells if cell.value is not None}
    if sum(cell.value is not None for cell in cells) < 2 or not units <= {"percent", "rank", ""}:
        return list(cells)
    lower_is_better = "rank" in units
    best, second = [*sorted(values, reverse=not lower_is_better), None][:2]
    marks: dict[float | None, Mark] = {best: "best", second: "second", None: ""}
    return [cell if cell.value is None else replace(cell, mark=marks.get(round(cell.value, _DIGITS), "")) for cell in cells]


def signed(rows: list[Row], numbers: dict[str, int]) -> tuple[Row, ...]:
    """Signs behind each operator: that of its standing, unless its figures have their own, and the number of its remark
    (equal remarks share one).
    """
    signed = []
    for row in rows:
        names = () if any(cell.signs for cell in row.cells) else standings_of(row.standing, row.transductive)
        signs = [STANDINGS[name][0] for name in names if STANDINGS[name][0]]
        if row.remark:
            signs.append(str(numbers.setdefault(row.remark, len(numbers) + 1)))
        signed.append(replace(row, signs=tuple(signs)))
    return tuple(signed)


def legend(rows: Sequence[Row]) -> str:
    if not any(cell.mark for row in rows for cell in row.cells):
        return ""
    apart = [STANDINGS[name][0] for name in STANDINGS if name in {row.standing for row in rows}]
    among = f", {' and '.join(sign for sign in apart if sign)} rows apart" if any(apart) else ""
    return f"by unrounded value{among}; ties share the mark"

"""Curves as a table of the report, the chosen point told in its row; and as one line of blocks each."""

from dataclasses import replace
from itertools import groupby

from nclbench.files import printable
from nclbench.report.cells import Cell, Group, Note, Row, Table
from nclbench.report.table import build as rows_of
from nclbench.results import Results, Value
from nclbench.sweep import Swept
from nclbench.sweep.curves import Curve, Place, Point

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 60


def build(swept: Swept) -> Table:
    """One group a curve, the raw row first. Signatures are those of the chosen points."""
    groups, notes, captions, signatures = [], dict[str, Note](), [], []
    for curve in swept.curves:
        runs = [curve.reference, *(point.run for point in curve.points)]
        plain = rows_of(Results(tuple(runs)), metrics=[curve.metric])
        rows = {row.spec: row for row in plain.rows}
        captions.append(plain.caption)
        signs = {sign for row in plain.rows for sign in row.signs}
        notes |= {note.sign: note for note in plain.notes if note.sign in signs and not note.sign.isdigit()}
        block = [_row(rows[printable(curve.reference.operator.spec)], curve.raw, "", False)]
        for number, point in enumerate(curve.points):
            is_best = number == curve.chosen
            row = _row(rows[printable(point.spec)], point.value, _remark(point, is_best), is_best)
            block.append(row)
            signatures += [row.signature] if is_best else []
        title = printable(f"{curve.selector} {curve.grid.template}")
        groups.append(Group(curve.selector, title, (tuple(block),)))
    return Table(
        caption=f"{captions[0]}, chosen by {swept.select}",
        labels=("spec", "fitted_on", "remark"),
        metrics=(swept.select.metric, "low", "high"),
        groups=tuple(groups),
        notes=tuple(notes.values()),
        legend="",
        signatures=tuple(dict.fromkeys(signatures)),
    )


def _row(row: Row, value: Value | None, remark: str, is_best: bool) -> Row:
    unit = "" if value is None else value.unit
    ends = [Cell("–") if end is None else Cell(shown(end, unit), end) for end in _ends(value)]
    cells = [replace(row.cells[0], mark="best" if is_best else ""), *ends]
    signs = tuple(sign for sign in row.signs if not sign.isdigit())
    return replace(row, cells=tuple(cells), remark=printable(remark), signs=signs)


def _ends(value: Value | None) -> tuple[float | None, float | None]:
    return (None, None) if value is None else (value.low, value.high)


def _remark(point: Point, is_best: bool) -> str:
    return point.failed or ("chosen" if is_best else "within noise" if point.within else "")


def shown(value: float, unit: str) -> str:
    """With the decimals of the report."""
    return f"{value:.3f}" if unit == "fraction" else f"{value:.1f}"


def sentences(swept: Swept) -> list[str]:
    """A line a curve: its picture in blocks, what was chosen, and what would have done as well."""
    return [printable(_sentence(swept, curve)) for curve in swept.curves]


def _sentence(swept: Swept, curve: Curve) -> str:
    start = f"{curve.selector} {curve.grid.template}"
    best = curve.best
    if best is None or best.value is None:
        return f"{start}: nothing could be chosen"
    unit = best.value.unit
    raw = "" if curve.raw is None else f" (raw {shown(curve.raw.value, unit)})"
    said = [f"{start}  {bar(curve)}  {best.spec}: {curve.metric} {shown(best.value.value, unit)}{raw}", curve.flat()]
    said += ["oracle: tuned on the reported split"] if swept.oracle else []
    return "; ".join(filter(None, said))


def line(curve: Curve) -> tuple[int, tuple[Point, ...]]:
    """(axis, points along it): the longest axis with numbers, else the longest, with the others as in the chosen point."""
    axes = curve.grid.axes
    start: Place = curve.best.at if curve.best is not None else curve.points[0].at
    if not axes:
        return 0, curve.points
    along = max(range(len(axes)), key=lambda at: (axes[at].numbers is not None, len(axes[at].values), -at))
    mine = [point for point in curve.points if _others(point.at, along) == _others(start, along)]
    return along, tuple(sorted(mine, key=lambda point: point.at[along]))


def _others(at: Place, along: int) -> Place:
    return at[:along] + at[along + 1 :]


def bar(curve: Curve) -> str:
    """The line of the chosen point: a higher block is a better value, `·` is n/a or not converged, the choice in [ ]."""
    along, points = line(curve)
    values = [point.value.value for point in points if point.value is not None and not point.failed]
    if not values:
        return "·" * min(len(points), _WIDTH)
    low, high = min(values), max(values)
    blocks = []
    for _, several in groupby(enumerate(points), key=lambda pair: pair[0] * _WIDTH // max(len(points), _WIDTH)):
        part = [point for _, point in several]
        fit = [point.value for point in part if point.value is not None and not point.failed]
        block = "·"
        if fit:
            best = (min if fit[0].unit == "rank" else max)(value.value for value in fit)
            share = 1.0 if high == low else (best - low) / (high - low)
            block = _BLOCKS[round(7 * (1 - share if fit[0].unit == "rank" and high > low else share))]
        blocks.append(f"[{block}]" if curve.best in part else block)
    text = "".join(blocks)
    if not curve.grid.axes:
        return text
    axis = curve.grid.axes[along]
    return f"{axis.values[points[0].at[along]]} {text} {axis.values[points[-1].at[along]]}"

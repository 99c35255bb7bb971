"""A table whose rows and columns are chosen: a row for each combination of labels, a column for each direction and metric."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nclbench.errors import UsageError, nearest
from nclbench.files import printable
from nclbench.report.cells import STANDINGS, Cell, Group, Note, Row, Table
from nclbench.report.standing import standings, terms
from nclbench.report.table import Beside, columns, legend, ranked, row_of, signed, tie_rule
from nclbench.results import Results, Run

LABELS = {
    "dataset": "dataset", "split": "split", "model": "model", "scorer": "scorer", "operator": "spec",
    "fitted_on": "fitted_on", "direction": "direction", "protocol": "protocol",
}  # fmt: skip
_ORDER = ("t2v", "v2t", "v2t-videos")
_Terms = Mapping[int, tuple[tuple[str, ...], str]]


def pivot(
    results: Results,
    rows: Sequence[str] | None,
    cols: Sequence[str] | None,
    *,
    decimals: int = 1,
    beside: Beside | None = None,
    notes: Sequence[Note] = (),
) -> Table:
    """rows: names of `LABELS`, by default what tells rows apart. cols: `t2v.R@1`, or `R@1` for every direction.

    UsageError for unknown names, and where two runs would stand in one cell.
    """
    runs = list(results.runs)
    wanted = columns_of(runs, cols)
    labels = _labels(runs, rows)
    grouped: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if any(run.selector == selector for selector, _ in wanted):
            row = row_of(run, ())
            # the dataset is not a label, but figures of two are not set side by side
            key = (run.dataset, run.split, *(printable(getattr(row, name)) for name in labels))
            grouped.setdefault(key, []).append(run)
    numbers: dict[str, int] = {}
    under = terms(runs)
    blocks: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for key, members in grouped.items():
        row = _row(members, wanted, rows or (), decimals, beside, under)
        blocks.setdefault((key[0], key[1]), {}).setdefault(row.standing, []).append(row)
    several = len(blocks) > 1 and not {"dataset", "split"} & set(labels)
    groups = tuple(
        Group("", printable(" ".join(filter(None, name))) if several else "", _marked(found, numbers))
        for name, found in blocks.items()
    )
    every = [row for group in groups for block in group.blocks for row in block]
    shown = {sign for row in every for sign in (*row.signs, *(sign for cell in row.cells for sign in cell.signs))}
    identity = {name: list(dict.fromkeys(getattr(row, name) for row in every)) for name in ("dataset", "split", "model")}
    said = [f"{name} {found[0]}" for name, found in identity.items() if len(found) == 1 and found[0] and name not in labels]
    return Table(
        caption=printable(", ".join([*said, *tie_rule(runs)])),
        labels=labels,
        metrics=tuple(printable(metric) for _, metric in wanted),
        groups=groups,
        notes=(
            *(Note(sign, text) for sign, text in STANDINGS.values() if sign and sign in shown),
            *(Note(str(number), text) for text, number in numbers.items()),
            *notes,
        ),
        legend=legend(every),
        signatures=tuple(dict.fromkeys(printable(run.signature) for members in grouped.values() for run in members)),
        over=tuple(printable(selector) for selector, _ in wanted),
    )


def columns_of(runs: Sequence[Run], cols: Sequence[str] | None) -> list[tuple[str, str]]:
    """Selector and metric of each column."""
    selectors = sorted({run.selector for run in runs}, key=lambda name: (_ORDER.index(name) if name in _ORDER else 9, name))
    found: list[tuple[str, str]] = []
    for name in cols or columns(runs, None):
        selector, dot, metric = name.rpartition(".")
        if dot and selector not in selectors:
            raise UsageError(f"--cols {printable(name)!r}: no run of {printable(selector)!r}{nearest(selector, selectors)}")
        for each in [selector] if dot else selectors:
            own = [run for run in runs if run.selector == each]
            found.append((each, columns(own, [metric])[0]))
    if not any("." in name for name in cols or ()):
        found.sort(key=lambda column: selectors.index(column[0]))
    return list(dict.fromkeys(found))


def _labels(runs: Sequence[Run], rows: Sequence[str] | None) -> tuple[str, ...]:
    for name in rows or ():
        if name not in LABELS:
            raise UsageError(f"--rows: unknown label {printable(name)!r}{nearest(name, LABELS)}")
    if rows:
        return tuple(dict.fromkeys(LABELS[name] for name in rows))
    varying = [name for name in ("dataset", "split", "model") if len({getattr(run, name) for run in runs}) > 1]
    return (*varying, "spec")


def _row(
    members: Sequence[Run],
    wanted: Sequence[tuple[str, str]],
    rows: Sequence[str],
    decimals: int,
    beside: Beside | None,
    under: _Terms,
) -> Row:
    """Several directions as one row; where they stand differently, the cells say how."""
    by_selector: dict[str, Run] = {}
    for run in members:
        other = by_selector.setdefault(run.selector, run)
        if other is not run:
            one, two = row_of(run, ()), row_of(other, ())
            differs = [name for name, own in LABELS.items() if getattr(one, own) != getattr(two, own)]
            hint = f"add {differs[0]} to --rows" if differs else "they are the same run twice"
            if not differs and run.terms != other.terms:
                one_has, two_has = (set(each.terms) - set(than.terms) for each, than in ((other, run), (run, other)))
                hint = f"one is of {', '.join(sorted(one_has))}, one of {', '.join(sorted(two_has))}: make a table of each"
            labels = ", ".join(rows) or "operator"
            raise UsageError(f"two runs of {run.selector} would stand in one row ({labels}); {hint}")
    each = {
        selector: row_of(run, [metric for other, metric in wanted if other == selector], decimals, beside, under[id(run)][1])
        for selector, run in by_selector.items()
    }
    alike = len({standings(run) for run in members}) == 1
    cells = tuple(_cell(each, by_selector, selector, metric, wanted, alike, under) for selector, metric in wanted)
    first = next(iter(each.values()))
    weightiest = max((row.standing for row in each.values()), key=list(STANDINGS).index)
    remarks = {selector: row.remark for selector, row in each.items() if row.remark}
    said = [text if len(by_selector) == 1 else f"{selector} {text}" for selector, text in remarks.items()]
    signature = " ; ".join(dict.fromkeys(row.signature for row in each.values()))
    # signs of the row are those of all its runs: where they differ, each cell has its own
    transductive = alike and first.transductive
    remark = "; ".join(said)
    return replace(
        first, cells=cells, standing=weightiest, remark=remark, signature=signature, transductive=transductive
    )


def _cell(
    each: Mapping[str, Row],
    runs: Mapping[str, Run],
    selector: str,
    metric: str,
    wanted: Sequence[tuple[str, str]],
    alike: bool,
    under: _Terms,
) -> Cell:
    if selector not in each:
        return Cell("–")
    own = [name for other, name in wanted if other == selector]
    cell = each[selector].cells[own.index(metric)]
    signs = () if alike else tuple(STANDINGS[name][0] for name in standings(runs[selector]) if STANDINGS[name][0])
    return replace(cell, signs=signs, standing=each[selector].standing, terms=under[id(runs[selector])][0])


def _marked(found: Mapping[str, list[Row]], numbers: dict[str, int]) -> tuple[tuple[Row, ...], ...]:
    """Blocks in the order of `STANDINGS`. Cells compete that stand alike, under the same terms, wherever their rows do."""
    blocks = [found[standing] for standing in STANDINGS if standing in found]
    rows = [row for block in blocks for row in block]
    marked = [list(cells) for cells in zip(*(row.cells for row in rows), strict=True)]
    for cells in marked:
        for alike in {(cell.standing, cell.terms) for cell in cells if cell.standing}:
            places = [at for at, cell in enumerate(cells) if (cell.standing, cell.terms) == alike]
            for at, cell in zip(places, ranked([cells[at] for at in places]), strict=True):
                cells[at] = cell
    done = iter([replace(row, cells=tuple(cells[at] for cells in marked)) for at, row in enumerate(rows)])
    return tuple(signed([next(done) for _ in block], numbers) for block in blocks)

"""CSV for spreadsheets and scripts: one line a run, unrounded figures, nothing that a spreadsheet would execute."""

import csv
import io
from collections.abc import Iterable, Sequence

from nclbench.files import spreadsheet as guard
from nclbench.report.cells import Cell, Table

KEYS = ("dataset", "split", "model", "scorer", "direction", "protocol", "spec", "fitted_on", "standing")
TAIL = ("unavailable", "remark", "signature")


def render(table: Table) -> str:
    """A header and a line a row. Missing figures are empty cells; what stands beside a figure has columns of its own."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    reported = (name for name in ("backbone", "cited") if name in table.labels)
    keys = (*table.labels, "standing") if table.over else (*KEYS, *reported)
    over = [f"{title}." for title in table.over] or [""] * len(table.metrics)
    names = [f"{title}{metric}" for title, metric in zip(over, table.metrics, strict=True)]
    extras = [list(dict.fromkeys(name for row in table.rows for name in _beside(row.cells[at]))) for at in range(len(names))]
    heads = [[name, *(f"{name} {extra}" for extra in more)] for name, more in zip(names, extras, strict=True)]
    writer.writerow([*keys, *(guard(head) for several in heads for head in several), *TAIL])
    for row in table.rows:
        figures = [
            _plain(value)
            for cell, more in zip(row.cells, extras, strict=True)
            for value in (cell.value, *(_beside(cell).get(name) for name in more))
        ]
        texts = [[guard(getattr(row, name)) for name in fields] for fields in (keys, TAIL)]
        writer.writerow([*texts[0], *figures, *texts[1]])
    return stream.getvalue()


def _beside(cell: Cell) -> dict[str, float | str]:
    return {name: value for extra in cell.extras for name, value in extra.values.items()}


def _plain(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def lines(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header and rows of texts, which are guarded, and figures, which read back to the same bits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([guard(value) if isinstance(value, str) else "" if value is None else repr(value) for value in row])
    return stream.getvalue()

"""Markdown that reads well as plain text too: aligned pipe tables, bold best, underlined second best."""

import re
from collections.abc import Sequence

from nclbench.files import printable
from nclbench.report.cells import Cell, Row, Table

_SPECIAL = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line and inside one cell. Underscores within words need no escape."""
    return _SPECIAL.sub(r"\\\g<0>", printable(text))


def render(table: Table) -> str:
    """One pipe table a group, then notes, then the signatures."""
    over = table.over or ("",) * len(table.metrics)
    metrics = [f"{title} {metric}".strip() for title, metric in zip(over, table.metrics, strict=True)]
    heads = [escape(head) for head in (*table.heads, *metrics)]
    bodies = [[_cells(table, row) for block in group.blocks for row in block] for group in table.groups]
    widths = [max(map(len, column)) for column in zip(heads, *(row for body in bodies for row in body), strict=True)]
    right = [False] * len(table.labels) + [True] * len(table.metrics)
    ruler = [f"{'-' * (width - is_right)}{':' * is_right}" for width, is_right in zip(widths, right, strict=True)]
    parts = [escape(table.caption)] if table.caption else []
    for group, body in zip(table.groups, bodies, strict=True):
        parts += [f"**{escape(group.title)}**"] if group.title else []
        parts.append("\n".join(_line(cells, widths, right) for cells in (heads, ruler, *body)))
    notes = [f"- **best** and <u>second best</u> {table.legend}"] if table.legend else []
    notes += [" ".join(filter(None, ["-", _sign(note.sign), escape(note.text)])) for note in table.notes]
    if notes:
        parts.append("\n".join(notes))
    if table.signatures:
        fence = "`" * max(3, *(len(run) + 1 for line in table.signatures for run in re.findall("`+", line) or [""]))
        parts.append("\n".join([f"{fence}text", *table.signatures, fence]))
    return "\n\n".join(parts) + "\n"


def _cells(table: Table, row: Row) -> list[str]:
    labels = [escape(getattr(row, name)) for name in table.labels]
    if row.signs:
        at = table.labels.index(table.signed)
        labels[at] = " ".join([labels[at], *map(_sign, row.signs)])
    return [*labels, *map(_figure, row.cells)]


def _figure(cell: Cell) -> str:
    figure = {"best": f"**{cell.text}**", "second": f"<u>{cell.text}</u>"}.get(cell.mark, escape(cell.text))
    extras = (" ".join([escape(extra.text), *map(_sign, extra.signs)]) for extra in cell.extras)
    return " ".join([figure, *map(_sign, cell.signs), *extras])


def _sign(sign: str) -> str:
    return f"({sign})" if sign.isdigit() else escape(sign)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if is_right else cell.ljust(width)
        for cell, width, is_right in zip(cells, widths, right, strict=True)
    ]
    return f"| {' | '.join(padded)} |"

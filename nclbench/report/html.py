"""HTML to paste into a page: one table, no script, no style sheet, every name as plain text.

Figures are aligned and blocks ruled off by attributes, which survive where styles are taken away.
"""

from html import escape as safe

from nclbench.files import printable
from nclbench.report.cells import Cell, Row, Table

_MARKS = {"best": "<b>{}</b>", "second": "<u>{}</u>", "": "{}"}


def escape(text: str) -> str:
    """Text that a browser shows as it is."""
    return safe(printable(text), quote=True)


def render(table: Table) -> str:
    """A `<table>` with a body for each block, then the notes and the signatures."""
    width = len(table.labels) + len(table.metrics)
    lines = ['<table class="nclbench" rules="groups">']
    lines += [f"<caption>{escape(table.caption)}</caption>"] if table.caption else []
    lines.append("<thead>")
    if table.over:
        over = "".join(f'<th colspan="{count}">{escape(title)}</th>' for title, count in table.spans)
        lines.append(f'<tr><th colspan="{len(table.labels)}"></th>{over}</tr>')
    heads = "".join(f'<th align="left">{escape(head)}</th>' for head in table.heads)
    heads += "".join(f'<th align="right">{escape(head)}</th>' for head in table.metrics)
    lines += [f"<tr>{heads}</tr>", "</thead>"]
    for group in table.groups:
        if group.title:
            lines.append(f'<tbody><tr><th align="left" colspan="{width}">{escape(group.title)}</th></tr></tbody>')
        for block in group.blocks:
            lines += ["<tbody>", *(_row(table, row) for row in block), "</tbody>"]
    lines.append("</table>")
    notes = [f"<b>best</b> and <u>second best</u> {escape(table.legend)}"] if table.legend else []
    notes += [f"{_raised((note.sign,))} {escape(note.text)}" if note.sign else escape(note.text) for note in table.notes]
    if notes:
        lines += ["<ul>", *(f"<li>{note}</li>" for note in notes), "</ul>"]
    if table.signatures:
        lines.append(f"<pre>{chr(10).join(map(escape, table.signatures))}</pre>")
    return "\n".join(lines) + "\n"


def _row(table: Table, row: Row) -> str:
    labels = [escape(getattr(row, name)) + (_raised(row.signs) if name == table.signed else "") for name in table.labels]
    cells = [*(f"<td>{label}</td>" for label in labels), *(f'<td align="right">{_figure(cell)}</td>' for cell in row.cells)]
    return f"<tr>{''.join(cells)}</tr>"


def _figure(cell: Cell) -> str:
    extras = (f" <small>{escape(extra.text)}{_raised(extra.signs)}</small>" for extra in cell.extras)
    return _MARKS[cell.mark].format(escape(cell.text)) + _raised(cell.signs) + "".join(extras)


def _raised(signs: tuple[str, ...]) -> str:
    return f"<sup>{escape(','.join(signs))}</sup>" if signs else ""

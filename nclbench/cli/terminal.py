"""Tables for people: rich, with names never read as markup, figures never cut, and no escape codes in piped data."""

import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from nclbench.cli.streams import is_positive, styled
from nclbench.report.cells import Cell, Group, Row, Table

_NARROWEST = 12
_GAP = 2
_UNBOUNDED = 100_000
_STYLES = {"best": "bold", "second": "underline", "": ""}
_PLAIN = {"best": "*{}*", "second": "_{}_", "": "{}"}
_LINES = Box("    \n    \n ── \n    \n ╌╌ \n    \n    \n    \n")
_BREAKS = re.compile(r"[^,:+_ ]*[,:+_ ]+|[^,:+_ ]+")


def stdout_console() -> Console:
    """Standard output. Escape codes as `streams.styled` says.

    NO_COLOR takes the colours and leaves bold and underline. A pipe has no width: nothing is wrapped there unless
    COLUMNS says where. What makes rich and typer colour in continuous integration is not asked.
    """
    coded = styled(sys.stdout)
    bounded = sys.stdout.isatty() or is_positive(os.environ.get("COLUMNS", ""))
    return Console(
        force_terminal=coded,
        color_system="auto" if coded else None,
        no_color=bool(os.environ.get("NO_COLOR")) or os.environ.get("FORCE_COLOR") == "0",
        width=None if bounded else _UNBOUNDED,
        markup=False,
        highlight=False,
        emoji=False,
    )


def plain(table: Table) -> str:
    """The table for a text file: as a terminal of any width would show it, without escape codes."""
    stream = io.StringIO()
    show(table, Console(file=stream, force_terminal=False, color_system=None, width=_UNBOUNDED, highlight=False))
    return stream.getvalue()


def show(table: Table, console: Console) -> None:
    """Prints the table, its notes and its signatures.

    Where a line is too narrow the labels wrap first; then the figures are split over tables below each other.
    Signatures are left to the terminal to wrap, so that they can be copied whole.
    """
    styled = console.color_system is not None
    labels = _label_widths(table, console.width)
    figures = _figure_widths(table, styled)
    if table.caption:
        console.print(Text(table.caption))
    for group in table.groups:
        console.print()
        if group.title:
            console.print(Text(group.title, style="bold cyan"))
        least = sum(min(width, _NARROWEST) + _GAP for width in labels)
        for number, columns in enumerate(_chunks(figures, console.width - least)):
            if number:
                console.print()
            room = console.width - sum(figures[at] + _GAP for at in columns) - _GAP * (len(labels) - 1)
            console.print(_grid(table, group, squeezed(labels, room), {at: figures[at] for at in columns}, styled))
    _show_notes(table, console, styled)
    for number, line in enumerate(table.signatures):
        text = Text("" if number else "\n", overflow="fold").append(line, style="dim")
        console.print(text, soft_wrap=not console.record)


def _grid(table: Table, group: Group, labels: Sequence[int], figures: dict[int, int], styled: bool) -> Grid:
    grid = Grid(box=_LINES, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0), header_style="dim")
    for head, width in zip(table.heads, labels, strict=True):
        grid.add_column(Text(head), width=width, overflow="fold")
    for at, width in figures.items():
        grid.add_column(Text(_head(table, at)), width=width, justify="right", no_wrap=True)
    for block in group.blocks:
        for row in block:
            texts = [_label(table, row, name, width) for name, width in zip(table.labels, labels, strict=True)]
            grid.add_row(*texts, *(_figure(row.cells[at], styled) for at in figures))
        grid.add_section()
    return grid


def _head(table: Table, at: int) -> str:
    return f"{table.over[at]} {table.metrics[at]}".strip() if table.over else table.metrics[at]


def _label(table: Table, row: Row, name: str, width: int) -> Text:
    """A label, broken behind punctuation where it does not fit, with its signs."""
    signs = _signs(table, row, name)
    lines = [""]
    for part in _BREAKS.findall(getattr(row, name) + signs):
        if lines[-1] and cell_len(lines[-1]) + cell_len(part.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += part
    text = Text("\n".join(lines))
    if signs:
        text.stylize("cyan", len(text) - len(signs))
    return text


def _signs(table: Table, row: Row, name: str) -> str:
    return "".join(f" {_sign(sign)}" for sign in row.signs) if name == table.signed else ""


def _sign(sign: str) -> str:
    return f"({sign})" if sign.isdigit() else sign


def _figure(cell: Cell, styled: bool) -> Text:
    if cell.value is None:
        return Text(cell.text, style="dim")
    text = Text(cell.text, style=_STYLES[cell.mark]) if styled else Text(_PLAIN[cell.mark].format(cell.text))
    signs = [(f" {_sign(sign)}", "cyan") for sign in cell.signs]
    for extra in cell.extras:
        signs += [(f" {extra.text}", "dim"), *((f" {_sign(sign)}", "cyan") for sign in extra.signs)]
    return Text.assemble(text, *signs)


def _label_widths(table: Table, most: int) -> list[int]:
    return [
        min(most, max(cell_len(head), *(cell_len(getattr(row, name) + _signs(table, row, name)) for row in table.rows), 1))
        for name, head in zip(table.labels, table.heads, strict=True)
    ]


def _figure_widths(table: Table, styled: bool) -> list[int]:
    return [
        max(cell_len(_head(table, at)), *(cell_len(_figure(row.cells[at], styled).plain) for row in table.rows), 1)
        for at in range(len(table.metrics))
    ]


def _chunks(figures: Sequence[int], room: int) -> Iterator[list[int]]:
    """Columns that stand side by side; at least one."""
    chunk: list[int] = []
    for at, width in enumerate(figures):
        if chunk and sum(figures[other] + _GAP for other in chunk) + width > room:
            yield chunk
            chunk = []
        chunk.append(at)
    yield chunk


def squeezed(labels: Sequence[int], room: int) -> list[int]:
    """The widths that fit, taken from the widest first: figures are never cut, labels can be read at any width."""
    widths = list(labels)
    while sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _show_notes(table: Table, console: Console, styled: bool) -> None:
    if table.legend or table.notes:
        console.print()
    if table.legend:
        best, second = (("best", "bold"), ("second best", "underline")) if styled else ("*best*", "_second best_")
        console.print(Text.assemble(best, " and ", second, f" {table.legend}"))
    for note in table.notes:
        sign = f"{_sign(note.sign)} " if note.sign else ""
        lines = textwrap.wrap(
            note.text, console.width, initial_indent=sign, subsequent_indent=" " * len(sign), break_on_hyphens=False
        )
        console.print(Text("\n".join(lines)), soft_wrap=True)

"""The hubness report on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from nclbench.cli.terminal import squeezed

if TYPE_CHECKING:
    from nclbench.audit.sections import Section

_GAP, _READABLE = 2, 30
_VERDICTS = {"ok": "green", "warn": "yellow", "fail": "bold red", "info": "dim"}


def show(sections: "Sequence[Section]", console: Console) -> None:
    """Prints the sections; names are never read as markup."""
    for number, section in enumerate(sections):
        if number:
            console.print()
        console.print(Text(section.title, style="bold cyan"))
        if section.rows and _cramped(section, console.width):
            _stack(section, console)
        elif section.rows:
            grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
            first = len(section.heads) - section.right
            for at, head in enumerate(section.heads):
                grid.add_column(Text(head), justify="right" if at >= first else "left", overflow="fold")
            for row in section.rows:
                grid.add_row(*(_cell(text) for text in row))
            console.print(grid)
        for line in section.lines:
            console.print(Text(line, style="bold" if line.startswith("try:") else "dim"))


def _natural(section: "Section") -> list[int]:
    return [max(cell_len(row[at]) for row in (section.heads, *section.rows)) for at in range(len(section.heads))]


def _cramped(section: "Section", width: int) -> bool:
    """Whether figures leave so little room that sentences would be broken into columns of single words."""
    widths, first = _natural(section), len(section.heads) - section.right
    room = width - sum(widths[first:]) - _GAP * (len(widths) - 1) - (sum(widths[:first]) - max(widths[:first]))
    return room < min(_READABLE, max(widths[:first]))


def _stack(section: "Section", console: Console) -> None:
    """Each row's words on a line of their own, its figures in columns below."""
    first = len(section.heads) - section.right
    widths = squeezed(_natural(section)[first:], console.width - _GAP * section.right)
    _figures(widths, section.heads[first:], console, "dim")
    for row in section.rows:
        # verdicts are one word each, and stand in one column
        words = [_cell(text) for text in row[:first]]
        words[0].pad_right(max(0, max(cell_len(other[0]) for other in section.rows) - cell_len(row[0])))
        console.print(Text("  ").join(words))
        _figures(widths, row[first:], console)


def _figures(widths: "Sequence[int]", texts: "Sequence[str]", console: Console, style: str = "") -> None:
    grid = Grid(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    for width in widths:
        grid.add_column(width=width, justify="right", overflow="fold")
    grid.add_row(*(Text(text, style=style) if style else _cell(text) for text in texts))
    console.print(Padding(grid, (0, 0, 0, _GAP)))


def _cell(text: str) -> Text:
    """A verdict in its colour, whether it is all of the cell or its last word."""
    found = Text(text)
    last = text.rpartition(" ")[2]
    if last in _VERDICTS:
        found.stylize(_VERDICTS[last], len(text) - len(last))
    return found

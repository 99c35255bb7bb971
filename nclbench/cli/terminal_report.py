"""The hubness report on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

if TYPE_CHECKING:
    from nclbench.audit.sections import Section

_VERDICTS = {"ok": "green", "warn": "yellow", "fail": "bold red", "info": "dim"}


def show(sections: "Sequence[Section]", console: Console) -> None:
    """Prints the sections; names are never read as markup."""
    for number, section in enumerate(sections):
        if number:
            console.print()
        console.print(Text(section.title, style="bold cyan"))
        if section.rows:
            grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
            first = len(section.heads) - section.right
            for at, head in enumerate(section.heads):
                grid.add_column(Text(head), justify="right" if at >= first else "left", overflow="fold")
            for row in section.rows:
                grid.add_row(*(_cell(text) for text in row))
            console.print(grid)
        for line in section.lines:
            console.print(Text(line, style="bold" if line.startswith("try:") else "dim"))


def _cell(text: str) -> Text:
    """A verdict in its colour, whether it is all of the cell or its last word."""
    found = Text(text)
    last = text.rpartition(" ")[2]
    if last in _VERDICTS:
        found.stylize(_VERDICTS[last], len(text) - len(last))
    return found

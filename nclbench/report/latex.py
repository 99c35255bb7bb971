r"""LaTeX for a paper: one booktabs `tabular` to \input, bold best, underlined second best, every name as plain text.

The notes are set beneath it, except inside a box such as \resizebox, where they would stand beside the table.
The signatures are comments. As a float they stand within it, under the caption.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nclbench.errors import UsageError
from nclbench.files import printable
from nclbench.report.cells import Cell, Note, Row, Table

if TYPE_CHECKING:
    import pandas

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\char34{}",
        "`": r"\char96{}",
        "–": r"\textendash{}",
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
        "\ufffd": "?",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)
_LIGATURES = re.compile(r"([-',])(?=\1)")
_MINUS = re.compile(r"(?<!\S)-(?=\d)")
_SIGNS = {"†": r"\dagger", "‡": r"\ddagger", "§": r"\S", "¶": r"\P", "*": "*", "n.s.": r"\mathrm{n.s.}"}
_NUMBER = re.compile(r"\d+(\.\d+)?")
_LABEL = re.compile(r"[A-Za-z0-9:.\-_]*")
_SETS = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}


def escape(text: str) -> str:
    """Text that LaTeX sets as it is: nothing in it can act as a command, or end a cell, a row or a comment."""
    line = "".join(c for c in " ".join(text.splitlines()) if c.isprintable())
    return _LIGATURES.sub(r"\1{}", line.translate(_ESCAPES))


@dataclass(frozen=True)
class Layout:
    """siunitx: figures in `S` columns. float: a `table` environment with this caption and label around it."""

    siunitx: bool = False
    float: bool = False
    caption: str = ""
    label: str = ""


_BARE = Layout()


def render(table: Table, layout: Layout = _BARE) -> str:
    """pandas' Styler makes the `tabular`; headings of the groups and rules between the blocks go in between.

    UsageError where figures in `S` columns would have something beside them, or a label is none.
    """
    if layout.siunitx and any(cell.extras for row in table.rows for cell in row.cells):
        raise UsageError("siunitx aligns bare figures; leave out --siunitx, or what stands beside the figures")
    if not _LABEL.fullmatch(layout.label):
        raise UsageError(f"--label {printable(layout.label)!r}: use letters, digits and any of : . - _")
    styled = _styled(table, layout).splitlines()
    head, rows, tail = [*styled[:2], *_spans(table), *styled[2:4]], iter(styled[4:-2]), styled[-2:]
    width = len(table.labels) + len(table.metrics)
    body: list[str] = []
    for group in table.groups:
        body += [r"\midrule"] if body else []
        if group.title:
            body.append(rf"\multicolumn{{{width}}}{{@{{}}l}}{{\emph{{{escape(group.title)}}}}} \\")
        for number, block in enumerate(group.blocks):
            body += [rf"\cmidrule{{1-{width}}}"] if number else []
            body += [next(rows) for _ in block]
    needs = "needs booktabs and siunitx" if layout.siunitx else "needs booktabs"
    comments = [f"% {printable(text)}" for text in (needs, table.caption, *table.signatures) if text]
    before, after = [], []
    if layout.float:
        titles = [rf"\caption{{{escape(layout.caption)}}}"] * bool(layout.caption)
        before = [r"\begin{table}", r"\centering", *titles, *[rf"\label{{{layout.label}}}"] * bool(layout.label)]
        after = [r"\end{table}"]
    lines = [*comments, *before, *head, *body, *tail[:-1], tail[-1] + "%", *_beneath(table, layout.float), *after]
    return "\n".join(lines) + "\n"


def _spans(table: Table) -> list[str]:
    """A line of titles over the columns, with a rule under each."""
    if not table.over:
        return []
    cells, rules, at = [""] * len(table.labels), [], len(table.labels) + 1
    for title, width in table.spans:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(title)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    return [rf"{' & '.join(cells)} \\", " ".join(rules)]


def _styled(table: Table, layout: Layout) -> str:
    import pandas

    width = len(table.labels) + len(table.metrics)
    cells = pandas.DataFrame([_cells(table, row) for row in table.rows], columns=range(width))
    heads, formats = [escape(head) for head in (*table.heads, *table.metrics)], ["r"] * len(table.metrics)
    if layout.siunitx:
        heads[len(table.labels) :] = [f"{{{head}}}" for head in heads[len(table.labels) :]]
        for at in range(len(table.metrics)):
            formats[at] = _aligned(cells, len(table.labels) + at, [row.cells[at] for row in table.rows])
    # pandas takes a name for a format of it
    names = [head.replace("{", "{{").replace("}", "}}") for head in heads]
    style = cells.style.hide(axis="index").relabel_index(names, axis="columns")
    return str(style.to_latex(hrules=True, column_format="l" * len(table.labels) + "".join(formats)))


def _aligned(cells: "pandas.DataFrame", at: int, column: Sequence[Cell]) -> str:
    """The format of an `S` column. What is no bare number goes into braces, padded to where its digits would stand."""
    figures = [cell.text for cell in column if _NUMBER.fullmatch(cell.text)]
    whole = max((len(text.partition(".")[0]) for text in figures), default=1)
    places = max((len(text.partition(".")[2]) for text in figures), default=0)
    for line, cell in enumerate(column):
        if cell.mark or cell.signs or not _NUMBER.fullmatch(cell.text):
            pad = whole - len(cell.text.partition(".")[0]) if cell.value is not None else 0
            cells.iloc[line, at] = "{" + rf"\phantom{{{'0' * pad}}}" * (pad > 0) + _figure(cell) + "}"
    return f"S[table-format={whole}.{places}]"


def _cells(table: Table, row: Row) -> list[str]:
    labels = {name: escape(getattr(row, name)) for name in table.labels}
    if row.cited and "cited" in labels:
        labels["cited"] = rf"\cite{{{row.cited}}}"
    if row.signs:
        labels[table.signed] += _raised(*row.signs)
    return [*labels.values(), *map(_figure, row.cells)]


def _figure(cell: Cell) -> str:
    """The figure as it is marked, its signs, and in small print what stands beside it."""
    text = _SETS[cell.mark].format(_number(cell.text)) + (_raised(*cell.signs) if cell.signs else "")
    extras = (_number(extra.text) + (_raised(*extra.signs) if extra.signs else "") for extra in cell.extras)
    return text + "".join(rf" {{\scriptsize {extra}}}" for extra in extras)


def _number(text: str) -> str:
    """A figure with a minus where `escape` leaves a hyphen."""
    return _MINUS.sub("$-$", escape(text))


def _raised(*signs: str) -> str:
    single = len(signs) == 1 and signs[0] in _SIGNS
    text = ",".join(_SIGNS.get(sign, escape(sign)) for sign in signs)
    return f"$^{text}$" if single else f"$^{{{text}}}$"


def _beneath(table: Table, floating: bool) -> list[str]:
    """The notes. TeX takes a float for a box too, but there the tabular does not stand beside anything."""
    notes = [rf"\textbf{{Best}} and \underline{{second best}} {_text(table.legend)}"] if table.legend else []
    notes += [_note(note) for note in table.notes]
    if not notes:
        return []
    start, end = (r"\par", "%") if floating else (r"\ifinner\else\par", r"\fi%")
    text = "\\\\\n".join(notes)
    return [rf"{start}\smallskip\noindent\parbox{{\linewidth}}{{\footnotesize\raggedright", f"{text}}}{end}"]


def _note(note: Note) -> str:
    return f"{_raised(note.sign)} {escape(note.text)}" if note.sign else escape(note.text)


def _text(legend: str) -> str:
    return "".join(f"$^{_SIGNS[c]}$" if c in _SIGNS else c for c in legend)

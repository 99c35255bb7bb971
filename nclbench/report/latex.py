r"""LaTeX for a paper: one booktabs `tabular` to \input, bold best, underlined second best, every name as plain text.

The notes are set beneath it, except inside a box such as \resizebox, where they would stand beside the table.
The signatures are comments.
"""

import re

from nclbench.files import printable
from nclbench.report.cells import Cell, Note, Row, Table

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
_SIGNS = {"†": r"\dagger", "‡": r"\ddagger", "§": r"\S", "*": "*", "n.s.": r"\mathrm{n.s.}"}
_MARKS = {"best": "textbf:--rwrap;", "second": "underline:--rwrap;", "": ""}


def escape(text: str) -> str:
    """Text that LaTeX sets as it is: nothing in it can act as a command, or end a cell, a row or a comment."""
    line = "".join(c for c in " ".join(text.splitlines()) if c.isprintable())
    return _LIGATURES.sub(r"\1{}", line.translate(_ESCAPES))


def render(table: Table) -> str:
    """pandas' Styler makes the `tabular`; headings of the groups and rules between the blocks go in between."""
    styled = _styled(table).splitlines()
    head, rows, tail = styled[:4], iter(styled[4:-2]), styled[-2:]
    width = len(table.labels) + len(table.metrics)
    body: list[str] = []
    for group in table.groups:
        body += [r"\midrule"] if body else []
        body.append(rf"\multicolumn{{{width}}}{{@{{}}l}}{{\emph{{{escape(group.title)}}}}} \\")
        for number, block in enumerate(group.blocks):
            body += [rf"\cmidrule{{1-{width}}}"] if number else []
            body += [next(rows) for _ in block]
    comments = [f"% {printable(text)}" for text in ("needs booktabs", table.caption, *table.signatures) if text]
    return "\n".join([*comments, *head, *body, *tail[:-1], tail[-1] + "%", *_beneath(table)]) + "\n"


def _styled(table: Table) -> str:
    import pandas

    rows = table.rows
    columns = range(len(table.labels) + len(table.metrics))
    cells = pandas.DataFrame([_cells(table, row) for row in rows], columns=columns)
    plain = [""] * len(table.labels)
    marks = pandas.DataFrame([[*plain, *(_MARKS[cell.mark] for cell in row.cells)] for row in rows], columns=columns)
    style = cells.style.hide(axis="index").apply(lambda _: marks, axis=None)
    style = style.relabel_index([escape(head) for head in (*table.heads, *table.metrics)], axis="columns")
    layout = "l" * len(table.labels) + "r" * len(table.metrics)
    return str(style.to_latex(hrules=True, column_format=layout))


def _cells(table: Table, row: Row) -> list[str]:
    labels = {name: escape(getattr(row, name)) for name in table.labels}
    if row.signs:
        labels["spec"] += _raised(*row.signs)
    return [*labels.values(), *map(_figure, row.cells)]


def _figure(cell: Cell) -> str:
    return _MINUS.sub("$-$", escape(cell.text)) + (_raised(*cell.signs) if cell.signs else "")


def _raised(*signs: str) -> str:
    single = len(signs) == 1 and signs[0] in _SIGNS
    text = ",".join(_SIGNS.get(sign, escape(sign)) for sign in signs)
    return f"$^{text}$" if single else f"$^{{{text}}}$"


def _beneath(table: Table) -> list[str]:
    notes = [rf"\textbf{{Best}} and \underline{{second best}} {_text(table.legend)}"] if table.legend else []
    notes += [_note(note) for note in table.notes]
    if not notes:
        return []
    text = "\\\\\n".join(notes)
    return [r"\ifinner\else\par\smallskip\noindent\parbox{\linewidth}{\footnotesize\raggedright", f"{text}}}\\fi%"]


def _note(note: Note) -> str:
    return f"{_raised(note.sign)} {escape(note.text)}" if note.sign else escape(note.text)


def _text(legend: str) -> str:
    return "".join(f"$^{_SIGNS[c]}$" if c in _SIGNS else c for c in legend)

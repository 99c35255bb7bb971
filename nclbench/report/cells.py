"""What a table is made of: plain, printable cells, and nothing that knows how they came about or how they will look.

Rows stand in groups (a direction and protocol each) and groups in blocks. Only the rows of a block compete for best
and second best: one dataset, one tie rule and size, and one standing, so that a transductive or oracle row is never set
against the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Mark = Literal["", "best", "second"]

HEADS = {"spec": "operator", "fitted_on": "fitted on", "cited": "reported in"}
STANDINGS = {
    "inductive": ("", ""),
    "folds": ("§", "fitted on the other folds of the queries that are ranked; ranked apart"),
    "transductive": ("†", "transductive: fitted on the test queries together; ranked apart"),
    "oracle": ("‡", "oracle: chosen with the labels of the reported split; ranked apart"),
}


@dataclass(frozen=True)
class Extra:
    """What stands beside a figure in small print: a difference or an interval. values: unrounded, by name."""

    text: str
    values: Mapping[str, float | str]
    signs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One figure. value: unrounded, None where there is none; mark: its place among the rows of its block.

    signs: what stands behind the figure, each explained in a note; standing, terms: those of its run, where a row has several.
    """

    text: str
    value: float | None = None
    unit: str = ""
    mark: Mark = ""
    signs: tuple[str, ...] = ()
    standing: str = ""
    terms: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()


@dataclass(frozen=True)
class Row:
    """One run; every text is printable. remark: what is worth saying; signs: what stands behind the operator.

    standing: one of `STANDINGS`, or published. unavailable: why there is no figure. backbone and cited, a BibTeX key: of
    published rows alone.
    """

    dataset: str
    split: str
    model: str
    scorer: str
    direction: str
    protocol: str
    spec: str
    fitted_on: str
    standing: str
    transductive: bool
    unavailable: str
    remark: str
    signature: str
    cells: tuple[Cell, ...]
    signs: tuple[str, ...] = ()
    metric: str = ""
    against: str = ""
    backbone: str = ""
    cited: str = ""


@dataclass(frozen=True)
class Group:
    """The rows of one direction and protocol, in blocks of rows that compete with each other."""

    selector: str
    title: str
    blocks: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True)
class Note:
    """What one sign means."""

    sign: str
    text: str


@dataclass(frozen=True)
class Table:
    """labels: the fields of `Row` shown as columns; legend: how best and second best were chosen, if any is marked.

    over: a title over each metric, equal neighbours sharing it; empty where there is none.
    """

    caption: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[Note, ...]
    legend: str
    signatures: tuple[str, ...]
    over: tuple[str, ...] = ()

    @property
    def signed(self) -> str:
        """The label that carries the signs of a row."""
        return "spec" if "spec" in self.labels else self.labels[-1]

    @property
    def spans(self) -> list[tuple[str, int]]:
        """Titles over the metrics and how many columns each has; empty where there are none."""
        return [(title, len(list(columns))) for title, columns in groupby(self.over)]

    @property
    def heads(self) -> tuple[str, ...]:
        """Titles of the label columns."""
        return tuple(HEADS.get(name, name) for name in self.labels)

    @property
    def rows(self) -> list[Row]:
        """All rows in the order of the table."""
        return [row for group in self.groups for block in group.blocks for row in block]

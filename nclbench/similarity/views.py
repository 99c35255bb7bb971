"""Which collection against which: the similarities that an operator may look at, and a record of what it looked at."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from nclbench.errors import NotAvailable
from nclbench.folds import DRAWN_FROM
from nclbench.plan import SUMS, Plan
from nclbench.problem import MIRROR, Embeddings, Problem
from nclbench.scorers import scorers
from nclbench.similarity.bases import Embedded
from nclbench.similarity.compounds import Beside
from nclbench.similarity.halves import Halves
from nclbench.similarity.interfaces import Reducer
from nclbench.similarity.looks import across, of_file
from nclbench.similarity.maps import TileMap
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View

_A = {"query_bank": "a query bank", "item_bank": "an item bank"}


@dataclass(eq=False)
class Views:
    """The similarities of one direction. `reverse` makes it v2t, where items ask and the item bank is the query bank.

    looked: (rows, columns, across) of every reduction: across means that a value mixed several rows. folds: of how many
    the bank is all but one, 0 for a bank of its own.
    """

    bases: Bases
    reverse: bool = False
    folds: int = 0
    looked: set[tuple[str, str, bool]] = field(default_factory=set)

    @property
    def plan(self) -> Plan:
        return self.bases.plan

    @property
    def problem(self) -> Problem:
        return self.bases.problem

    def side(self, role: str) -> Embeddings | None:
        """The collection that plays this role in this direction."""
        return self.problem.role(MIRROR[role] if self.reverse else role)

    def view(self, rows: str, columns: str) -> View:
        """Roles as this direction names them -> the plain view."""
        if not self.reverse:
            return View(self.bases.base(rows, columns))
        # the base is made the way round in which the input holds it, so both directions share one pass
        return View(self.bases.base(MIRROR[columns], MIRROR[rows]), reverse=True)

    def has(self, rows: str, columns: str) -> bool:
        return self.bases.has(MIRROR[columns], MIRROR[rows]) if self.reverse else self.bases.has(rows, columns)

    def vectors(self, role: str, across: tuple[str, str] | None = None) -> Tensor:
        """The prepared vectors of a collection. across: (rows, columns) whose scores are learnt from with them."""
        role = MIRROR[role] if self.reverse else role
        side = self.problem.role(DRAWN_FROM[role] if role in self.bases.drawn else role)
        if side is None or side.vectors is None or self.problem.scored_by == "stored":
            raise NotAvailable(f"it needs embeddings of the {role.replace('_', ' ')}, not scores alone")
        if across is not None:
            self.looked.add((*across, True))
        return self.bases.vectors(role)

    def needing(self, rows: str, columns: str) -> "Watched":
        """As `watched`; NotAvailable where the input cannot give it."""
        if not self.has(rows, columns):
            mirrored = [MIRROR[role] if self.reverse else role for role in (rows, columns)]
            missing = next((role for role in mirrored if self.problem.role(role) is None), None)
            if missing is not None:
                raise NotAvailable(f"it needs {_A[missing]}, and the input has none")
            raise NotAvailable(f"it needs the scores of the {' against the '.join(mirrored).replace('_', ' ')}")
        return self.watched(rows, columns)

    def beside(self, rows: str, left: str, right: str) -> "Watched":
        """Rows against two collections of columns, one after the other."""
        parts = [self.needing(rows, columns).view for columns in (left, right)]
        return Watched(View(Beside(*parts)), rows, f"{left}+{right}", self.looked)

    def watched(self, rows: str, columns: str) -> "Watched":
        return Watched(self.view(rows, columns), rows, columns, self.looked)

    def fitting(self, fit: str) -> "Watched":
        """What an operator is fitted on. fit: bank | test | auto (the bank if there is one for this direction)."""
        banked = self.has("query_bank", "items")
        if fit == "bank" and not banked:
            kind = f"{_A['item_bank']} for v2t" if self.reverse else f"{_A['query_bank']} for t2v"
            raise NotAvailable(f"fit=bank needs {kind}, and the input has none; give --bank FILE or folds=5")
        return self.watched("query_bank" if banked and fit != "test" else "queries", "items")

    def through(self, fitted: TileMap | None, moved: Tensor | None = None) -> View:
        """The test scores as an operator shows them. moved: (M, D) vectors that take the place of the items'."""
        plain = self.view("queries", "items")
        if moved is not None:
            scorer = scorers.parse(self.problem.scorer)
            plain = View(Embedded(self.vectors("queries"), moved, scorer, self.plan))
        return replace(plain, map=fitted)

    def mass(self, role: str) -> Tensor | None:
        """The masses that the user declared for a collection, (N,)."""
        side = self.side(role)
        return None if side is None or side.weight is None else self.plan.put(side.weight, SUMS)

    def loaded(self, fitted_on: str) -> None:
        """Notes what something read from a file was learnt from, as the file says: `query-bank`, `test-queries`, …"""
        self.looked |= of_file(fitted_on)

    @property
    def seen(self) -> set[tuple[str, str, bool]]:
        """What this operator looked at, and what the scores that it was given had been adjusted with."""
        return self.looked | self.bases.looked | of_file(self.problem.fitted_on)

    @property
    def transductive(self) -> bool:
        """Whether something was learnt from several test queries together."""
        test = ("queries", "file(test-queries)", "file(unknown)")
        return any(rows in test and across for rows, _, across in self.seen)

    @property
    def bank_sizes(self) -> dict[str, int]:
        """Rows of the banks that are named in `fitted_on`."""
        found = {"query-bank": self.problem.query_bank, "item-bank": self.problem.item_bank}
        return {name: len(side) for name, side in found.items() if side is not None and name in self.fitted_on.split("+")}

    @property
    def fitted_on(self) -> str:
        """What an operator learnt from several rows of; a query's own row is no fitting."""
        names = {"queries": "test-queries", "items": "gallery"}
        banks = ("item-bank", "query-bank") if self.reverse else ("query-bank", "item-bank")
        before = names | dict(zip(("query_bank", "item_bank"), banks, strict=True))
        mine = before | ({"query_bank": f"test-folds({self.folds})"} if self.folds else {})
        found = {mine.get(name, name) for name in across(self.looked)}
        found |= {before.get(name, name) for name in across(self.bases.looked | of_file(self.problem.fitted_on))}
        return "+".join(sorted(found)) or "nothing"


@dataclass(frozen=True, eq=False)
class Watched:
    """A view that notes every reduction over it."""

    view: View
    rows: str
    columns: str
    looked: set[tuple[str, str, bool]]
    turned: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.view.shape

    @property
    def plan(self) -> Plan:
        return self.view.plan

    def reversed(self) -> "Watched":
        return Watched(self.view.reversed(), self.rows, self.columns, self.looked, not self.turned)

    def whole_columns(self) -> None:
        """Notes that an operator will see whole columns when it is applied."""
        self.looked.add((self.rows, self.columns, True))

    def reduce(self, *reducers: Reducer) -> list[Any]:
        # seen from the items, a value per row is learnt from several queries
        self.looked.add((self.rows, self.columns, self.turned or any(reducer.across for reducer in reducers)))
        return self.view.reduce(*reducers)

    @property
    def largest(self) -> float:
        return self.view.largest

    @property
    def reverse(self) -> bool:
        return self.view.reverse

    @property
    def lean(self) -> float:
        return self.view.lean

    @property
    def shelf(self) -> dict[str, Any] | None:
        # what others have left there was learnt from all of it
        self.looked.add((self.rows, self.columns, True))
        return self.view.shelf

    @property
    def held(self) -> int:
        return self.view.held

    @property
    def alike(self) -> Tensor | None:
        return self.view.alike

    @property
    def operands(self) -> Halves | None:
        self.looked.add((self.rows, self.columns, True))
        return self.view.operands

    def strip(self, rows: slice, room: Tensor) -> Tensor:
        self.looked.add((self.rows, self.columns, True))
        return self.view.strip(rows, room)

"""Which collection against which: the similarities that an operator may look at, and a record of what it looked at."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from nclbench.bases import Embedded, Stored
from nclbench.errors import InputError, NotAvailable
from nclbench.plan import SUMS, Plan
from nclbench.problem import Embeddings, Problem
from nclbench.scorers import scorers
from nclbench.similarity import Base, Reducer, View


@dataclass(eq=False)
class Bases:
    """Makes the base of a pair of roles once; vectors are prepared once a role."""

    problem: Problem
    plan: Plan
    _made: dict[tuple[str, str], Base] = field(default_factory=dict)
    _prepared: dict[str, Tensor] = field(default_factory=dict)

    def base(self, rows: str, columns: str) -> Base:
        if (rows, columns) not in self._made:
            self._made[rows, columns] = self._make(rows, columns)
        return self._made[rows, columns]

    def _make(self, rows: str, columns: str) -> Base:
        stored = self.problem.scores.get((rows, columns))
        if stored is not None:
            return Stored(stored, self.plan)
        if not self.problem.has(rows, columns):
            raise InputError(f"scores of {rows} against {columns} are not in the input, nor embeddings to make them")
        scorer = scorers.parse(self.problem.scorer)
        return Embedded(self._vectors(rows), self._vectors(columns), scorer, self.plan)

    def _vectors(self, role: str) -> Tensor:
        if role not in self._prepared:
            side = self.problem.role(role)
            assert side is not None and side.vectors is not None
            self._prepared[role] = scorers.parse(self.problem.scorer).prepare(side.vectors, self.plan)
        return self._prepared[role]


_MIRROR = {"queries": "items", "items": "queries", "query_bank": "item_bank", "item_bank": "query_bank"}


@dataclass(eq=False)
class Views:
    """The similarities of one direction. `reverse` makes it v2t, where items ask and the item bank is the query bank.

    looked: (rows, columns, across) of every reduction: across means that a value mixed several rows.
    """

    bases: Bases
    reverse: bool = False
    looked: set[tuple[str, str, bool]] = field(default_factory=set)

    @property
    def plan(self) -> Plan:
        return self.bases.plan

    @property
    def problem(self) -> Problem:
        return self.bases.problem

    def side(self, role: str) -> Embeddings | None:
        """The collection that plays this role in this direction."""
        return self.problem.role(_MIRROR[role] if self.reverse else role)

    def view(self, rows: str, columns: str) -> View:
        """Roles as this direction names them -> the plain view."""
        if not self.reverse:
            return View(self.bases.base(rows, columns))
        # the base is made the way round in which the input holds it, so both directions share one pass
        return View(self.bases.base(_MIRROR[columns], _MIRROR[rows]), reverse=True)

    def has(self, rows: str, columns: str) -> bool:
        return self.problem.has(_MIRROR[columns], _MIRROR[rows]) if self.reverse else self.problem.has(rows, columns)

    def watched(self, rows: str, columns: str) -> "Watched":
        return Watched(self.view(rows, columns), rows, columns, self.looked)

    def fitting(self, fit: str) -> "Watched":
        """What an operator is fitted on. fit: bank | test | auto (the bank if there is one for this direction)."""
        banked = self.has("query_bank", "items")
        if fit == "bank" and not banked:
            kind = "an item bank for v2t" if self.reverse else "a query bank for t2v"
            raise NotAvailable(f"fit=bank needs {kind}, and the input has none")
        return self.watched("query_bank" if banked and fit != "test" else "queries", "items")

    def mass(self, role: str) -> Tensor | None:
        """The masses that the user declared for a collection, (N,)."""
        side = self.side(role)
        return None if side is None or side.weight is None else self.plan.put(side.weight, SUMS)

    @property
    def transductive(self) -> bool:
        """Whether something was learnt from several test queries together."""
        return any(rows == "queries" and across for rows, _, across in self.looked)

    @property
    def fitted_on(self) -> str:
        """What an operator learnt from several rows of; a query's own row is no fitting."""
        rows = {rows for rows, _, across in self.looked if across}
        names = {"queries": "test-queries", "query_bank": "item-bank" if self.reverse else "query-bank"}
        return "+".join(sorted(names.get(name, name) for name in rows)) or "nothing"


@dataclass(frozen=True, eq=False)
class Watched:
    """A view that notes every reduction over it."""

    inner: View
    rows: str
    columns: str
    looked: set[tuple[str, str, bool]]
    turned: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    @property
    def plan(self) -> Plan:
        return self.inner.plan

    def reversed(self) -> "Watched":
        return Watched(self.inner.reversed(), self.rows, self.columns, self.looked, not self.turned)

    def reduce(self, *reducers: Reducer) -> list[Any]:
        # seen from the items, a value per row is learnt from several queries
        self.looked.add((self.rows, self.columns, self.turned or any(reducer.across for reducer in reducers)))
        return self.inner.reduce(*reducers)

    def strips(self) -> Iterator[tuple[slice, Tensor]]:
        self.looked.add((self.rows, self.columns, True))
        return self.inner.strips()

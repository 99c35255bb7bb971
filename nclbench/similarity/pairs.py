"""The base of each pair of collections, made once: from a stored matrix, from vectors, from parts, from a share."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from nclbench.errors import InputError, NotAvailable, UsageError
from nclbench.folds import DRAWN_FROM, named_bank, shares
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Integers, Problem
from nclbench.ragged import Ragged
from nclbench.registry import show
from nclbench.scorers.interaction import Interaction
from nclbench.scorers.sided import Sided
from nclbench.similarity.bases import Embedded, Prepared, Scoring, Stored
from nclbench.similarity.compounds import Chosen, Part, Weighted
from nclbench.similarity.interfaces import Base
from nclbench.similarity.keeping import BOTH, Kept
from nclbench.similarity.remembered import Remembered

# beyond so many scores kernels are made of float32 tiles, which must not depend on what was kept before
_DEAR = 1 << 22


@dataclass(eq=False)
class Bases:
    """Makes the base of a pair of roles once; vectors are prepared once a role.

    Of a fusion whose parts are each put through an operator: gallery, the role that has biases (items for t2v, queries
    for v2t); shifts: these biases, a part each; looked: what the operators have seen. keep: scores of the test side that
    fits make are kept for the ranking, where there is room. both: every operator will be fitted in both directions.
    """

    problem: Problem
    plan: Plan
    gallery: str = ""
    shifts: tuple[Tensor, ...] = ()
    looked: frozenset[tuple[str, str, bool]] = frozenset()
    whole: "Bases | None" = None
    keep: bool = False
    both: bool = False
    drawn: Mapping[str, Integers] = field(default_factory=dict)
    _made: dict[tuple[str, str], Base] = field(default_factory=dict)
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _scored: dict[str, "Bases"] = field(default_factory=dict)
    _folded: dict[tuple[str, int], "list[tuple[Integers, Bases]]"] = field(default_factory=dict)

    def base(self, rows: str, columns: str) -> Base:
        if (rows, columns) not in self._made:
            base = self._drawn(rows, columns) or self._make(rows, columns)
            kept = self.plan.world == 1 and self._shelf(rows, columns) is not None
            self._made[rows, columns] = Kept(base) if kept and isinstance(base, Embedded) else base
        return self._made[rows, columns]

    def _shelf(self, rows: str, columns: str) -> dict[str, Any] | None:
        """A new one where something may be left on it."""
        if not self.keep or (rows, columns) != ("queries", "items"):
            return None
        # where there is but one bank, one of the directions looks at that instead
        alike = (self.problem.query_bank is None) == (self.problem.item_bank is None)
        return {BOTH: True} if self.both and alike else {}

    def fitted(self) -> None:
        """All operators are fitted: what was kept is for ranking now, and nothing more is kept."""
        for base in self._made.values():
            if isinstance(base, Kept):
                base.close()
            if base.shelf is not None:
                base.shelf.clear()
        for other in self._scored.values():
            other.fitted()

    def ranked(self) -> None:
        """All scores have been looked at: what they are made of goes as soon as no view holds it."""
        folds = (bases for shares in self._folded.values() for _, bases in shares)
        for other in (*self._scored.values(), *folds):
            other.ranked()
        self._made.clear()
        self._prepared.clear()

    def folded(self, role: str, folds: int) -> "list[tuple[Integers, Bases]]":
        """For each share of the test side: its rows, and the same bases with the others as this bank.

        role: query_bank or item_bank. Made once, whatever the number of operators. Raises NotAvailable.
        """
        if (role, folds) not in self._folded:
            self._folded[role, folds] = [
                (mine, Bases(named_bank(self.problem, role, others), self.plan, *self._shifted, whole=self, drawn={role: others}))
                for mine, others in shares(self.problem, role, folds)
            ]
        return self._folded[role, folds]

    @property
    def _shifted(self) -> tuple[str, tuple[Tensor, ...], frozenset[tuple[str, str, bool]]]:
        return self.gallery, self.shifts, self.looked

    def has(self, rows: str, columns: str) -> bool:
        """Whether scores of `rows` against `columns` can be made."""
        if self.whole is None:
            return self.problem.has(rows, columns)
        return self.whole.has(*(DRAWN_FROM[role] if role in self.drawn else role for role in (rows, columns)))

    def _drawn(self, rows: str, columns: str) -> Base | None:
        """Of a bank that is a share of the test side, the rows of the test scores."""
        if self.whole is None:
            return None
        roles = [DRAWN_FROM[role] if role in self.drawn else role for role in (rows, columns)]
        base = self.whole.base(*roles)
        if not {rows, columns} & set(self.drawn):
            return base
        chosen = [self.plan.indices(self.drawn[role]) if role in self.drawn else None for role in (rows, columns)]
        return Chosen(base, *chosen)

    def scored(self, scorer: str) -> "Bases":
        """The same embeddings under another scorer."""
        if self.problem.parts or self.problem.scored_by == "stored":
            what = "fused" if self.problem.parts else "a score matrix"
            raise UsageError(f"scorer {scorer} needs embeddings, but the input is {what}")
        if scorer == self.problem.scorer:
            return self
        if scorer not in self._scored:
            self._scored[scorer] = Bases(replace(self.problem, scorer=scorer), self.plan, keep=self.keep, both=self.both)
        return self._scored[scorer]

    def _make(self, rows: str, columns: str) -> Base:
        stored, shelf = self.problem.scores.get((rows, columns)), self._shelf(rows, columns)
        if stored is not None:
            return Stored(stored, self.plan, shelf=shelf)
        if self.problem.parts:
            return self._weighted(rows, columns, shelf)
        if not self.problem.has(rows, columns):
            raise InputError(f"scores of {rows} against {columns} are not in the input, nor embeddings to make them")
        found = Embedded(self.prepared(rows), self.prepared(columns), self._compared(rows, columns), self.plan, shelf=shelf)
        dear = isinstance(found.queries, Ragged) and len(found.queries) * len(found.items) <= _DEAR
        return Remembered(found) if dear and self.plan.keeps(Remembered.size(found.shape)) else found

    def _weighted(self, rows: str, columns: str, shelf: dict[str, Any] | None) -> Base:
        if self.gallery and rows == columns:
            raise NotAvailable("it compares items with each other, which biases of the parts do not change")
        if self.gallery and {"items": "item_bank", "queries": "query_bank"}[self.gallery] in (rows, columns):
            raise NotAvailable("biases of the parts are those of the gallery, and it compares that with a bank that has none")
        parts = []
        for number, (weight, problem) in enumerate(self.problem.parts):
            shift = self.shifts[number] if self.shifts else None
            down, across = (shift if role == self.gallery else None for role in (rows, columns))
            parts.append(Part(weight, Bases(problem, self.plan).base(rows, columns), down, across))
        return Weighted(tuple(parts), shelf)

    def vectors(self, role: str) -> Tensor:
        """(N, D) the prepared vectors of a collection; NotAvailable where its scorer is one of words and frames."""
        found = self.prepared(role)
        if isinstance(found, Ragged):
            raise NotAvailable(f"it needs one vector a row; the scorer is {self.problem.scorer}")
        return found

    def prepared(self, role: str) -> Prepared:
        if role in self.drawn and self.whole is not None:
            return self.whole.prepared(DRAWN_FROM[role])[self.plan.indices(self.drawn[role])]
        if self.whole is not None:
            return self.whole.prepared(role)
        if role not in self._prepared:
            side = self.problem.role(role)
            assert side is not None
            self._prepared[role] = self._made_ready(role, side)
        return self._prepared[role]

    @property
    def degenerate(self) -> bool:
        """Whether the scorer has nothing to act on but global vectors, of which the cosine is left."""
        if self.problem.parts:
            return any(Sided.of(part).degenerate for _, part in self.problem.parts if part.scored_by != "stored")
        return self.problem.scored_by != "stored" and self.sided.degenerate

    @property
    def settled(self) -> str:
        """The scorer with what the input decided filled in, as `dmae:ta=given`; '' for ready scores and fusions."""
        return "" if self.problem.parts or self.problem.scored_by == "stored" else show(self.sided.scorer)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the scorer lacks, and what became of it."""
        if self.problem.parts:
            found = [note for _, part in self.problem.parts if part.scored_by != "stored" for note in Sided.of(part).notes]
            return tuple(dict.fromkeys(found))
        return () if self.problem.scored_by == "stored" else self.sided.notes

    @cached_property
    def sided(self) -> Sided:
        """The scorer, and what it makes of what the test sides have."""
        return Sided.of(self.problem)

    def _made_ready(self, role: str, side: Embeddings) -> Prepared:
        scorer = self.sided.scorer
        if isinstance(scorer, Interaction):
            return scorer.sets(self.sided.alike(role, side), self.sided.is_text(role), self.plan)
        if side.vectors is None:
            raise InputError(
                f"{side.origin or role}: no embeddings, which scorer {self.problem.scorer} needs; give them, or a token scorer"
            )
        ready: Tensor = scorer.prepare(side.vectors, self.plan)
        return ready

    def _compared(self, rows: str, columns: str) -> Scoring:
        scorer: Scoring = self.sided.scorer
        if isinstance(scorer, Interaction) and self.sided.is_text(rows) == self.sided.is_text(columns):
            kind = "texts" if self.sided.is_text(rows) else "videos"
            raise NotAvailable(f"it compares {kind} with {kind}, and {self.problem.scorer} only texts with videos")
        return scorer

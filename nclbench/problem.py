"""What is asked: two collections of embeddings (or their scores), which pairs are relevant, and optional banks.

Letters, here and everywhere: N queries, M items, B bank rows, D features, P relevant pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError
from nclbench.tokens import Tokens
from nclbench.tokens import check as check_tokens

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.int64]

ROLES = ("queries", "items", "query_bank", "item_bank")
MIRROR = {"queries": "items", "items": "queries", "query_bank": "item_bank", "item_bank": "query_bank"}
_TURNED = {"t2v": "v2t", "v2t": "t2v", "": ""}


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One collection of N things.

    ids: N unique names. vectors: (N, D) as loaded, not normalised; None where only scores are known.
    captions: N texts or titles for people to read. weight: (N,) positive masses that the user declared
    (Sinkhorn marginals, query frequencies). tokens: words or frames of each, for scorers of these. origin: where it came
    from, for messages.
    """

    ids: tuple[str, ...]
    vectors: Floats | None = None
    captions: tuple[str, ...] | None = None
    weight: npt.NDArray[np.float64] | None = None
    origin: str = ""
    tokens: Tokens | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Relevance:
    """P relevant pairs, sorted by query and then item; several items a query and several queries an item are normal.

    query, item: (P,) int64 positions. gain: (P,) positive grades.
    """

    query: Integers
    item: Integers
    gain: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, query: npt.ArrayLike, item: npt.ArrayLike, gain: npt.ArrayLike | None = None
    ) -> "Relevance":
        """Sorts the pairs and gives ungraded ones the gain 1. Repeated pairs are an error, gains must be positive."""
        q, i = np.asarray(query, dtype=np.int64), np.asarray(item, dtype=np.int64)
        g = np.ones(len(q)) if gain is None else np.asarray(gain, dtype=np.float64)
        if not len(q) == len(i) == len(g):
            raise InputError(f"relevance has {len(q)} queries, {len(i)} items, {len(g)} grades; give one each per pair")
        if not np.isfinite(g).all() or (g <= 0).any():
            row = int(np.flatnonzero(~np.isfinite(g) | (g <= 0))[0])
            raise InputError(f"relevance grade {g[row]} of pair {row} is not positive; leave irrelevant pairs out")
        order = np.lexsort((i, q))
        q, i, g = q[order], i[order], g[order]
        twice = np.flatnonzero((np.diff(q) == 0) & (np.diff(i) == 0))
        if len(twice):
            raise InputError(f"relevance names query {q[twice[0]]} with item {i[twice[0]]} twice; keep one grade")
        return cls(q, i, g)

    @classmethod
    def of_items(cls, item_of_query: npt.ArrayLike) -> "Relevance":
        """Each query has one item: (N,) positions among the items."""
        item = np.asarray(item_of_query, dtype=np.int64)
        return cls.of(np.arange(len(item)), item)

    def reversed(self) -> "Relevance":
        return Relevance.of(self.item, self.query, self.gain)

    def __len__(self) -> int:
        return len(self.query)


@dataclass(frozen=True)
class Input:
    """A file that a problem was read from, as it stands in `results.json`."""

    role: str
    path: str
    sha256: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Problem:
    """Queries to be answered from items.

    Vectors give every needed score; a model without separable vectors gives `scores` instead: a matrix for a pair
    of roles (`("queries", "items")` is the test matrix (N, M); `("query_bank", "items")` a bank's (B, M)).
    tokens_aligned: whether the word vectors were trained against the frames.
    parts: weighted problems of the same rows whose scores are added, each first put through the operator `each`.
    relevance is None where nothing is labelled. logit_scale is linear (100 for CLIP), None where unknown.
    fitted_on: what the scores themselves were adjusted with, as a file that nclbench wrote says; '' for a model's own.
    adjusted_for: t2v | v2t, the only direction in which they stand for that operator; '' for both.
    notes are what the loader found worth saying.
    """

    queries: Embeddings
    items: Embeddings
    relevance: Relevance | None
    query_bank: Embeddings | None = None
    item_bank: Embeddings | None = None
    scores: Mapping[tuple[str, str], Floats] = field(default_factory=dict)
    parts: tuple[tuple[float, "Problem"], ...] = ()
    each: str = ""
    scorer: str = "cosine"
    tokens_aligned: bool = False
    logit_scale: float | None = None
    dataset: str = "unnamed"
    split: str = "test"
    model: str = "unnamed"
    direction: str = "t2v"
    fitted_on: str = ""
    adjusted_for: str = ""
    inputs: tuple[Input, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    @property
    def scored_by(self) -> str:
        """The scorer of the test scores, `stored` for a ready matrix."""
        if self.parts:
            return f"fused({self.each})" if self.each else "fused"
        return "stored" if ("queries", "items") in self.scores else self.scorer

    @property
    def precision(self) -> str:
        """What a test score comes from: `fp32` for embeddings, which are prepared so."""
        if self.parts:
            return "+".join(dict.fromkeys(part.precision for _, part in self.parts))
        stored = self.scores.get(("queries", "items"))
        return "fp32" if stored is None else f"fp{8 * stored.dtype.itemsize}"

    def role(self, name: str) -> Embeddings | None:
        found: Embeddings | None = getattr(self, name)
        return found

    def reversed(self) -> "Problem":
        """Items ask for queries: v2t is t2v of this problem. Scores are transposed views, nothing is copied."""
        return replace(
            self,
            queries=self.items,
            items=self.queries,
            relevance=None if self.relevance is None else self.relevance.reversed(),
            query_bank=self.item_bank,
            item_bank=self.query_bank,
            scores={(MIRROR[c], MIRROR[r]): s.T for (r, c), s in self.scores.items()},
            parts=tuple((weight, part.reversed()) for weight, part in self.parts),
            direction=_TURNED[self.direction],
            adjusted_for=_TURNED[self.adjusted_for],
        )

    def has(self, rows: str, columns: str) -> bool:
        """Whether scores of `rows` against `columns` can be made."""
        if (rows, columns) in self.scores:
            return True
        if self.parts:
            return all(part.has(rows, columns) for _, part in self.parts)
        if ("queries", "items") in self.scores:
            return False  # cosines of embeddings beside it may be in other units than a ready matrix
        sides = self.role(rows), self.role(columns)
        return all(side is not None and (side.vectors is not None or side.tokens is not None) for side in sides)


def first_bad_row(values: Floats) -> tuple[int, str] | None:
    """The first row with a value that must not be scored, and what it is. values: (N, D)."""
    for start in range(0, len(values), 4096):
        part = values[start : start + 4096]
        finite = np.isfinite(part)
        if not finite.all():
            row = int(np.flatnonzero(~finite.all(axis=1))[0])
            what = "NaN" if np.isnan(part[row]).any() else "an infinite value"
            return start + row, what
    return None


def _check(problem: Problem) -> None:
    for name in ROLES:
        side = problem.role(name)
        if side is not None:
            _check_side(side, side.origin or name)
    _check_widths(problem)
    for (rows, columns), matrix in problem.scores.items():
        _check_matrix(problem, rows, columns, matrix)
    if not problem.has("queries", "items"):
        raise InputError("nothing to score: neither embeddings of both sides nor a score matrix is given")
    if problem.logit_scale is not None and not 0 < problem.logit_scale < float("inf"):
        raise InputError(f"logit_scale is {problem.logit_scale}; it must be a positive number (100 for CLIP)")
    _check_relevance(problem)


def _check_side(side: Embeddings, where: str) -> None:
    if len(side) == 0:
        raise InputError(f"{where}: empty; there is nothing to evaluate")
    if len(set(side.ids)) != len(side.ids):
        seen: set[str] = set()
        for row, name in enumerate(side.ids):
            if name in seen:
                raise InputError(f"{where}: id {name!r} occurs again at row {row}; ids must be unique")
            seen.add(name)
    for what, values in (("captions", side.captions), ("weights", side.weight), ("vectors", side.vectors)):
        if values is not None and len(values) != len(side):
            raise InputError(f"{where}: {len(values)} {what} for {len(side)} ids; they must be equally many")
    if side.weight is not None and not (np.isfinite(side.weight).all() and (side.weight > 0).all()):
        row = int(np.flatnonzero(~(np.isfinite(side.weight) & (side.weight > 0)))[0])
        raise InputError(f"{where}: weight of row {row} is {side.weight[row]}; weights must be positive")
    if side.vectors is not None:
        _check_vectors(side.vectors, where)
    if side.tokens is not None:
        check_tokens(side.tokens, len(side), where)


def _check_vectors(vectors: Floats, where: str) -> None:
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise InputError(f"{where}: shape {vectors.shape}; embeddings must be a table of rows x features")
    if not np.issubdtype(vectors.dtype, np.floating):
        hint = "; bfloat16 bits? store float32 instead" if vectors.dtype == np.uint16 else ""
        raise InputError(f"{where}: dtype {vectors.dtype}; embeddings must be floating point{hint}")
    bad = first_bad_row(vectors)
    if bad:
        half = " (half precision overflowed?)" if vectors.dtype == np.float16 and "inf" in bad[1] else ""
        raise InputError(f"{where}: row {bad[0]} holds {bad[1]}{half}; remove or recompute it")
    zero = np.flatnonzero(~vectors.any(axis=1))
    if len(zero):
        raise InputError(
            f"{where}: row {zero[0]} is all zeros ({len(zero)} such row{'s' * (len(zero) > 1)}; never written?); "
            "a zero vector has no direction, remove or recompute it"
        )


def _check_widths(problem: Problem) -> None:
    sides = [(name, side) for name in ROLES if (side := problem.role(name)) is not None]
    widths = [(side.origin or name, side.vectors.shape[1]) for name, side in sides if side.vectors is not None]
    widths += [(side.tokens.origin or name, side.tokens.features) for name, side in sides if side.tokens is not None]
    for where, width in widths[1:]:
        if width != widths[0][1]:
            raise InputError(
                f"{where}: {width} features, but {widths[0][0]} has {widths[0][1]}; both sides must share one space"
            )


def _check_matrix(problem: Problem, rows: str, columns: str, matrix: Floats) -> None:
    sides = problem.role(rows), problem.role(columns)
    where = f"scores of {rows} x {columns}"
    expected = tuple(len(side) if side is not None else 0 for side in sides)
    if matrix.shape != expected:
        raise InputError(f"{where}: shape {matrix.shape}, but the ids say {expected}")
    if not np.issubdtype(matrix.dtype, np.floating):
        raise InputError(f"{where}: dtype {matrix.dtype}; scores must be floating point")
    bad = first_bad_row(matrix)
    if bad:
        raise InputError(f"{where}: row {bad[0]} holds {bad[1]}; remove or recompute it")


def _check_relevance(problem: Problem) -> None:
    relevance = problem.relevance
    if relevance is None:
        return
    n, m = len(problem.queries), len(problem.items)
    if len(relevance) == 0:
        raise InputError("no relevant pair is given, so nothing can be scored")
    for what, values, size in (("query", relevance.query, n), ("item", relevance.item, m)):
        if values.min() < 0 or values.max() >= size:
            wrong = values[(values < 0) | (values >= size)][0]
            raise InputError(f"relevance names {what} {wrong}, but there are {size}")


def generated_ids(prefix: str, count: int) -> tuple[str, ...]:
    """`prefix/000000` and so on, for collections without ids."""
    return tuple(f"{prefix}/{row:06d}" for row in range(count))


def subset(values: Sequence[str], order: Integers) -> tuple[str, ...]:
    """The named rows of a tuple, in the given order."""
    return tuple(values[int(row)] for row in order)

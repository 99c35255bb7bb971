"""Parts to a Problem: fetch, relate queries to items, and say clearly what does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError
from nclbench.files import printable, sha256
from nclbench.problem import Embeddings, Input, Problem, Relevance, generated_ids
from nclbench.sources.layouts import Found
from nclbench.sources.mapping import apply
from nclbench.sources.raw import Array

_ROLES = {"text": "queries", "video": "items", "bank/text": "query_bank", "bank/video": "item_bank"}


@dataclass(eq=False)
class Parts:
    """The arrays of all parts, fetched file by file."""

    sources: Found
    arrays: dict[str, Array] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def fetch(cls, sources: Found) -> "Parts":
        parts = cls(sources)
        for raw in {id(source.raw): source.raw for source in sources.values()}.values():
            keys = list(dict.fromkeys(source.key for source in sources.values() if source.raw is raw))
            got = raw.fetch(keys)
            for part, source in sources.items():
                if source.raw is raw:
                    parts.arrays[part] = apply(got[source.key], source.steps, source.where)
        return parts

    def where(self, part: str) -> str:
        return self.sources[part].where

    def get(self, part: str) -> Array | None:
        return self.arrays.get(part)

    def names(self, part: str) -> tuple[str, ...] | None:
        """(N,) ids or captions as texts; numbers are written out."""
        values = self.get(part)
        if values is None:
            return None
        if values.ndim != 1:
            raise InputError(f"{self.where(part)}: shape {values.shape}; it must be a list")
        return tuple(str(value) for value in values.tolist())


def assemble(sources: Found, *, labels: bool, identity: dict[str, Any], foreign: bool) -> Problem:
    """The problem of these parts. identity: dataset, split, model, scorer. foreign: not written by us."""
    parts = Parts.fetch(sources)
    scores = _scores(parts)
    sizes = scores["queries", "items"].shape if ("queries", "items") in scores else (None, None)
    queries = _side(parts, "text", sizes[0], foreign)
    items = _side(parts, "video", sizes[1], foreign)
    banks = [_bank(parts, side, scores) for side in ("text", "video")]
    scale = _logit_scale(parts, identity.pop("logit_scale", None), foreign)
    if queries.vectors is not None and items.vectors is not None:
        _same_width(queries, items)
    relevance = _relevance(parts, queries, items) if labels else None
    for bank, side, kind in zip(banks, (queries, items), ("query bank", "item bank"), strict=True):
        if bank is not None and (shared := set(bank.ids) & set(side.ids)):
            parts.notes.append(f"the {kind} shares {len(shared)} ids with the test set: results leak, remove them")
    return Problem(
        queries=queries,
        items=items,
        relevance=relevance,
        query_bank=banks[0],
        item_bank=banks[1],
        scores=scores,
        logit_scale=scale,
        inputs=_inputs(parts),
        notes=tuple(parts.notes),
        **identity,
    )


def _scores(parts: Parts) -> dict[tuple[str, str], Array]:
    found = {}
    for part, pair in (
        ("scores/values", ("queries", "items")),
        ("bank/scores/values", ("query_bank", "items")),
        ("bank/video/scores/values", ("queries", "item_bank")),
    ):
        matrix = parts.get(part)
        if matrix is not None:
            if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.floating):
                raise InputError(
                    f"{parts.where(part)}: {matrix.dtype} of shape {matrix.shape}; scores must be a float matrix"
                )
            found[pair] = matrix
    return found


def _side(parts: Parts, side: str, count: int | None, foreign: bool) -> Embeddings:
    vectors = parts.get(f"{side}/embeddings")
    if vectors is None and count is None:
        raise InputError(f"no {side} embeddings and no scores are given; name them with --map {side}.embeddings=…")
    origin = parts.where(f"{side}/embeddings") if vectors is not None else parts.where("scores/values")
    if vectors is not None:
        count = len(vectors) if vectors.ndim else 0
    assert count is not None
    ids = parts.names(f"{side}/ids")
    if ids is not None and len(ids) != count:
        raise InputError(f"{parts.where(f'{side}/ids')}: {len(ids)} ids for {count} rows of {origin}")
    weight = parts.get(f"{side}/weight")
    return Embeddings(
        ids=ids if ids is not None else generated_ids(side, count),
        vectors=vectors,
        captions=parts.names(f"{side}/captions"),
        weight=None if weight is None else weight.astype(np.float64),
        origin=origin,
    )


def _bank(parts: Parts, side: str, scores: dict[tuple[str, str], Array]) -> Embeddings | None:
    vectors = parts.get(f"bank/{side}/embeddings")
    pair, axis = (("query_bank", "items"), 0) if side == "text" else (("queries", "item_bank"), 1)
    if vectors is None and pair not in scores:
        return None
    count = len(vectors) if vectors is not None else scores[pair].shape[axis]
    ids = parts.names(f"bank/{side}/ids") or generated_ids(f"bank/{side}", count)
    origin = parts.where(f"bank/{side}/embeddings") if vectors is not None else ""
    return Embeddings(ids, vectors, origin=origin)


def _same_width(queries: Embeddings, items: Embeddings) -> None:
    shapes = [side.vectors.shape for side in (queries, items) if side.vectors is not None]
    if all(len(shape) == 2 for shape in shapes) and shapes[0][1] != shapes[1][1]:
        raise InputError(
            f"{items.origin}: {shapes[1][1]} features, but {queries.origin} has {shapes[0][1]}; "
            "both sides must share one space"
        )


def _logit_scale(parts: Parts, attribute: Any, foreign: bool) -> float | None:
    value = parts.get("logit_scale")
    found = float(np.ravel(value)[0]) if value is not None and value.size == 1 else attribute
    if found is None or isinstance(found, str | bool):
        return None
    if foreign and 0 < found < 10:
        parts.notes.append(f"logit_scale is {found:g}, perhaps a logarithm; tau would be {1 / found:.3g}: give tau=…")
    return float(found)


def _relevance(parts: Parts, queries: Embeddings, items: Embeddings) -> Relevance:
    if "relevance/query_ids" in parts.arrays:
        return _judged(parts, queries, items)
    index, names = parts.get("text/item_index"), parts.names("text/item_ids")
    if names is not None:
        _count(parts.where("text/item_ids"), len(names), len(queries))
        return Relevance.of_items(_positions(names, items.ids, parts.where("text/item_ids"), items.origin))
    if index is not None:
        where = parts.where("text/item_index")
        _count(where, len(index), len(queries))
        if not np.issubdtype(index.dtype, np.integer):
            raise InputError(f"{where}: dtype {index.dtype}; positions of items must be integers")
        bad = np.flatnonzero((index < 0) | (index >= len(items)))
        if len(bad):
            raise InputError(f"{where}: row {bad[0]} is {index[bad[0]]}, but there are {len(items)} items, 0 to {len(items) - 1}")
        return Relevance.of_items(index)
    if len(queries) != len(items):
        raise InputError(
            f"{queries.origin}: {len(queries)} queries and {len(items)} items, and nothing says which belong together; "
            "add item ids of the queries (--map text.item_ids=…) or use --no-labels"
        )
    if "video/ids" in parts.arrays and "text/ids" in parts.arrays and set(queries.ids) == set(items.ids):
        parts.notes.append("queries and items carry the same ids: they are related by id")
        return Relevance.of_items(_positions(queries.ids, items.ids, queries.origin, items.origin))
    parts.notes.append("nothing says which query belongs to which item: row i is taken to belong to row i")
    return Relevance.of_items(np.arange(len(queries)))


def _judged(parts: Parts, queries: Embeddings, items: Embeddings) -> Relevance:
    asked, wanted = parts.names("relevance/query_ids"), parts.names("relevance/item_ids")
    if asked is None or wanted is None:
        raise InputError(f"{parts.where('relevance/query_ids')}: relevance needs query_ids and item_ids")
    query = _positions(asked, queries.ids, parts.where("relevance/query_ids"), queries.origin)
    item = _positions(wanted, items.ids, parts.where("relevance/item_ids"), items.origin)
    grade = parts.get("relevance/grade")
    if grade is not None:
        keep = grade != 0
        query, item, grade = query[keep], item[keep], grade[keep].astype(np.float64)
    found = Relevance.of(query, item, grade)
    without = np.setdiff1d(np.arange(len(queries)), found.query)
    if len(without):
        raise InputError(
            f"{parts.where('relevance/query_ids')}: query {printable(queries.ids[without[0]])!r} and {len(without) - 1} "
            "others have no relevant item; remove these queries"
        )
    return found


def _count(where: str, got: int, wanted: int) -> None:
    if got != wanted:
        raise InputError(f"{where}: {got} entries for {wanted} queries; give one a query")


def _positions(names: Sequence[str], known: Sequence[str], where: str, origin: str) -> npt.NDArray[np.int64]:
    place = {name: position for position, name in enumerate(known)}
    missing = [name for name in dict.fromkeys(names) if name not in place]
    if missing:
        first = ", ".join(printable(name) for name in missing[:5])
        raise InputError(f"{where}: {len(missing)} ids are not among those of {origin}: {first}")
    return np.array([place[name] for name in names], dtype=np.int64)


def _inputs(parts: Parts) -> tuple[Input, ...]:
    """Each file with what was taken from it."""
    digests: dict[str, str] = {}
    found = []
    for part, source in parts.sources.items():
        prefix, _, kind = part.rpartition("/")
        role = _ROLES.get(prefix, "scores" if kind == "values" else None)
        if role is None or kind not in ("embeddings", "values"):
            continue
        for path in source.raw.files:
            name = str(path)
            digests[name] = digests.get(name) or sha256(path)
            shape = tuple(int(size) for size in parts.arrays[part].shape)
            found.append(Input(role, printable(name), digests[name], shape, str(parts.arrays[part].dtype)))
    return tuple(found)



"""Which items are relevant to which queries: from ids, from positions, from pairs, and never from a guess unsaid."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from nclbench.errors import InputError
from nclbench.problem import Embeddings, Integers, Relevance
from nclbench.sources.raw import Array
from nclbench.sources.source import Loaded


def relate(
    queries: Embeddings,
    items: Embeddings,
    given: Mapping[str, Loaded],
    own_ids: tuple[bool, bool],
    captions_per_item: int | None,
    notes: list[str],
) -> Relevance:
    """The relevant pairs.

    given: a query's item under `item_ids` or `item_index` (rows), pairs under `query_ids`, `pair_item_ids`, `grade`;
    pairs go first. own_ids: whether the file has ids of queries and of items. A query without an item is an InputError.
    """
    if "query_ids" in given or "pair_item_ids" in given:
        relevance = _pairs(queries, items, given, notes)
    elif "item_ids" in given:
        found = given["item_ids"]
        relevance = Relevance.of_items(positions(names(found), items.ids, found.origin, items.origin))
    elif "item_index" in given:
        relevance = Relevance.of_items(_rows(given["item_index"], len(queries), len(items)))
    elif captions_per_item is not None:
        if len(queries) != captions_per_item * len(items):
            raise InputError(
                f"{queries.origin}: {len(queries)} rows are not {captions_per_item} for each of {len(items)} items"
            )
        relevance = Relevance.of_items(np.arange(len(queries)) // captions_per_item)
    elif all(own_ids) and set(queries.ids) == set(items.ids):
        relevance = Relevance.of_items(positions(queries.ids, items.ids, queries.origin, items.origin))
    elif len(queries) == len(items):
        notes.append(f"{queries.origin}: nothing says which rows belong together; row i is taken to want item i")
        relevance = Relevance.of_items(np.arange(len(queries)))
    else:
        raise InputError(_nothing_relates(queries, items))
    missing = np.setdiff1d(np.arange(len(queries)), relevance.query)
    if len(missing):
        named = listed(queries.ids[row] for row in missing[:5])
        raise InputError(
            f"{queries.origin}: {len(missing)} queries have no relevant item ({named}); label them or leave them out"
        )
    return relevance


def _nothing_relates(queries: Embeddings, items: Embeddings) -> str:
    n, m = len(queries), len(items)
    if queries.origin == items.origin:
        return (
            f"{queries.origin}: read as scores of {n} queries x {m} items, and nothing says which belong together; give "
            "--map test.text.item_ids=FILE:KEY or --no-labels, or for embeddings two files, TEXT.npy,VIDEO.npy"
        )
    for side, other, key in ((queries, items, "text"), (items, queries, "video")):
        if side.vectors is not None and other.vectors is not None and side.vectors.shape == other.vectors.shape[::-1]:
            return (
                f"{side.origin}: {len(side)} rows of {side.vectors.shape[1]} features, {other.origin} has the reverse: one of "
                f"them is transposed; give it as --map 'test.{key}.embeddings=FILE|T', or save it as N x D"
            )
    several = f", --map captions_per_item={n // m} if they follow one another," if n % m == 0 else ""
    return (
        f"{queries.origin}: {n} rows, {items.origin} has {m}, and nothing says which belong together; give "
        f"--map test.text.item_ids=FILE:KEY{several} or --no-labels"
    )


def names(loaded: Loaded) -> list[str]:
    """Ids as texts; whole numbers are fine, other numbers are an InputError."""
    array = loaded.array
    if array.ndim != 1:
        raise InputError(f"{loaded.origin}: shape {array.shape}; ids are one list")
    if array.dtype.kind in "iu":
        return [str(value) for value in array.tolist()]
    if array.dtype != object:
        raise InputError(f"{loaded.origin}: dtype {array.dtype}; ids are texts or whole numbers")
    return list(array.tolist())


def positions(wanted: Sequence[str], ids: Sequence[str], origin: str, where: str) -> Integers:
    """The row of each wanted id; unknown ones are an InputError with the first five."""
    row_of = {name: row for row, name in enumerate(ids)}
    unknown = [name for name in wanted if name not in row_of]
    if unknown:
        first = listed(list(dict.fromkeys(unknown))[:5])
        raise InputError(f"{origin}: {len(unknown)} ids are not among those of {where} ({first}); check both lists")
    return np.array([row_of[name] for name in wanted], dtype=np.int64)


def listed(values: Iterable[str]) -> str:
    """A few ids for a message, each cut to a readable length."""
    return ", ".join(repr(value if len(value) < 60 else value[:57] + "…") for value in values)


def numbers(loaded: Loaded) -> Array:
    """(N,) float64; numerals in a text column are read, anything else is an InputError."""
    array = loaded.array
    try:
        found = np.asarray(array.tolist() if array.dtype == object else array, dtype=np.float64)
    except ValueError:
        raise InputError(f"{loaded.origin}: not numbers; give one number a row") from None
    if found.ndim != 1:
        raise InputError(f"{loaded.origin}: shape {array.shape}; give one number a row")
    return found


def _rows(loaded: Loaded, queries: int, items: int) -> Integers:
    found = numbers(loaded)
    if len(found) != queries:
        raise InputError(f"{loaded.origin}: {len(found)} positions for {queries} queries; give one a query")
    wrong = np.flatnonzero(~((found >= 0) & (found < items) & (found == np.floor(found))))
    if len(wrong):
        value = found[wrong[0]]
        raise InputError(
            f"{loaded.origin}: row {wrong[0]} says item {value:g}, but there are {items} ({len(wrong)} such rows); "
            "positions count from 0"
        )
    return found.astype(np.int64)


def _pairs(queries: Embeddings, items: Embeddings, given: Mapping[str, Loaded], notes: list[str]) -> Relevance:
    if "query_ids" not in given or "pair_item_ids" not in given:
        raise InputError(f"{queries.origin}: relevance needs both query_ids and item_ids")
    left, right = given["query_ids"], given["pair_item_ids"]
    rows = positions(names(left), queries.ids, left.origin, queries.origin)
    columns = positions(names(right), items.ids, right.origin, items.origin)
    gains = numbers(given["grade"]) if "grade" in given else np.ones(len(rows))
    if not len(rows) == len(columns) == len(gains):
        raise InputError(
            f"{left.origin}: {len(rows)} query ids, {len(columns)} item ids, {len(gains)} grades; give equally many"
        )
    kept = gains != 0
    if not kept.all():
        notes.append(f"{left.origin}: {int((~kept).sum())} pairs of grade 0 are taken as not relevant")
    try:
        return Relevance.of(rows[kept], columns[kept], gains[kept])
    except InputError as error:
        raise InputError(f"{left.origin}: {error}") from None

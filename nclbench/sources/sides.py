"""One collection (queries, items or a bank) and one table of scores from what was read, checked by name."""

from collections.abc import Mapping

import numpy as np

from nclbench.errors import InputError
from nclbench.problem import Embeddings, Floats, first_bad_row, generated_ids
from nclbench.sources.relation import names, numbers
from nclbench.sources.source import Loaded
from nclbench.sources.token_sets import tokens_of

_WORD = {"queries": "text", "items": "video", "query_bank": "bank-text", "item_bank": "bank-video"}


def collection(role: str, given: Mapping[str, Loaded], count: int | None = None, origin: str = "") -> Embeddings:
    """One collection from its fields; count and origin are those of the scores where there are no vectors."""
    vectors = given.get("embeddings")
    origin = vectors.origin if vectors is not None else origin
    size = len(vectors.array) if vectors is not None and vectors.array.ndim else count or 0
    tokens = tokens_of(given, size or None)
    if tokens is not None and not size:
        size, origin = len(tokens), tokens.origin
    if size == 0:
        raise InputError(f"{origin}: empty; there is nothing to evaluate")
    lists = {name: names(given[name]) for name in ("ids", "captions", "titles") if name in given}
    for name in ("ids", "captions", "titles", "item_ids", "weight", "mask"):
        if name in given and len(given[name].array) != size:
            where, found = given[name].origin, len(given[name].array)
            raise InputError(f"{where}: {found} {name} for {size} rows of {origin}; give one a row")
    if "ids" in lists and len(set(lists["ids"])) < size:
        raise InputError(f"{given['ids'].origin}: {_repeated(lists['ids'])}; ids must be unique")
    if "mask" in given and not numbers(given["mask"]).all():
        out = int((numbers(given["mask"]) == 0).sum())
        raise InputError(f"{given['mask'].origin}: marks {out} rows as not valid; leave these rows out of the file")
    order = ("titles", "captions") if role in ("items", "item_bank") else ("captions", "titles")
    captions = next((lists[name] for name in order if name in lists), None)
    return Embeddings(
        ids=tuple(lists["ids"]) if "ids" in lists else generated_ids(_WORD[role], size),
        vectors=None if vectors is None else single(vectors),
        captions=None if captions is None else tuple(captions),
        weight=numbers(given["weight"]) if "weight" in given else None,
        origin=origin,
        tokens=tokens,
    )


def single(loaded: Loaded) -> Floats:
    """Half precision becomes float32; an infinite half was too large for it, which is worth saying."""
    if loaded.array.dtype != np.float16:
        return loaded.array
    if loaded.array.ndim == 2 and (bad := first_bad_row(loaded.array)):
        hint = " (half precision overflowed?)" if "inf" in bad[1] else ""
        raise InputError(f"{loaded.origin}: row {bad[0]} holds {bad[1]}{hint}; remove or recompute it")
    return loaded.array.astype(np.float32)


def matrix(loaded: Loaded) -> Floats:
    """Scores as stored, half precision as float32: shape, type and values are checked here, where the file is known."""
    array, where = loaded.array, loaded.origin
    if array.ndim != 2:
        raise InputError(f"{where}: shape {array.shape}; scores are a table of queries x items")
    if not np.issubdtype(array.dtype, np.floating):
        hint = "; bfloat16 bits? store float32 instead" if array.dtype == np.uint16 else ""
        raise InputError(f"{where}: dtype {array.dtype}; scores must be floating point{hint}")
    if 0 in array.shape:
        raise InputError(f"{where}: shape {array.shape}, empty; there is nothing to evaluate")
    bad = first_bad_row(array)
    if bad:
        hint = " (half precision overflowed?)" if array.dtype == np.float16 and "inf" in bad[1] else ""
        raise InputError(f"{where}: row {bad[0]} holds {bad[1]}{hint}; remove or recompute it")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _repeated(ids: list[str]) -> str:
    seen: set[str] = set()
    for row, name in enumerate(ids):
        if name in seen:
            return f"id {name!r} occurs again at row {row}"
        seen.add(name)
    return ""

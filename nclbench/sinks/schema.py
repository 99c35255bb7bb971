"""A problem as canonical arrays and attributes, the same in every container; the names are those that `load` reads."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench import __version__
from nclbench.errors import InputError
from nclbench.problem import Embeddings, Problem

VERSION = "1.0"
Array = npt.NDArray[Any]
Scalar = str | float | bool
_SCORES = {("query_bank", "items"): "bank/text/scores", ("queries", "item_bank"): "bank/video/scores"}


@dataclass(frozen=True)
class Slabs:
    """An array that need not be in memory: `pieces` gives its rows in their order."""

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    pieces: Callable[[], Iterator[Array]]


def flatten(problem: Problem) -> tuple[dict[str, Array], dict[str, Scalar]]:
    """Arrays by key (texts as object arrays of str) and attributes. A reversed problem is written the usual way round.

    InputError for scores that the schema has no place for.
    """
    if problem.direction == "v2t":
        problem = problem.reversed()
    split = word(problem.split)
    arrays: dict[str, Array] = {}
    for group, side in (
        (f"{split}/text", problem.queries),
        (f"{split}/video", problem.items),
        ("bank/text", problem.query_bank),
        ("bank/video", problem.item_bank),
    ):
        if side is not None:
            arrays |= {f"{group}/{field}": values for field, values in _side(side).items()}
    for pair, values in problem.scores.items():
        place = f"{split}/scores/values" if pair == ("queries", "items") else _SCORES.get(pair)
        if place is None:
            raise InputError(f"scores of {pair[0]} x {pair[1]} have no place in an embeddings file; leave them out")
        arrays[place] = values
    arrays |= {f"{split}/{key}": values for key, values in _relation(problem).items()}
    attributes: dict[str, Scalar] = {
        "nclbench_schema": VERSION,
        "created_by": f"nclbench {__version__}",
        "dataset": problem.dataset,
        "split": problem.split,
        "model": problem.model,
        "similarity": problem.scorer,
        "labelled": problem.relevance is not None,
    }
    if problem.fitted_on:
        attributes["fitted_on"] = problem.fitted_on
    if problem.tokens_aligned:
        attributes["tokens_aligned"] = True
    if problem.adjusted_for:
        attributes["adjusted_for"] = problem.adjusted_for
    if problem.logit_scale is not None:
        attributes["logit_scale"] = problem.logit_scale
    return arrays, attributes


def texts(values: Sequence[str]) -> Array:
    """(N,) object array of str."""
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def word(split: str) -> str:
    """A split's name as part of a key, where dots and slashes part words and `bank` means a bank."""
    word = re.sub(r"[./]", "_", split) or "test"
    return f"split_{word}" if word.startswith("bank") else word


def _side(side: Embeddings) -> dict[str, Array]:
    found: dict[str, Array] = {"ids": texts(side.ids)}
    if side.vectors is not None:
        found["embeddings"] = side.vectors
    if side.captions is not None:
        found["captions"] = texts(side.captions)
    if side.weight is not None:
        found["weight"] = side.weight
    if side.tokens is not None:
        found |= {"tokens/values": side.tokens.values, "tokens/mask": side.tokens.mask}
        if side.tokens.weight is not None:
            found["tokens/weights"] = side.tokens.weight
        if side.tokens.spans is not None:
            found["tokens/spans"] = side.tokens.spans
    return found


def _relation(problem: Problem) -> dict[str, Array]:
    """One ungraded item a query as `item_ids`, anything else as a list of pairs."""
    relevance = problem.relevance
    if relevance is None:
        return {}
    items = texts([problem.items.ids[item] for item in relevance.item.tolist()])
    if len(relevance) == len(problem.queries) and (np.diff(relevance.query) == 1).all() and (relevance.gain == 1).all():
        return {"text/item_ids": items}
    queries = texts([problem.queries.ids[query] for query in relevance.query.tolist()])
    return {"relevance/query_ids": queries, "relevance/item_ids": items, "relevance/grade": relevance.gain}

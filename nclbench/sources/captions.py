"""Captions from a file of their own, for people to read: benchmarks' texts may not be packed with embeddings."""

from dataclasses import replace
from pathlib import Path

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.problem import Problem
from nclbench.sources.containers import Shelf
from nclbench.sources.relation import listed

_TEXT = ("caption", "captions", "sentence", "text", "description", "query")
_ID = ("id", "query_id", "caption_id", "video_id", "image_id", "item_id", "video", "file_name", "name", "key")


def with_captions(problem: Problem, path: str | Path, shelf: Shelf) -> Problem:
    """The problem with captions for its queries, matched by their ids, else by the ids of their items, else by order.

    The file is a list (one a line, JSON), a table with a caption column (CSV, TSV, Parquet), or JSON {id: caption}.
    """
    where = printable(path)
    captions, ids = _read(str(path), shelf)
    for name, keys in ids.items():
        if len(set(keys)) < len(keys):
            continue
        by_id = dict(zip(keys, captions, strict=True))
        for wanted in (problem.queries.ids, _items_of_queries(problem)):
            if wanted is not None and all(key in by_id for key in wanted):
                return _with(problem, [by_id[key] for key in wanted])
        missing = [key for key in problem.queries.ids if key not in by_id]
        if len(missing) < len(problem.queries):
            raise InputError(
                f"{where}:{printable(name)}: {len(missing)} queries are not in it ({listed(missing[:5])}); add them"
            )
    if len(captions) != len(problem.queries):
        raise InputError(
            f"{where}: {len(captions)} captions for {len(problem.queries)} queries, and no ids that match; "
            "give one a query"
        )
    return _with(problem, captions)


def _with(problem: Problem, captions: list[str]) -> Problem:
    return replace(problem, queries=replace(problem.queries, captions=tuple(captions)))


def _items_of_queries(problem: Problem) -> list[str] | None:
    """The item of each query, where every query has one and no item is asked for twice."""
    relevance = problem.relevance
    if relevance is None or len(relevance) != len(problem.queries):
        return None
    items = relevance.item.tolist()
    return [problem.items.ids[item] for item in items] if len(set(items)) == len(items) else None


def _read(path: str, shelf: Shelf) -> tuple[list[str], dict[str, list[str]]]:
    """Captions, and the columns beside them that may be ids."""
    raw = shelf.open(path)
    if "" in raw.entries:
        return list(shelf.read(path, [""])[""].tolist()), {}
    text = next((name for name in _TEXT if name in raw.entries), None)
    if text is None:
        raise InputError(f"{raw.origin}: no column of captions; name one of its columns 'caption'")
    named = [name for name in _ID if name in raw.entries]
    found = shelf.read(path, [text, *named])
    lists = {name: [str(value) for value in values.tolist()] for name, values in found.items()}
    return lists[text], {name: lists[name] for name in named}

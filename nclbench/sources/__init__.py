"""Files to problems: `load` opens anything the field writes, recognises its layout and checks it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.problem import Problem
from nclbench.sources.raw import Raw

PathLike = str | os.PathLike[str]


def load(
    emb: PathLike | Sequence[PathLike],
    *,
    layout: str | None = None,
    mapping: Mapping[str, str] | None = None,
    bank: PathLike | None = None,
    split: str | None = None,
    captions: PathLike | None = None,
    no_labels: bool = False,
) -> Problem:
    """A problem from a file, a folder, or two files of one model (`"text.npy,video.npy"` or a pair of paths).

    layout: a name of `nclbench list layouts` instead of recognition. mapping: parts to sources, as `--map`. bank: a
    file with training queries (and items). captions: texts for the queries, a line each or a CSV of id and caption.
    Raises InputError for anything that must not be scored, MissingError for missing files, UsageError for names.
    """
    from nclbench.sources.assemble import assemble
    from nclbench.sources.containers import open_raw
    from nclbench.sources.layouts import recognise
    from nclbench.sources.mapping import mapped

    name = os.fspath(emb) if isinstance(emb, str | os.PathLike) else ",".join(os.fspath(each) for each in emb)
    raw = open_raw(name)
    given = mapped(mapping or {}, raw)
    try:
        _, sources = recognise(raw, split, layout)
    except InputError:
        if not _complete(given):
            raise
        sources = {}
    sources = {**sources, **given}
    if "scores/values" in given:
        sources = {part: source for part, source in sources.items() if not part.endswith("embeddings")}
    if bank is not None:
        sources.update(_bank(open_raw(os.fspath(bank)), layout))
    problem = assemble(
        sources, labels=not no_labels, identity=_identity(raw, split), foreign="nclbench_schema" not in raw.attributes
    )
    return problem if captions is None else _captioned(problem, open_raw(os.fspath(captions)))


def _complete(parts: Mapping[str, Any]) -> bool:
    return "scores/values" in parts or {"text/embeddings", "video/embeddings"} <= set(parts)


def _identity(raw: Raw, split: str | None) -> dict[str, Any]:
    """dataset, split, model and scorer from the file's attributes, else from its name."""
    stem = printable(Path(raw.path.partition(",")[0]).stem) or "unnamed"
    found = {key: printable(value) for key, value in raw.attributes.items() if isinstance(value, str)}
    similarity = found.get("similarity", "cosine")
    return {
        "dataset": found.get("dataset", stem),
        "split": split or found.get("split", "test"),
        "model": found.get("model", stem),
        "scorer": similarity if similarity in ("cosine", "dot") else "cosine",
        "logit_scale": raw.attributes.get("logit_scale"),
    }


def _bank(raw: Raw, layout: str | None) -> dict[str, Any]:
    """Bank parts of a file: those it calls so, else its two sides, else its only array as queries."""
    from nclbench.sources.layouts import Source, recognise

    if list(raw.entries) == [""]:
        return {"bank/text/embeddings": Source(raw, "")}
    try:
        _, found = recognise(raw, None, layout)
    except InputError:
        from nclbench.sources.layouts import _flat_parts

        found = _flat_parts(raw)
    banks = {part: source for part, source in found.items() if part.startswith("bank/")}
    banks = banks or {
        f"bank/{part}": source for part, source in found.items() if part.endswith(("/embeddings", "/ids"))
    }
    if not any(part.endswith("embeddings") for part in banks):
        raise InputError(f"{raw.origin}: no bank embeddings recognised; name them text_embeddings or use --map")
    return banks


def _captioned(problem: Problem, raw: Raw) -> Problem:
    """The problem with texts for its queries, by id where the file has ids, else in order."""
    columns = raw.fetch(list(raw.entries))
    texts = columns.get("caption", columns.get("sentence", columns.get("")))
    if texts is None:
        raise InputError(f"{raw.origin}: no column `caption`; it has {', '.join(map(printable, columns))}")
    names = next((columns[key] for key in ("id", "query_id", "video_id", "key") if key in columns), None)
    if names is not None and set(problem.queries.ids) <= set(names.tolist()):
        by_id = dict(zip(names.tolist(), texts.tolist(), strict=True))
        ordered = tuple(str(by_id[each]) for each in problem.queries.ids)
    elif len(texts) == len(problem.queries):
        ordered = tuple(str(each) for each in np.asarray(texts).tolist())
    else:
        raise InputError(
            f"{raw.origin}: {len(texts)} captions for {len(problem.queries)} queries, and its ids do not match theirs"
        )
    return replace(problem, queries=replace(problem.queries, captions=ordered))

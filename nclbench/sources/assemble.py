"""Canonical arrays become a Problem. What `problem.py` checks is not checked again here, except to say it better."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.problem import ROLES, Embeddings, Floats, Input, Problem
from nclbench.sources.containers import Shelf
from nclbench.sources.keys import Key
from nclbench.sources.raw import Scalar
from nclbench.sources.reading import Reading, of_role
from nclbench.sources.relation import relate
from nclbench.sources.sides import collection, matrix
from nclbench.sources.source import Loaded, fetch

Sides = dict[str, Embeddings]
Scores = dict[tuple[str, str], Floats]


def assemble(reading: Reading, shelf: Shelf, no_labels: bool = False) -> Problem:
    """Reads everything that a plan names. InputError says what is wrong, in which file and array, and what to do."""
    fields = {role: of_role(reading.sources, role) for role in ROLES}
    _check_complete(reading, fields)
    loaded = fetch({str(key): source for key, source in reading.sources.items()}, shelf)
    by_role = {role: {name: loaded[str(key)] for name, key in keys.items()} for role, keys in fields.items()}
    notes: list[str] = []
    scores = _scores(reading, loaded, by_role)
    sides = _sides(by_role, scores, loaded)
    if not reading.own and not any("ids" in by_role[role] for role in ("queries", "items")):
        notes.append(f"{reading.name}: no ids, so rows are named by their numbers")
    queries, items = sides["queries"], sides["items"]
    relevance = None
    if not no_labels and str(reading.attributes.get("labelled", True)).lower() != "false":
        relevance = relate(
            queries,
            items,
            {**by_role["queries"], **_relevance(reading, loaded)},
            ("ids" in by_role["queries"], "ids" in by_role["items"]),
            _captions_per_item(reading),
            notes,
        )
    stem = printable(_stem(reading.paths[0] if reading.paths else next(iter(reading.sources.values())).path))
    return Problem(
        queries=queries,
        items=items,
        relevance=relevance,
        query_bank=sides.get("query_bank"),
        item_bank=sides.get("item_bank"),
        scores=scores,
        scorer=_similarity(reading, notes),
        tokens_aligned=str(reading.attributes.get("tokens_aligned", False)).lower() in ("true", "1"),
        logit_scale=_logit_scale(reading, notes),
        dataset=str(reading.attributes.get("dataset") or _dataset(queries, items)),
        split=reading.split,
        model=str(reading.attributes.get("model", stem)),
        fitted_on=printable(reading.attributes.get("fitted_on", "")),
        adjusted_for=_adjusted_for(reading),
        inputs=inputs_of(fields, loaded, shelf),
        notes=tuple(notes),
    )


def _adjusted_for(reading: Reading) -> str:
    said = str(reading.attributes.get("adjusted_for", ""))
    if said not in ("", "t2v", "v2t"):
        raise InputError(f"{reading.name}: adjusted_for is {printable(said)!r}; it must be t2v or v2t")
    return said


def _dataset(queries: Embeddings, items: Embeddings) -> str:
    """A benchmark that the ids prove, else the size: models on one test set stand in one block of a table."""
    from nclbench.sources.datasets import verified

    return verified(len(queries), len(items), items.ids) or f"{len(queries)}x{len(items)}"


def _check_complete(reading: Reading, fields: Mapping[str, Mapping[str, Key]]) -> None:
    if any(key.role == "scores" for key in reading.sources):
        return
    for role, word in (("queries", "text"), ("items", "video")):
        if not {"embeddings", "tokens/values"} & set(fields[role]):
            found = ", ".join(sorted(printable(key) for key in reading.sources))
            raise InputError(
                f"{reading.name}: no embeddings of the {role} (found {found}); give both sides as TEXTS,ITEMS or with "
                f"--map test.{word}.embeddings=SOURCE"
            )


def _scores(reading: Reading, loaded: Mapping[str, Loaded], by_role: Mapping[str, Mapping[str, Loaded]]) -> Scores:
    found: Scores = {}
    for key in reading.sources:
        if key.role == "scores":
            found["queries", "items"] = matrix(loaded[str(key)])
    if "scores" in by_role["query_bank"]:
        found["query_bank", "items"] = matrix(by_role["query_bank"]["scores"])
    if "scores" in by_role["item_bank"]:
        found["queries", "item_bank"] = matrix(by_role["item_bank"]["scores"])
    return found


def _sides(by_role: Mapping[str, Mapping[str, Loaded]], scores: Scores, loaded: Mapping[str, Loaded]) -> Sides:
    """All roles that exist; where only scores are known, they say how many rows there are."""
    found: Sides = {}
    origin = next((value.origin for name, value in loaded.items() if name.endswith("scores/values")), "")
    for role, given in by_role.items():
        count = next((s.shape[pair.index(role)] for pair, s in scores.items() if role in pair), None)
        if "embeddings" in given or "tokens/values" in given or count is not None:
            own = given["scores"].origin if "scores" in given else origin
            found[role] = collection(role, given, count, own)
    for (rows, columns), values in scores.items():
        expected = tuple(len(found[role]) if role in found else 0 for role in (rows, columns))
        if values.shape != expected:
            where = origin or "scores"
            raise InputError(f"{where}: shape {values.shape}, but {rows} x {columns} are {expected}; they must agree")
    return found


def _relevance(reading: Reading, loaded: Mapping[str, Loaded]) -> dict[str, Loaded]:
    found = {key.field: loaded[str(key)] for key in reading.sources if key.role == "relevance"}
    if "item_ids" in found:
        found["pair_item_ids"] = found.pop("item_ids")
    return found


def _captions_per_item(reading: Reading) -> int | None:
    value = reading.attributes.get("captions_per_item")
    if value is None:
        return None
    if not re.fullmatch(r"[1-9]\d*", str(value)):
        raise InputError(f"{reading.name}: captions_per_item is {printable(value)}; it must be a whole number")
    return int(value)


def _similarity(reading: Reading, notes: list[str]) -> str:
    word = str(reading.attributes.get("similarity", "cosine"))
    if word.partition(":")[0] in ("cosine", "dot", "ti", "wti", "maxsim", "dmae"):
        return word
    notes.append(f"{reading.name}: similarity {printable(word)!r} is not known, cosine is used")
    return "cosine"


def _logit_scale(reading: Reading, notes: list[str]) -> float | None:
    value: Scalar | None = reading.attributes.get("logit_scale")
    if value is None:
        return None
    try:
        scale = float(value)
    except ValueError:
        raise InputError(f"{reading.name}: logit_scale is {printable(value)!r}; it must be a number") from None
    if not 0 < scale < float("inf"):
        raise InputError(f"{reading.name}: logit_scale is {scale}; it must be a positive number (100 for CLIP)")
    if scale < 10 and not reading.own:
        notes.append(
            f"{reading.name}: logit_scale {scale:g} looks like a logarithm (e^x = {np.exp(scale):.4g}); "
            "it is taken as it is"
        )
    return scale


def inputs_of(fields: Mapping[str, Mapping[str, Key]], loaded: Mapping[str, Loaded], shelf: Shelf) -> tuple[Input, ...]:
    """One a file and role: vectors or scores first, other columns only of files that gave nothing else to the role."""
    roles = {str(key): role for role, keys in fields.items() for key in keys.values()}
    order = sorted(
        loaded.items(),
        key=lambda entry: (not entry[0].endswith(("embeddings", "scores", "values")), entry[0].endswith("tokens/values")),
    )
    found: dict[tuple[str, str], Input] = {}
    for key, values in order:
        role = roles.get(key, key.split("/")[1])
        for path, shape, dtype in values.pieces:
            for file in shelf.open(path).files:
                name = path if file == Path(path) else str(file)
                found.setdefault((role, name), Input(role, name, shelf.digest(file), shape, dtype))
    return tuple(sorted(found.values(), key=lambda entry: (entry.role, entry.path)))


def _stem(path: str) -> str:
    return Path(path).stem.strip("*_-") or Path(path).name

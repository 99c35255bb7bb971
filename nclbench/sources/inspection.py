"""What is in a file, as plain data: datasets, layout, counts, norms, repetitions, ties, fitting benchmarks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nclbench.errors import NclbenchError, UsageError
from nclbench.leaks import leaks, row_keys
from nclbench.problem import ROLES, Embeddings, Floats, Problem
from nclbench.sources.assemble import assemble
from nclbench.sources.containers import Shelf
from nclbench.sources.given import Given
from nclbench.sources.raw import Scalar
from nclbench.sources.reading import Assignments, Paths, Reading, given_paths, plan
from nclbench.sources.source import parts, resolve


@dataclass(frozen=True)
class Dataset:
    """One array of a file. meaning: its canonical keys, "" where it is not used. D is -1 where only reading tells."""

    file: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str = ""


@dataclass(frozen=True)
class Side:
    """One collection. repeated_rows: rows equal to an earlier one. norms: min, mean, max; None without vectors."""

    rows: int
    features: int | None
    dtype: str | None
    norms: tuple[float, float, float] | None
    normalised: bool | None
    repeated_rows: int | None
    repeated_captions: int | None


@dataclass(frozen=True)
class Inspection:
    """mapping: canonical key -> source, as `--map` takes it. error: why the file cannot be evaluated, if it cannot.

    captions_per_item: fewest and most queries of an item that has any. tied: queries whose best score is shared, by
    direction, of a score matrix. benchmarks: those with these counts, best first.
    """

    paths: tuple[str, ...]
    datasets: tuple[Dataset, ...]
    layout: str | None = None
    split: str | None = None
    splits: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    sides: Mapping[str, Side] = field(default_factory=dict)
    pairs: int | None = None
    captions_per_item: tuple[int, int] | None = None
    items_without_query: int | None = None
    tied: Mapping[str, int] = field(default_factory=dict)
    benchmarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inspect(
    emb: Paths,
    *,
    layout: str | None = None,
    mapping: Assignments | None = None,
    split: str | None = None,
) -> tuple[Inspection, NclbenchError | None]:
    """What can be said, and the error that `load` would raise. Options that cannot be understood are raised at once."""
    shelf, paths = Shelf(), given_paths(emb)
    given = Given.of(paths, shelf)
    reading, problem, error = None, None, None
    try:
        reading = plan(emb, shelf, layout, mapping, split)
        problem = assemble(reading, shelf)
    except UsageError:
        raise
    except NclbenchError as found:
        error = found
    known = Inspection(tuple(paths), _datasets(given, reading, shelf), error=None if error is None else str(error))
    if reading is None:
        return known, error
    facts: dict[str, Any] = {} if problem is None else _facts(problem)
    return Inspection(
        paths=known.paths,
        datasets=known.datasets,
        layout=reading.layout,
        split=reading.split,
        splits=reading.splits,
        mapping={str(key).replace("/", "."): str(source) for key, source in reading.sources.items()},
        attributes=reading.attributes,
        error=known.error,
        **facts,
    ), error


def _datasets(given: Given, reading: Reading | None, shelf: Shelf) -> tuple[Dataset, ...]:
    """Every array of the files given or mapped; of a folder, those of the files that are used, and all other names."""
    meaning: dict[tuple[str, str], list[str]] = {}
    for key, source in ({} if reading is None else reading.sources).items():
        for path in parts(source.path):
            meaning.setdefault((path, resolve(shelf.open(path), source.key)), []).append(str(key).replace("/", "."))
    used = [*dict.fromkeys([*(raw.path for raw in given.parts), *(path for path, _ in meaning)])]
    found = [
        Dataset(path, key, entry.shape, entry.dtype, ", ".join(meaning.get((path, key), ())))
        for path in used
        for key, entry in shelf.open(path).entries.items()
    ]
    others = [str(Path(given.folder) / name) for name in given.names]
    return (*found, *(Dataset(path, "", (), "not read") for path in others if path not in used))


def _facts(problem: Problem) -> dict[str, Any]:
    from nclbench.sources.datasets import matching

    sides = {role: side for role in ROLES if (side := problem.role(role)) is not None}
    facts: dict[str, Any] = {
        "sides": {role: _side(side) for role, side in sides.items()},
        "benchmarks": tuple(matching(len(problem.queries), len(problem.items), problem.items.ids)),
        "notes": problem.notes + leaks(problem),
    }
    if problem.relevance is not None:
        counts = np.bincount(problem.relevance.item, minlength=len(problem.items))
        facts["pairs"] = len(problem.relevance)
        facts["captions_per_item"] = (int(counts[counts > 0].min()), int(counts.max()))
        facts["items_without_query"] = int((counts == 0).sum())
    scores = problem.scores.get(("queries", "items"))
    if scores is not None:
        facts["tied"] = {"t2v": _tied(scores), "v2t": _tied(scores.T)}
    return facts


def _side(side: Embeddings) -> Side:
    captions = None if side.captions is None else _repeats(side.captions)
    if side.vectors is None:
        return Side(len(side), None, None, None, None, None, captions)
    norms = np.concatenate([_norms(side.vectors[start : start + 4096]) for start in range(0, len(side), 4096)])
    low, mean, high = float(norms.min()), float(norms.mean()), float(norms.max())
    return Side(
        rows=len(side),
        features=side.vectors.shape[1],
        dtype=str(side.vectors.dtype),
        norms=(low, mean, high),
        # Half precision keeps about three digits of a norm of one.
        normalised=abs(low - 1) < 1e-3 and abs(high - 1) < 1e-3,
        repeated_rows=_repeats(list(row_keys(side.vectors))),
        repeated_captions=captions,
    )


def _norms(rows: Floats) -> Floats:
    found: Floats = np.linalg.norm(rows.astype(np.float64), axis=1)
    return found


def _repeats(values: Sequence[Any]) -> int:
    return sum(count - 1 for count in Counter(values).values())


def _tied(scores: Floats) -> int:
    """Rows whose best score occurs more than once. scores: (N, M)."""
    return sum(int(((part == part.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum()) for part in _strips(scores))


def _strips(scores: Floats) -> list[Floats]:
    return [scores[start : start + 1024] for start in range(0, len(scores), 1024)]

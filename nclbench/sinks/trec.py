"""Rankings as TREC runs and qrels, for trec_eval, ir_measures and whatever reads these."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nclbench import files
from nclbench.errors import UsageError
from nclbench.results import Columns, Results

# how many items of a query a run holds: what TREC's tools look at
DEPTH = 1000
_UNSAFE = re.compile(r"[^A-Za-z0-9.=_-]+")


def export(results: Results, folder: Path) -> tuple[list[Path], list[str]]:
    """Writes `MODEL.DIRECTION.SPEC.run` for each row and `MODEL.DIRECTION.qrels`; what it wrote, and notes.

    A run's score falls by 1 from place to place, so that no tool breaks ties its own way; where scores do tie, their order
    is that of the file, and a figure lies between our bounds over tie orders. Blanks in ids become `%20` and so on.
    """
    texts: dict[str, str] = {}
    notes: list[str] = []
    for run in results.runs:
        if run.operator.unavailable or run.protocol == "videos":
            continue
        at = _rows(results, run)
        model, spec = _name(run.model), _name("raw" if run.operator.spec == "none" else run.operator.spec)
        name = f"{model}.{run.direction}.{spec}.run"
        if name in texts:
            raise UsageError(f"two rows would be written to {name}; export them apart")
        texts[name] = "".join(_run_lines(results.queries, at, f"nclbench-{spec}"))
        if "wants" in results.queries:
            texts.setdefault(f"{model}.{run.direction}.qrels", "".join(_qrels_lines(results.queries, at)))
        held = max((len(results.queries["top"][row]) for row in at), default=0)
        size = next((int(term.split()[0]) for term in run.terms if term.endswith(" items")), held)
        if held < size:
            notes.append(f"{run.direction}: runs hold the first {held} of {size} items; for MRR and mAP tools see no more")
        if run.ties.get("queries"):
            notes.append(f"{name}: {run.ties['queries']} queries have ties, which it orders as the file does")
    for name, text in texts.items():
        files.write_text(folder / name, text)
    return [folder / name for name in texts], list(dict.fromkeys(notes))


def shortened(queries: Columns, count: int) -> Columns:
    """Rows of queries that name so many of the best items and no more."""
    if "top" not in queries:
        return queries
    top = np.empty(len(queries["top"]), dtype=object)
    for at, names in enumerate(queries["top"]):
        top[at] = names[:count]
    return {**queries, "top": top}


def _rows(results: Results, run: Any) -> list[int]:
    """Where the rows of a run are."""
    table, keys = results.queries, (run.dataset, run.model, run.operator.spec, run.direction, run.protocol)
    names = ("dataset", "model", "spec", "direction", "protocol")
    there = [table[name] == key for name, key in zip(names, keys, strict=True)]
    found = there[0]
    for more in there[1:]:
        found = found & more
    return [int(at) for at in found.nonzero()[0]]


def _run_lines(table: Any, rows: list[int], tag: str) -> Iterator[str]:
    for at in rows:
        query, top = _token(table["id"][at]), table["top"][at]
        for place, item in enumerate(top):
            yield f"{query} Q0 {_token(item)} {place + 1} {len(top) - place} {tag}\n"


def _qrels_lines(table: Any, rows: list[int]) -> Iterator[str]:
    for at in rows:
        for item, gain in zip(table["wants"][at], table["gains"][at], strict=True):
            if gain != int(gain):
                name = files.printable(item)
                raise UsageError(f"--export-run: grade {gain:g} of {name} is no integer, and qrels have no others")
            yield f"{_token(table['id'][at])} 0 {_token(item)} {int(gain)}\n"


def _token(name: Any) -> str:
    """An id as one word."""
    return re.sub(r"[\s%]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), str(name))


def _name(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("_") or "_"

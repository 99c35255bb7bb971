"""Saved results as arguments of a command, with the rows beside them where they are needed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nclbench.comparison import Saved


def one_thread() -> None:
    """To be called before numpy is loaded. Its products are many and small here, and threads that wait for each other at
    the end of each double the work, and the time beside busy neighbours.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def read(paths: Sequence[str], *, rows: bool, lists: bool = False) -> "list[Saved]":
    """Each file once. rows: of queries and items too; lists: with the best items of each query."""
    from dataclasses import replace

    from nclbench.comparison import Saved
    from nclbench.errors import InputError
    from nclbench.files import printable
    from nclbench.sinks import rows as tables
    from nclbench.sinks.columns import KEYS
    from nclbench.sinks.results import read_json

    found = []
    for path in dict.fromkeys(paths):
        if Path(path).is_dir():
            held = Path(path) / "results.json"
            hint = f", as {printable(held)}" if held.is_file() else ""
            raise InputError(f"{printable(Path(path))}: a folder; give a results file{hint}")
        results = read_json(Path(path))
        if not results.runs:
            raise InputError(f"{printable(path)}: no runs in it; write it again with nclbench eval")
        if rows:
            queries, items = tables.beside(Path(path))
            without = () if lists else ("top",)
            results = replace(results, queries=tables.read(queries, without=without), items=tables.read(items, KEYS))
        found.append(Saved(path, results))
    return found

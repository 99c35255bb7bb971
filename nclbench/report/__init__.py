"""Results to tables, tables to dialects. A dialect is a module with `render(table) -> str`, named in `DIALECTS`."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from nclbench.errors import UsageError, nearest
from nclbench.results import Results

if TYPE_CHECKING:
    from nclbench.report.cells import Table

DIALECTS = {"md": "markdown", "csv": "csv", "html": "html", "latex": "latex"}
FORMATS = (*DIALECTS, "json")


def render(
    results: Results | Sequence[Results], format: str, metrics: Sequence[str] | None = None, decimals: int = 1
) -> str:
    """The results as text in one of `FORMATS`, with a final newline. JSON is complete, whatever `metrics` says."""
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}{nearest(format, FORMATS)}")
    if format == "json":
        from nclbench.report import json

        return json.render(results)
    from nclbench.report.table import build

    return dialect(build(results, metrics=metrics, decimals=decimals), format)


def dialect(table: "Table", format: str) -> str:
    """A table as text in one of `DIALECTS`."""
    return str(import_module(f"{__name__}.{DIALECTS[format]}").render(table))

"""`nclbench list KIND`: what there is, with parameters and sources."""

import csv
import io
import json as text
import math
from collections.abc import Callable
from typing import Annotated, Any

import typer

from nclbench.cli import options, output
from nclbench.errors import UsageError, nearest
from nclbench.files import printable

Entry = dict[str, Any]
_COLUMNS = ("name", "params", "source", "needs", "summary")
# of operators: what they look at, and what their formula takes for granted
_MORE = ("fits_on", "assumes")
Format = Annotated[
    str | None,
    typer.Option("--format", "-f", metavar="NAME", show_envvar=False, help="table, json, csv or md."),
]


def names(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="operators, metrics, diagnostics, scorers, datasets or layouts.")],
    format: Format = None,
    json: options.Json = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """What there is: operators, metrics, diagnostics, scorers, datasets or layouts.

    nclbench list operators
    """
    chosen = "json" if json and format is None else format or "table"
    if chosen not in _FORMATS or (json and chosen != "json"):
        raise UsageError(f"unknown format {chosen!r}{nearest(chosen, _FORMATS)}")
    if kind not in _KINDS:
        raise UsageError(f"unknown kind {kind!r}{nearest(kind, _KINDS)}")
    output.put(_FORMATS[chosen](_KINDS[kind]()), json=chosen == "json")


def _json(entries: list[Entry]) -> str:
    return text.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def _table(entries: list[Entry]) -> str:
    lines = []
    for whole in entries:
        entry = _flat(whole)
        # the splits of a dataset have blanks and commas of their own, and are no spec
        prose = any(" " in str(value) for value in (whole["params"] or {}).values())
        lines.append(entry["name"] + (f":{entry['params']}" if entry["params"] and not prose else ""))
        lines.append(f"    {entry['summary']}")
        lines += [f"    {printable(f'{key}: {value}')}" for key, value in whole["params"].items()] if prose else []
        lines += [f"    {key.replace('_', ' ')}: {entry[key]}" for key in _MORE if key in entry]
        said = [f"{key} {entry[key]}" if key == "needs" else f"{key}: {entry[key]}" for key in ("source", "needs") if entry[key]]
        lines += [f"    {'; '.join(said)}"] if said else []
    return "".join(f"{line}\n" for line in lines)


def _csv(entries: list[Entry]) -> str:
    from nclbench.files import spreadsheet as guard

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = _columns(entries)
    writer.writerow(columns)
    writer.writerows([guard(entry.get(name, "")) for name in columns] for entry in map(_flat, entries))
    return stream.getvalue()


def _markdown(entries: list[Entry]) -> str:
    from nclbench.report.markdown import escape

    columns = _columns(entries)
    rows = [[escape(entry.get(name, "")) for name in columns] for entry in map(_flat, entries)]
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _columns(entries: list[Entry]) -> list[str]:
    return [*_COLUMNS, *(key for key in _MORE if any(key in entry for entry in entries))]


def _flat(entry: Entry) -> dict[str, str]:
    """Every field as printable text."""
    params = ",".join(f"{key}={value}" for key, value in (entry["params"] or {}).items())
    return {name: printable(params if name == "params" else entry[name]) for name in (*_COLUMNS, *_MORE) if name in entry}


def _operators() -> list[Entry]:
    from nclbench.operators import operators

    return _registered(operators)


def _scorers() -> list[Entry]:
    from nclbench.scorers import scorers

    return _registered(scorers)


def _registered(registry: Any) -> list[Entry]:
    from nclbench.registry import parameters

    found = []
    for name in registry.names():
        cls = registry.get(name)
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        needs = ", ".join(getattr(cls, "needs", ()))
        entry = {"name": name, "params": parameters(cls), "source": cls.source, "needs": needs, "summary": summary}
        found.append(entry | {key: getattr(cls, key) for key in _MORE if hasattr(cls, key)})
    return found


def _metrics() -> list[Entry]:
    from nclbench.metrics import metrics

    return [
        {
            "name": f"{name}@k" if metric.cutoff else name,
            "params": {"k": "required"} if metric.cutoff else {},
            "source": metric.source,
            "needs": "",
            "summary": f"{metric.summary} ({metric.unit})",
        }
        for name, metric in metrics().items()
    ]


def _diagnostics() -> list[Entry]:
    from nclbench.diagnostics import diagnostics

    return [
        {
            "name": name if name.startswith("p.") else f"{name}@k",
            "params": {} if name.startswith("p.") else {"k": "required"},
            "source": each.source,
            "needs": "",
            "summary": f"{each.summary}; {each.reading} ({_range(each.limits)})",
        }
        for name, each in diagnostics().items()
    ]


def _range(limits: tuple[float, float]) -> str:
    low, high = ("any number" if math.isinf(end) else f"{end:g}" for end in limits)
    return low if low == high else f"from {low}" if high == "any number" else f"{low} to {high}"


def _datasets() -> list[Entry]:
    from nclbench.sources.datasets import listing

    return listing()


def _layouts() -> list[Entry]:
    from nclbench.sources.layouts import listing

    return listing()


_KINDS: dict[str, Callable[[], list[Entry]]] = {
    "operators": _operators,
    "metrics": _metrics,
    "diagnostics": _diagnostics,
    "scorers": _scorers,
    "datasets": _datasets,
    "layouts": _layouts,
}
_FORMATS: dict[str, Callable[[list[Entry]], str]] = {"table": _table, "json": _json, "csv": _csv, "md": _markdown}

"""`nclbench list KIND`: what there is, with parameters and sources."""

import json as text
from collections.abc import Callable
from typing import Annotated, Any

import typer

from nclbench.cli import options
from nclbench.errors import UsageError, nearest
from nclbench.files import printable

Entry = dict[str, Any]


def names(
    kind: Annotated[str, typer.Argument(help="operators, metrics, scorers, datasets or layouts.")],
    format: options.Format = None,
    json: options.Json = False,
) -> None:
    """What there is: operators, metrics, scorers, datasets or layouts."""
    if kind not in _KINDS:
        raise UsageError(f"unknown kind {kind!r}{nearest(kind, _KINDS)}")
    entries = _KINDS[kind]()
    if json or format == "json":
        typer.echo(text.dumps(entries, indent=1, ensure_ascii=False))
        return
    for entry in entries:
        params = ",".join(f"{key}={value}" for key, value in entry["params"].items()) if entry["params"] else ""
        typer.echo(printable(entry["name"] + (f":{params}" if params else "")))
        typer.echo(f"    {printable(entry['summary'])}")
        needs = f"; needs {entry['needs']}" if entry["needs"] else ""
        typer.echo(f"    source: {printable(entry['source'])}{needs}")


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
        found.append(
            {"name": name, "params": parameters(cls), "source": cls.source, "needs": needs, "summary": summary}
        )
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


def _datasets() -> list[Entry]:
    from nclbench.sources.datasets import listing

    return listing()


def _layouts() -> list[Entry]:
    from nclbench.sources.layouts import listing

    return listing()


_KINDS: dict[str, Callable[[], list[Entry]]] = {
    "operators": _operators,
    "metrics": _metrics,
    "scorers": _scorers,
    "datasets": _datasets,
    "layouts": _layouts,
}

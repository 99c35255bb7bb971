"""`nclbench datasets show NAME`: everything that is known of a benchmark, each figure with its source."""

import json as text
from collections.abc import Iterator
from dataclasses import asdict
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from nclbench.cli import options

if TYPE_CHECKING:
    from nclbench.sources.benchmark import Benchmark, Figure, Sourced, Split, Spread

app = typer.Typer(help="Look up published benchmarks.", no_args_is_help=True)
_WIDTH = 100


@app.callback()
def datasets() -> None:
    """Look up published benchmarks: splits, counts, protocol, licence, citation, pitfalls."""


@app.command(context_settings=options.SETTINGS)
def show(
    name: Annotated[str, typer.Argument(help="A benchmark or one of its aliases, as in `nclbench list datasets`.")],
    format: Annotated[
        str, typer.Option("--format", "-f", metavar="NAME", show_envvar=False, help="table or json.")
    ] = "table",
    json: options.Json = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Print what is known of one benchmark, and how sure each figure is."""
    from nclbench.errors import UsageError, nearest
    from nclbench.files import printable
    from nclbench.sources.datasets import get

    if format not in ("table", "json"):
        raise UsageError(f"unknown format {format!r}{nearest(format, ('table', 'json'))}")
    benchmark = get(name)
    if json or format == "json":
        typer.echo(text.dumps(asdict(benchmark), indent=2))
        return
    for line in lines(benchmark):
        typer.echo(printable(line))


def lines(benchmark: "Benchmark") -> Iterator[str]:
    """The table as text."""
    yield f"{benchmark.name}: {benchmark.title}"
    if benchmark.aliases:
        yield from _field("aliases", ", ".join(benchmark.aliases))
    yield from _field("modality", benchmark.modality)
    yield from _field("protocol", benchmark.protocol)
    yield from _field("t2v", benchmark.t2v)
    yield from _field("v2t", benchmark.v2t)
    yield from _field("item ids", benchmark.id_pattern)
    for split in benchmark.splits:
        yield ""
        yield from _split(split, benchmark.things)
    if benchmark.pitfalls:
        yield ""
        yield "pitfalls"
        for pitfall in benchmark.pitfalls:
            text = f"{pitfall.says.rstrip('.')} {_origin(pitfall)}"
            yield from _wrapped(text, "  - ")
    if benchmark.published:
        yield ""
        yield "published results (nclbench table --with-published)"
        for row in benchmark.published:
            what = ", ".join(filter(None, (row.method, row.backbone, row.note, row.direction, f"split {row.split}")))
            figures = ", ".join(f"{name} {value:g}" for name, value in row.metrics.items())
            yield from _wrapped(f"{what}, test_norm {row.test_norm}: {figures} [{row.key}: {row.source}]", "  - ")
    yield ""
    yield "licence"
    yield from _field("terms", f"{benchmark.licence.says} {_origin(benchmark.licence)}")
    yield from _field("passing on", benchmark.licence.redistribution)
    yield ""
    yield "citation"
    yield from _field(benchmark.citation.key, f"{benchmark.citation.text} {_origin(benchmark.citation)}")
    for more in benchmark.citation.also:
        yield from _field("also", more)


def _split(split: "Split", things: str) -> Iterator[str]:
    yield f"split {split.label}"
    yield from _figure(things, split.items)
    if split.queries is not None:
        yield from _figure("captions", split.queries)
    if split.captions_per_item is not None:
        spread = split.captions_per_item
        yield from _field("per item", f"{_spread(spread)} {_origin(spread)}")
    if split.ids_sha256:
        yield from _field("ids sha256", split.ids_sha256)
    if split.note:
        yield from _field("note", split.note)


def _figure(what: str, figure: "Figure") -> Iterator[str]:
    return _field(what, f"{figure.value:,} {_origin(figure)}")


def _spread(spread: "Spread") -> str:
    known = {"min": spread.min, "mean": spread.mean, "max": spread.max}
    return ", ".join(f"{what} {value:g}" for what, value in known.items() if value is not None)


def _origin(sourced: "Sourced") -> str:
    return f"[{sourced.certainty}: {sourced.source}]"


def _field(name: str, text: str) -> Iterator[str]:
    head = f"  {name:<12}"
    if len(name) >= 12:
        yield f"  {name}"
        head = " " * 14
    yield from _wrapped(text, head)


def _wrapped(text: str, head: str) -> list[str]:
    tail = " " * len(head)
    return TextWrapper(_WIDTH, head, tail, break_on_hyphens=False, break_long_words=False).wrap(text)

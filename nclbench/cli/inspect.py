"""`nclbench inspect`: what is in a file, which benchmark it fits, and the mapping to keep."""

import json as json_format
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nclbench.cli import options
from nclbench.errors import UsageError, nearest
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.sources.inspection import Dataset, Inspection, Side

Row = tuple[str, ...]
FORMATS = ("text", "table", "md", "json")
File = Annotated[
    str, typer.Argument(metavar="FILE", help="A file, a folder, or text.npy,video.npy.", show_default=False)
]
Format = Annotated[
    str | None,
    typer.Option("--format", "-f", metavar="NAME", show_envvar=False, help="text (which is Markdown) or json."),
]


def inspect(
    file: File,
    layout: options.Layout = None,
    mapping: options.Map = None,
    split: options.Split = None,
    format: Format = None,
    json: options.Json = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """What is in a file: arrays, layout, counts, norms, repetitions, ties, benchmark, and the mapping as TOML.

    nclbench inspect embeddings.h5
    """
    if format not in (None, *FORMATS):
        raise UsageError(f"unknown format {format!r}{nearest(str(format), FORMATS)}")
    if json and format not in (None, "json"):
        raise UsageError(f"--json and -f {format} contradict each other")
    from nclbench.sources.inspection import inspect as look

    found, error = look(file, layout=layout, mapping=options.pairs(mapping, "--map"), split=split)
    if json or format == "json":
        text = json_format.dumps(found.to_json(), indent=2, allow_nan=False)
    else:
        text = "\n".join(printable(line) for line in _lines(found))
    typer.echo(text)
    if error is not None:
        raise error


def _lines(found: "Inspection") -> Iterator[str]:
    yield f"# {','.join(found.paths)}"
    yield ""
    yield f"layout: {found.layout or 'not recognised'}" + (f", split: {found.split}" if found.split else "")
    if len(found.splits) > 1:
        yield f"splits: {', '.join(found.splits)} (choose with --split)"
    yield from _counts(found)
    yield ""
    yield from _table(("array", "shape", "dtype", "meaning"), [_dataset(entry) for entry in found.datasets])
    if found.sides:
        yield ""
        heads = ("side", "rows", "features", "norms (min, mean, max)", "repeated rows")
        yield from _table(heads, [_side(role, side) for role, side in found.sides.items()])
    if found.mapping:
        yield ""
        yield from _toml(found)
    if found.notes:
        yield ""
        yield from (f"note: {note}" for note in found.notes)


def _counts(found: "Inspection") -> Iterator[str]:
    if not found.sides:
        return
    queries, items = found.sides["queries"], found.sides["items"]
    yield f"size: {queries.rows} queries x {items.rows} items" + (f", D={items.features}" if items.features else "")
    if found.pairs is None:
        yield "labels: none"
    else:
        low, high = found.captions_per_item or (0, 0)
        spread = str(low) if low == high else f"{low} to {high}"
        yield f"labels: {found.pairs} relevant pairs, {spread} queries an item" + (
            f", {found.items_without_query} items without a query" if found.items_without_query else ""
        )
    if queries.repeated_captions is not None:
        yield f"captions: {queries.repeated_captions} repeat an earlier one"
    for direction, count in found.tied.items():
        yield f"ties {direction}: {count} queries share their best score"
    yield f"benchmark: {', '.join(found.benchmarks) if found.benchmarks else 'none with these counts'}"


def _dataset(entry: "Dataset") -> Row:
    shape = " x ".join("?" if size < 0 else str(size) for size in entry.shape)
    return (entry.key or Path(entry.file).name, shape, entry.dtype, entry.meaning or "not used")


def _side(role: str, side: "Side") -> Row:
    if side.norms is None:
        return (role, str(side.rows), "-", "-", "-")
    norms = ", ".join(f"{norm:.4g}" for norm in side.norms) + ("" if side.normalised else " (not normalised)")
    return (role, str(side.rows), str(side.features), norms, str(side.repeated_rows))


def _table(heads: Row, body: list[Row]) -> Iterator[str]:
    """A Markdown table with columns of equal width."""
    rows = [tuple(printable(cell).replace("|", "\\|") for cell in row) for row in (heads, *body)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _toml(found: "Inspection") -> Iterator[str]:
    """The mapping as the config file takes it: a list of KEY=SOURCE."""
    settings = [key for key in ("logit_scale", "captions_per_item", "similarity") if key in found.attributes]
    pairs = [*found.mapping.items(), *((key, found.attributes[key]) for key in settings)]
    yield "```toml"
    yield "map = ["
    for key, source in pairs:
        yield f"  {json_format.dumps(f'{key}={source}', ensure_ascii=False)},"
    yield "]"
    yield "```"

"""Where results go: stdout in the asked format, a file, a folder. Every text is made before the first is written."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nclbench.cli.targets import TABLES
from nclbench.errors import UsageError, nearest
from nclbench.files import is_stream, printable, write_text

if TYPE_CHECKING:
    from nclbench.results import Results

FORMATS = ("table", "json", "csv", "md", "html", "latex")
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "md", ".html": "html", ".tex": "latex", ".txt": "table"}


def choose_format(format: str | None, json: bool = False, output: str | None = None) -> str:
    """As asked; else by the output's suffix, or Markdown; else a table on a terminal and Markdown in a pipe."""
    if json:
        if format not in (None, "json"):
            raise UsageError(f"--json and -f {format} contradict each other")
        return "json"
    if format is not None:
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}{nearest(format, FORMATS)}")
        return format
    if output is not None:
        return _SUFFIXES.get(Path(output).suffix.lower(), "md")
    return "table" if sys.stdout.isatty() else "md"


def check_ending(output: str | None, format: str | None, json: bool = False, *, saved: bool = False) -> None:
    """A name that ends as another kind of file does is a mistake, unless the format is given; and one that ends as a format
    that is not the given one is a contradiction. saved: `-o x.json` saves results, and the format is that of stdout.
    """
    suffix = "" if output is None or is_stream(Path(output)) else Path(output).suffix.lower()
    if suffix and suffix not in _SUFFIXES and format is None and not json:
        raise UsageError(f"-o {printable(output)}: {suffix} is no kind of table; use {', '.join(_SUFFIXES)}, or give -f")
    asked = "json" if json else format
    if asked in (None, "table") or _SUFFIXES.get(suffix, "table") in ("table", asked) or (saved and saves(output)):
        return
    given = "--json" if json else f"-f {asked}"
    raise UsageError(f"-o {printable(output)} and {given} contradict each other; give a name that ends otherwise")


def saves(output: str | None) -> bool:
    """Whether `-o` saves the results with their rows; the format is then that of stdout."""
    return output is not None and output.lower().endswith(".json")


def notes(results: "Results", quiet: bool) -> None:
    """The warnings of a run, a line each, to stderr."""
    if not quiet:
        for text in results.warnings:
            typer.echo(f"note: {printable(text)}", err=True)


def deliver(
    results: "Results",
    *,
    format: str | None,
    json: bool,
    output: str | None,
    out_dir: str | None,
    metrics: list[str] | None,
    quiet: bool,
    pages: Mapping[str, str] | None = None,
) -> None:
    """Prints and writes the results. `-o x.json` saves them with their per-instance rows; stdout then has the table.

    pages: further texts for the folder, by file name.
    """
    saved = saves(output)
    chosen = choose_format(format, json, None if saved else output)
    text = render(results, chosen, metrics)
    tables = {name: render(results, choose_format(None, output=name), metrics) for name in TABLES} if out_dir else {}
    written: list[Path] = []
    if output is not None and saved:
        from nclbench.sinks.results import write_json

        written += write_json(results, Path(output))
    elif output is not None:
        write_text(Path(output), text)
        written.append(Path(output))
    if out_dir is not None:
        from nclbench.sinks.results import write_folder

        written += write_folder(results, Path(out_dir), {**tables, **(pages or {})})
    notes(results, quiet)
    if saved or output is None:
        show(results, chosen, text, metrics)
    if not quiet:
        for path in written:
            typer.echo(f"wrote {printable(path)}", err=True)


def render(results: "Results", format: str, metrics: list[str] | None) -> str:
    """The results as the text of a file."""
    if format == "table":
        from nclbench.cli.terminal import plain
        from nclbench.report.table import build

        return plain(build(results, metrics=metrics))
    from nclbench.report import render as dialect

    return dialect(results, format, metrics)


def show(results: "Results", format: str, text: str, metrics: list[str] | None) -> None:
    """To stdout: the text, or on a terminal the table as wide as that is."""
    if format == "table":
        from nclbench.cli.terminal import show as draw
        from nclbench.cli.terminal import stdout_console
        from nclbench.report.table import build

        draw(build(results, metrics=metrics), stdout_console())
    else:
        put(text, json=format == "json")


def put(text: str, json: bool = False) -> None:
    """Text to stdout as it is. JSON stays whole where stdout has no room for all of Unicode."""
    if json:
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            import json as escapes

            text = "".join(c if c.isascii() else escapes.dumps(c)[1:-1] for c in text)
    typer.echo(text, nl=False, color=True)

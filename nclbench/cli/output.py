"""Where results go: stdout in the asked format, a file, a folder. Outputs are checked before the work begins."""

import sys
from pathlib import Path

import typer

from nclbench.errors import UsageError, nearest
from nclbench.files import check_writable, printable, write_text
from nclbench.results import Results

FORMATS = ("table", "json", "csv", "md", "latex")
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "md", ".tex": "latex"}


def choose_format(format: str | None, json: bool = False, output: str | None = None) -> str:
    """As asked; else by the output's suffix; else a table on a terminal and Markdown in a pipe."""
    if json:
        if format not in (None, "json"):
            raise UsageError(f"--json and -f {format} contradict each other")
        return "json"
    if format is not None:
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}{nearest(format, FORMATS)}")
        return format
    by_suffix = _SUFFIXES.get(Path(output).suffix) if output else None
    return by_suffix or ("table" if sys.stdout.isatty() else "md")


def check(output: str | None, out_dir: str | None) -> None:
    """Fails now rather than after the work."""
    if output:
        check_writable(Path(output))
    if out_dir:
        check_writable(Path(out_dir) / "results.json")


def protect(outputs: list[str | None], inputs: list[str]) -> None:
    """Refuses to write over what is read, and over anything that is not a plain file."""
    for output in (Path(name) for name in outputs if name):
        if output.exists() and not output.is_file():
            raise UsageError(f"-o {printable(output)}: not a regular file; leave -o out to write to stdout")
        if output.exists() and any(Path(name).exists() and output.samefile(name) for name in inputs if name):
            raise UsageError(f"-o {printable(output)}: that is the input; choose another name")


def notes(results: Results, quiet: bool) -> None:
    """The warnings of a run, a line each, to stderr."""
    if not quiet:
        for text in results.warnings:
            typer.echo(f"note: {printable(text)}", err=True)


def deliver(
    results: Results,
    *,
    format: str | None,
    json: bool,
    output: str | None,
    out_dir: str | None,
    metrics: list[str] | None,
    quiet: bool,
) -> None:
    """Prints and writes the results. `-o x.json` saves them with their per-instance rows; stdout then has the table."""
    saved = output is not None and output.endswith(".json") and format in (None, "json")
    chosen = choose_format(format, json, None if saved else output)
    written: list[Path] = []
    if saved:
        from nclbench.sinks.results import write_json

        assert output is not None
        written += write_json(results, Path(output))
    elif output:
        write_text(Path(output), _text(results, "md" if chosen == "table" else chosen, metrics))
        written.append(Path(output))
    if out_dir:
        from nclbench.sinks.results import write_folder

        texts = {"table.md": _text(results, "md", metrics), "table.tex": _text(results, "latex", metrics)}
        written += write_folder(results, Path(out_dir), texts)
    notes(results, quiet)
    if saved or not output:
        show(results, chosen, metrics)
    if not quiet:
        for path in written:
            typer.echo(f"wrote {printable(path)}", err=True)


def show(results: Results, format: str, metrics: list[str] | None) -> None:
    """To stdout."""
    if format == "table":
        from nclbench.cli.terminal import show as draw
        from nclbench.cli.terminal import stdout_console
        from nclbench.report.table import build

        draw(build(results, metrics=metrics), stdout_console())
    else:
        typer.echo(_text(results, format, metrics), nl=False, color=True)


def _text(results: Results, format: str, metrics: list[str] | None) -> str:
    from nclbench.report import render

    return render(results, format, metrics)

"""`nclbench table`: saved results as one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import options, output, saved, targets
from nclbench.errors import UsageError

if TYPE_CHECKING:
    from nclbench.comparison import Saved
    from nclbench.report.cells import Note, Table
    from nclbench.report.table import Beside
    from nclbench.reported import Placed


def _option(*names: str, panel: str = "Table", **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_envvar=False, **more)


_LATEX = "LaTeX"


def table(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS…", help="results.json files.", show_default=False)],
    metric: options.Metric = None,
    rows: Annotated[
        str | None, _option("--rows", metavar="NAME,…", help="Labels of a row, e.g. dataset,model,operator.")
    ] = None,
    cols: Annotated[
        str | None, _option("--cols", metavar="NAME,…", help="Columns side by side, e.g. t2v.R@1,v2t.R@1, or R@1 for each.")
    ] = None,
    delta: Annotated[
        str | None, _option("--delta", metavar="NAME", help="Differences from a spec such as none, a model or a file.")
    ] = None,
    significance: Annotated[
        bool, _option("--significance", help="Tests of the differences, as nclbench compare makes them.")
    ] = False,
    intervals: Annotated[bool, _option("--intervals", help="The 95 % interval of each figure.")] = False,
    with_published: Annotated[
        bool, _option("--with-published", help="Rows that publications report, in groups of their own.")
    ] = False,
    bib: Annotated[str | None, _option("--bib", metavar="FILE.bib", help="Write the BibTeX of what they cite.")] = None,
    decimals: Annotated[int, _option("--decimals", min=0, max=6, help="Of percent and ranks.")] = 1,
    siunitx: Annotated[bool, _option("--siunitx", panel=_LATEX, help="Figures in S columns.")] = False,
    floating: Annotated[bool, _option("--float", panel=_LATEX, help="Within a table environment.")] = False,
    caption: Annotated[str, _option("--caption", panel=_LATEX, metavar="TEXT", help="Of the float.")] = "",
    label: Annotated[str, _option("--label", panel=_LATEX, metavar="NAME", help="Of the float, e.g. tab:main.")] = "",
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="FILE", show_envvar=False, help="Write nothing; exit 1 if this file differs."),
    ] = None,
    format: options.Format = None,
    json: options.Json = False,
    out: options.Written = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """One table of saved results; nothing is computed again.

    nclbench table results.json -f latex -o table.tex
    """
    saved.one_thread()
    chosen = output.choose_format(format, json, out or check)
    if check is not None and out is not None:
        raise UsageError("--check writes nothing; leave -o out")
    if bib is not None and (check is not None or not with_published):
        raise UsageError("--bib is what published rows cite; " + ("leave --check out" if check else "add --with-published"))
    latex = {"--siunitx": siunitx, "--float": floating, "--caption": caption, "--label": label}
    if chosen != "latex" and (given := [name for name, value in latex.items() if value]):
        raise UsageError(f"{given[0]} is for LaTeX; add -f latex")
    if (caption or label) and not floating:
        raise UsageError("--caption and --label are those of a float; add --float")
    if metric and cols is not None:
        raise UsageError("--cols names the metrics; leave --metric out")
    read = [str(file) for path in results for file in targets.beside(path)]
    targets.check(output=out, inputs=read, config=config)
    targets.named("--bib", bib)
    targets.apart({"-o": out, "--bib": bib})
    targets.check(output=bib, inputs=read, config=config)
    output.check_ending(out or check, format, json)
    from nclbench.files import printable, write_text

    parts = saved.read(results, rows=significance)
    placed = _published(parts) if with_published else []
    built = None
    keys = [each.row.key for each in placed]
    if chosen == "json":
        text = _json(parts, placed)
    else:
        shown = _metrics(parts, metric, cols)
        beside, notes, said = _beside(parts, shown, delta, significance, intervals, decimals, seed)
        for text in () if quiet else said:
            typer.echo(f"note: {printable(text)}", err=True)
        built = _built(parts, metric, _words(rows), _words(cols), decimals, beside, notes)
        if placed:
            from nclbench.report.published import cited
            from nclbench.report.published import with_published as under

            built = under(built, placed, decimals)
            keys = cited(built)
        text = _text(built, chosen, latex)
    if bib is not None:
        from nclbench.sources.published import bibtex

        write_text(Path(bib), bibtex(keys))
        if not quiet:
            typer.echo(f"wrote {printable(bib)}", err=True)
    if check is not None:
        _compare(Path(check), text)
    elif out is not None:
        write_text(Path(out), text)
        if not quiet:
            typer.echo(f"wrote {printable(out)}", err=True)
    elif chosen == "table" and built is not None:
        from nclbench.cli.terminal import show, stdout_console

        show(built, stdout_console())
    else:
        output.put(text, json=chosen == "json")


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _joined(parts: "list[Saved]") -> Any:
    from nclbench.results import Results

    return Results.joined([part.results for part in parts])


def _published(parts: "list[Saved]") -> "list[Placed]":
    from nclbench.sources.published import placed

    return placed([run for part in parts for run in part.results.runs])


def _json(parts: "list[Saved]", placed: "list[Placed]") -> str:
    from nclbench.report.json import render
    from nclbench.report.published import as_json

    return render(_joined(parts), {"published": as_json(placed)} if placed else None)


def _metrics(parts: "list[Saved]", metric: list[str] | None, cols: str | None) -> dict[str, list[str]]:
    """Which metrics the table shows, by selector."""
    from nclbench.report.pivot import columns_of
    from nclbench.report.table import columns

    runs = [run for part in parts for run in part.results.runs]
    if cols is None:
        return dict.fromkeys((run.selector for run in runs), columns(runs, metric))
    found: dict[str, list[str]] = {}
    for selector, name in columns_of(runs, _words(cols)):
        found.setdefault(selector, []).append(name)
    return found


def _beside(
    parts: "list[Saved]",
    shown: dict[str, list[str]],
    delta: str | None,
    significance: bool,
    intervals: bool,
    decimals: int,
    seed: int,
) -> "tuple[Beside | None, list[Note], Sequence[str]]":
    """What stands beside figures, its notes, and what is to be said of rows without a difference."""
    if delta is None and not significance and not intervals:
        return None, [], ()
    from nclbench.report.beside import beside

    said: Sequence[str] = ()
    found, compared = [], None
    if significance:
        from nclbench.comparison.compare import compare

        compared = compare(parts, baseline=delta, metrics=shown, seed=seed)
        found, said = [each.pair for each in compared.compared], compared.notes
    elif delta is not None:
        from nclbench.comparison.pairing import alike, pairs

        found, said = alike(*pairs(parts, delta))
    return *beside(found, compared, intervals=intervals, decimals=decimals), said


def _built(
    parts: "list[Saved]",
    metric: list[str] | None,
    rows: list[str] | None,
    cols: list[str] | None,
    decimals: int,
    beside: "Beside | None",
    notes: "list[Note]",
) -> "Table":
    if rows is None and cols is None:
        from nclbench.report.table import build

        return build(_joined(parts), metrics=metric, decimals=decimals, beside=beside, notes=notes)
    from nclbench.report.pivot import pivot

    return pivot(_joined(parts), rows, cols or metric, decimals=decimals, beside=beside, notes=notes)


def _text(table: "Table", format: str, latex: dict[str, Any]) -> str:
    if format == "table":
        from nclbench.cli.terminal import plain

        return plain(table)
    if format == "latex":
        from nclbench.report.latex import Layout, render

        return render(table, Layout(**{name.removeprefix("--"): value for name, value in latex.items()}))
    from nclbench.report import dialect

    return dialect(table, format)


def _compare(path: Path, text: str) -> None:
    """Ends with 1 where a file is not what would be written."""
    from nclbench.files import printable, regular

    old = regular(path).read_bytes().decode("utf-8", "replace").splitlines()
    new = text.splitlines()
    if old == new:
        return
    line = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new)))
    typer.echo(
        f"{printable(path)}: differs from the results, first in line {line + 1}; write it again with -o {printable(path)}",
        err=True,
    )
    raise typer.Exit(1)

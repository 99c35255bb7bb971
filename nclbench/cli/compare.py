"""`nclbench compare`: what differs between saved results, and how sure that is."""

from pathlib import Path
from typing import Annotated

import typer

from nclbench.cli import options, output, saved, targets
from nclbench.errors import UsageError, nearest

MISSING = ("fail", "intersect")


def compare(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS…", help="results.json files.", show_default=False)],
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            show_envvar=False,
            help="A results file, a spec such as none, or a model. Without it the first file; for one file its first rows.",
        ),
    ] = None,
    metric: options.Metric = None,
    missing: Annotated[
        str,
        typer.Option(
            "--missing",
            metavar="RULE",
            show_envvar=False,
            help="fail, or intersect: leave out queries that only one of two results has. Galleries must be equal.",
        ),
    ] = "fail",
    by_query: Annotated[
        str | None,
        typer.Option("--by-query", metavar="FILE.csv", show_envvar=False, help="Write the queries won and lost."),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, max=10_000_000, show_envvar=False, help="Of bootstrap and permutations.")
    ] = 10_000,
    seed: options.Seed = 0,
    format: options.Format = None,
    json: options.Json = False,
    out: options.Written = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Paired differences with intervals and tests; nothing is ranked again.

    nclbench compare baseline.json mine.json --by-query flips.csv
    """
    saved.one_thread()
    chosen = output.choose_format(format, json, out)
    if missing not in MISSING:
        raise UsageError(f"unknown --missing {missing!r}{nearest(missing, MISSING)}")
    paths = [*results]
    if baseline is not None and baseline not in paths and (baseline.endswith(".json") or Path(baseline).is_file()):
        paths.insert(0, baseline)
    read = [str(file) for path in paths for file in targets.beside(path)]
    for target in (out, by_query):
        targets.check(output=target, inputs=read, config=config)
    output.check_ending(out, format, json)
    targets.apart({"-o": out, "--by-query": by_query})

    from nclbench.comparison.compare import compare as run
    from nclbench.files import printable, write_text
    from nclbench.report import comparison as report

    found = run(
        saved.read(paths, rows=True, lists=by_query is not None),
        baseline=baseline,
        metrics=metric,
        intersect=missing == "intersect",
        resamples=resamples,
        seed=seed,
    )
    flips = report.by_query(found) if by_query is not None else ""
    if chosen == "table":
        from nclbench.cli.terminal import plain, show, stdout_console

        table = report.table(found)
        text = plain(table)
    else:
        text = report.render(found, chosen)
    if not quiet:
        for note in found.notes:
            typer.echo(f"note: {printable(note)}", err=True)
    for target, content in ((by_query, flips), (out, text)):
        if target is not None:
            write_text(Path(target), content)
            if not quiet:
                typer.echo(f"wrote {printable(target)}", err=True)
    if out is not None:
        return
    if chosen == "table":
        show(table, stdout_console())
    else:
        output.put(text, json=chosen == "json")

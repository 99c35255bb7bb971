"""`nclbench hubness-report`: who crowds out whom, raw and under operators, on a terminal, a page, figures and rows."""

import json as text_of
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import loading, options, output, processes, targets
from nclbench.cli.progress import Progress
from nclbench.errors import MissingError, UsageError
from nclbench.files import is_stream, printable, write_text

if TYPE_CHECKING:
    from nclbench.audit.advice import Advice
    from nclbench.audit.states import Direction
    from nclbench.results import Results

_PAGES, _FILES = (".html", ".htm"), ("report.html", "results.json", "queries.parquet", "items.parquet")


def _option(*names: str, panel: str | None = "Output", **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_envvar=False, **more)


Files = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE]...", help="Models to compare, with --compare.", show_default=False)
]
Compare = Annotated[bool, _option("--compare", panel="Input", help="The files that follow are models, put side by side.")]
Tau = Annotated[
    float | None,
    _option("--tau", panel=None, metavar="TAU", help="Temperature of retrieval probabilities; else the first operator's."),
]
Out = Annotated[
    str | None, _option("--output", "-o", metavar="FILE", help=".html: the page; .json: results; .md or .txt: the text.")
]
OutDir = Annotated[str | None, _option("--out-dir", metavar="DIR", help="Page, results and rows in one folder.")]
Figures = Annotated[str | None, _option("--figures", metavar="DIR", help="Figures for a paper, as PDF, SVG and PNG.")]
Csv = Annotated[bool, _option("--csv", help="Rows as CSV rather than Parquet.")]
Thumbnails = Annotated[
    str | None, _option("--thumbnails", metavar="DIR", help="Pictures named ID.jpg or ID.png, shown small on the page.")
]
NoAdvice = Annotated[bool, _option("--no-advice", panel=None, help="Try no remedies.")]
FailOn = Annotated[
    list[str] | None, _option("--fail-on", panel=None, metavar="LIMIT", help="Exit 1 where it holds: 'antihubs@10>0.2'; repeat.")
]
Format = Annotated[str | None, _option("--format", "-f", metavar="NAME", help="table, md or json.")]


def hubness_report(
    files: Files = None,
    compare: Compare = False,
    emb: options.Embs = None,
    normalize: options.Normalize = None,
    tau: Tau = None,
    fail_on: FailOn = None,
    no_advice: NoAdvice = False,
    direction: options.Direction = "both",
    scorer: options.Scorer = None,
    strict: options.Strict = False,
    bank: options.Bank = None,
    dataset: options.Dataset = None,
    captions: options.Captions = None,
    no_labels: options.NoLabels = False,
    layout: options.Layout = None,
    mapping: options.Map = None,
    split: options.Split = None,
    format: Format = None,
    json: options.Json = False,
    out: Out = None,
    out_dir: OutDir = None,
    figures: Figures = None,
    csv: Csv = False,
    thumbnails: Thumbnails = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Which items are shown to everybody and which to nobody, before and after a remedy.

    nclbench hubness-report --emb msrvtt.h5 --normalize sinkhorn:tau=0.01 -o report.html
    """
    chosen = _format(format, json, out)
    models = _models(files, compare, emb)
    if tau is not None and not 0 < tau < float("inf"):
        raise UsageError(f"--tau is {tau}; it must be positive")
    from nclbench.audit.conditions import Condition

    limits = [Condition.parse(text) for text in fail_on or ()]
    folds = options.folds(bank)
    places = _places(out, out_dir, figures, csv)
    targets.check_read(places, [*models, bank, captions], mapping, config, normalize or ())
    if thumbnails is not None and not Path(thumbnails).is_dir():
        raise MissingError(f"{printable(thumbnails)}: no such folder")
    sources = options.pairs(mapping, "--map")
    loading.understood(direction, normalize or ())

    from dataclasses import replace

    from nclbench.audit.advice import advise
    from nclbench.audit.states import directions as cut
    from nclbench.evaluation import evaluate
    from nclbench.plan import choose
    from nclbench.results import Results

    followed = processes.follower()
    with Progress(not (no_progress or quiet or followed)) as progress, processes.joined(device) as mine:
        plan = choose(mine, memory, threads, progress)
        problems = loading.read(
            models, layout=layout, mapping=sources, bank=None if folds else bank, split=split, captions=captions,
            no_labels=no_labels, dataset=dataset, scorer=scorer, strict=strict,
        )  # fmt: skip
        parts = [
            evaluate(
                problem, normalize or (), direction=direction, strict=strict, seed=seed, folds=folds, hubness=True, tau=tau,
                plan=plan,
            )  # fmt: skip
            for problem in problems
        ]
        results = replace(Results.joined(parts), command=shlex.join(["nclbench", *sys.argv[1:]]))
        found = cut(results)
        model = problems[0].model if len(problems) > 1 else ""
        advice = [replace(advise(problems[0], each.name, _tau(each), plan), model=model) for each in found if not no_advice]
    broken = [line for limit in limits for line in limit.broken(found, bool(normalize))]
    if not followed:
        _deliver(results, found, advice, chosen, out, out_dir, figures, csv, thumbnails, quiet)
        for line in broken:
            typer.echo(f"failed: {printable(line)}", err=True)
    if broken:
        raise typer.Exit(1)


def _format(format: str | None, json: bool, out: str | None) -> str:
    if format not in (None, "table", "md", "json"):
        raise UsageError(f"unknown format {format!r}; use table, md or json")
    targets.named("-o", out)
    suffix = "" if out is None or is_stream(Path(out)) else Path(out).suffix.lower()
    if suffix and suffix not in (*_PAGES, ".json", ".md", ".txt"):
        raise UsageError(f"-o {printable(out)}: {suffix} is no kind of report; use .html, .json, .md or .txt")
    text = suffix in (".md", ".txt")
    if suffix == ".md":
        output.check_ending(out, format, json)
    return output.choose_format(format, json, out if text else None)


def _models(files: list[str] | None, compare: bool, emb: list[str] | None) -> list[str]:
    if files and not compare:
        raise UsageError(f"got extra argument {printable(files[0])}; give files as --emb FILE, or --compare A B")
    models = [*(emb or []), *(files or [])]
    if compare and len(models) < 2:
        raise UsageError("--compare needs two files at least: --compare a.h5 b.h5")
    if not models:
        raise UsageError("nothing to report on: give --emb FILE")
    return models


def _places(out: str | None, out_dir: str | None, figures: str | None, csv: bool) -> list[Path]:
    """What will be written, checked now rather than after the work."""
    from nclbench.sinks import results

    for option, name in (("-o", out), ("--out-dir", out_dir), ("--figures", figures)):
        targets.named(option, name)
    saved = out is not None and output.saves(out)
    places = [] if out is None else results.beside(Path(out)) if saved else [Path(out)]
    if out_dir is not None:
        places += [Path(out_dir) / (name.replace(".parquet", ".csv") if csv else name) for name in _FILES]
    if csv and out_dir is None:
        raise UsageError("--csv is about the rows that --out-dir writes; give --out-dir DIR")
    if figures is not None:
        from nclbench.audit.figures import names

        places += [Path(figures) / name for name in names()]
    for place in places:
        targets.writable(place)
    return places


def _tau(direction: "Direction") -> float:
    return float(direction.reference.run.diagnostics["p.over"]["tau"])


def _deliver(
    results: "Results",
    found: "list[Direction]",
    advice: "list[Advice]",
    chosen: str,
    out: str | None,
    out_dir: str | None,
    figures: str | None,
    csv: bool,
    thumbnails: str | None,
    quiet: bool,
) -> None:
    """Every text is made before the first is written."""
    from nclbench.audit import sections as texts
    from nclbench.audit.page import render
    from nclbench.audit.thumbnails import load

    said = texts.sections(found, advice)
    if chosen == "json":
        text = text_of.dumps(texts.as_json(results, found, advice), allow_nan=False, ensure_ascii=False, indent=1) + "\n"
    else:
        text = texts.markdown(said)
    page = ""
    if out_dir or (out is not None and out.lower().endswith(_PAGES)):
        pictures_of = load(thumbnails, found) if thumbnails else {}
        if thumbnails and not pictures_of and not quiet:
            typer.echo(f"note: no picture in {printable(thumbnails)} is named after an item", err=True)
        page = render(results, found, advice, pictures_of)
    pictures = {}
    if figures is not None:
        from nclbench.audit.figures import drawn, write

        pictures = drawn(found)
    written = _write(results, text, page, out, out_dir, csv)
    if figures is not None:
        write(pictures, Path(figures))
    output.notes(results, quiet)
    if out is None or output.saves(out) or page:
        if chosen == "table":
            from nclbench.cli.terminal import stdout_console
            from nclbench.cli.terminal_report import show

            show(said, stdout_console())
        else:
            output.put(text, json=chosen == "json")
    if not quiet:
        for path in written:
            typer.echo(f"wrote {printable(path)}", err=True)
        if pictures:
            typer.echo(f"wrote {len(pictures)} figures to {printable(figures)}", err=True)


def _write(results: "Results", text: str, page: str, out: str | None, out_dir: str | None, csv: bool) -> list[Path]:
    from nclbench.sinks.results import write_folder, write_json

    written = write_json(results, Path(out)) if out is not None and output.saves(out) else []
    if out is not None and not written:
        write_text(Path(out), page if out.lower().endswith(_PAGES) else text)
        written.append(Path(out))
    if out_dir is not None:
        written += write_folder(results, Path(out_dir), {"report.html": page}, as_csv=csv)
    return written

"""`nclbench eval`: metrics of embeddings in both directions, raw and under operators."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nclbench.cli import checkpoints, loading, options, output, processes, said, targets
from nclbench.cli.checkpoints import Asked, asks
from nclbench.cli.progress import Progress
from nclbench.errors import UsageError
from nclbench.files import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from nclbench.results import Results


@asks
def evaluate(
    context: typer.Context,
    emb: options.Embs = None,
    fuse: options.Fuse = None,
    fuse_each: options.FuseEach = None,
    normalize: options.Normalize = None,
    tuned: options.From = None,
    metric: options.Metric = None,
    direction: options.Direction = "both",
    ties: options.Ties = "expected",
    scorer: options.Scorer = None,
    no_reference: options.NoReference = False,
    strict: options.Strict = False,
    bank: options.Bank = None,
    dataset: options.Dataset = None,
    captions: options.Captions = None,
    no_labels: options.NoLabels = False,
    layout: options.Layout = None,
    mapping: options.Map = None,
    split: options.Split = None,
    asked: Asked = Asked(),  # noqa: B008
    format: options.Format = None,
    json: options.Json = False,
    out: options.Output = None,
    out_dir: options.OutDir = None,
    export_run: options.ExportRun = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Metrics both ways: the raw row first, then one row an operator.

    nclbench eval --emb msrvtt.h5 --normalize sinkhorn:tau=0.01
    """
    complete = bool(out_dir or output.saves(out) or export_run) or output.choose_format(format, json, out) == "json"
    if metric and no_labels:
        raise UsageError("--metric needs labels, and --no-labels says that there are none; leave one of them out")
    if no_reference and not normalize and not tuned:
        raise UsageError("nothing to evaluate: --no-reference leaves the raw row out; add --normalize SPEC")
    parts, folds, emb = options.weights(fuse), options.folds(bank), emb or []
    if emb or parts or layout or mapping:
        asked = asked.unless_typed(context)
    if not (emb or parts or asked.used):
        raise UsageError("nothing to evaluate: give --emb FILE, or --fuse WEIGHT=FILE twice")
    if len(parts) == 1:
        raise UsageError("a fusion needs at least two parts; give --fuse WEIGHT=FILE once more")
    if fuse_each and not parts:
        raise UsageError("--fuse-each needs --fuse")
    targets.check(
        output=out,
        out_dir=out_dir,
        saves=output.saves(out),
        inputs=[*emb, *(path for _, path in parts), bank, captions, tuned, *asked.places],
        mapping=mapping,
        config=config,
        specs=[*(normalize or []), *filter(None, [fuse_each])],
    )
    output.check_ending(out, format, json, saved=True)
    targets.named("--export-run", export_run)
    if export_run is not None:
        targets.writable(Path(export_run) / "run")
    sources = options.pairs(mapping, "--map")
    metric = _understood(metric, [*(normalize or []), *filter(None, [fuse_each])], direction, ties)
    run = _runner(tuned)

    from dataclasses import replace

    from nclbench.fusion import fuse as fusion
    from nclbench.plan import choose
    from nclbench.results import Results
    from nclbench.runs import TOP
    from nclbench.sinks.trec import DEPTH, export, shortened

    followed = processes.follower()
    with Progress(not (no_progress or quiet or followed)) as progress, processes.joined(device) as mine:
        plan = choose(mine, memory, threads, progress)
        if asked.used:
            made = checkpoints.embedded(asked, captions, split, plan.device, strict, progress, quiet)
            emb, captions, split = [made], None, None
        problems = loading.read(
            [*emb, *(path for _, path in parts)],
            layout=layout,
            mapping=sources,
            bank=None if folds else bank,
            split=split,
            captions=captions,
            no_labels=no_labels,
            dataset=dataset,
            scorer=scorer,
            strict=strict,
        )
        if parts:
            weighed = zip((weight for weight, _ in parts), problems[len(emb) :], strict=True)
            problems = [*problems[: len(emb)], fusion(list(weighed), fuse_each or "")]
        found = [
            run(
                problem,
                normalize or (),
                metrics=metric,
                direction=direction,
                ties=ties,
                reference=not no_reference,
                strict=strict,
                seed=seed,
                details=complete,
                depth=DEPTH if export_run else TOP,
                folds=folds,
                plan=plan,
            )
            for problem in problems
        ]
    if followed:
        return
    results = replace(Results.joined(found), command=said.command(context))
    if export_run is not None:
        written, cut = export(results, Path(export_run))
        results = replace(results, queries=shortened(results.queries, TOP), warnings=(*results.warnings, *cut))
    output.deliver(results, format=format, json=json, output=out, out_dir=out_dir, metrics=metric, quiet=quiet)
    if export_run is not None and not quiet:
        typer.echo(f"wrote {len(written)} files of runs and qrels to {printable(export_run)}", err=True)


def _runner(tuned: str | None) -> "Callable[..., Results]":
    """What evaluates a problem: with the rows that a sweep chose, if there are any."""
    if tuned is not None:
        from nclbench.sweep.chosen import read

        targets.named("--from", tuned)
        return read(tuned).evaluate
    from nclbench.evaluation import evaluate as run

    return run


def _understood(metrics: list[str] | None, specs: list[str], direction: str, ties: str) -> list[str] | None:
    """The canonical names of the metrics. Words that mean nothing fail before anything is read."""
    from nclbench.metrics import check_ties, parse

    found = list(dict.fromkeys(str(parse(name)) for name in metrics)) if metrics else None
    check_ties(ties)
    loading.understood(direction, specs)
    return found

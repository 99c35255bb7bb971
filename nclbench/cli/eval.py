"""`nclbench eval`: metrics of embeddings in both directions, raw and under operators."""

import shlex
import sys
from typing import TYPE_CHECKING

from nclbench.cli import options, output
from nclbench.cli.progress import Progress
from nclbench.errors import InputError, UsageError

if TYPE_CHECKING:
    from nclbench.problem import Problem


def evaluate(
    emb: options.Emb,
    normalize: options.Normalize = None,
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
    format: options.Format = None,
    json: options.Json = False,
    out: options.Output = None,
    out_dir: options.OutDir = None,
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
    output.choose_format(format, json, out)
    output.check(out, out_dir)
    output.protect([out], [part for path in [*emb, bank or "", captions or ""] for part in path.split(",")])
    from nclbench.sources import load

    problems = []
    for path in emb:
        problem = load(
            path,
            layout=layout,
            mapping=options.pairs(mapping, "--map"),
            bank=bank,
            split=split,
            captions=captions,
            no_labels=no_labels,
        )
        problems.append(_prepared(problem, dataset, scorer, strict))

    from dataclasses import replace

    from nclbench.evaluation import evaluate as run
    from nclbench.metrics import parse
    from nclbench.plan import choose
    from nclbench.results import Results

    metric = [str(parse(name)) for name in metric] if metric else None
    with Progress(not (no_progress or quiet)) as progress:
        plan = choose(device, memory, threads, progress)
        parts = [
            run(
                problem,
                normalize or (),
                metrics=metric,
                direction=direction,
                ties=ties,
                reference=not no_reference,
                strict=strict,
                seed=seed,
                details=bool(out_dir or out),
                plan=plan,
            )
            for problem in problems
        ]
    results = replace(Results.joined(parts), command=shlex.join(["nclbench", *sys.argv[1:]]))
    output.deliver(results, format=format, json=json, output=out, out_dir=out_dir, metrics=metric, quiet=quiet)


def _prepared(problem: "Problem", dataset: str | None, scorer: str | None, strict: bool) -> "Problem":
    """The problem checked against its benchmark, with the scorer that was asked for."""
    from dataclasses import replace

    notes = list(problem.notes)
    if dataset is not None:
        from nclbench.sources.datasets import check, get

        notes += check(problem, dataset)
        problem = replace(problem, dataset=get(dataset).name)
    if scorer is not None:
        if ("queries", "items") in problem.scores:
            raise UsageError(f"--scorer {scorer} needs embeddings, but the input is a score matrix")
        problem = replace(problem, scorer=scorer)
    if strict and problem.logit_scale is not None and problem.logit_scale < 10:
        raise InputError(f"logit_scale is {problem.logit_scale:g}: a logarithm? it must be linear (100, not 4.605)")
    return replace(problem, notes=tuple(notes))

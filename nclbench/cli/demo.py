"""`nclbench demo`: the main job on packaged real data, without network."""

from pathlib import Path
from typing import Annotated

import typer

from nclbench.cli import options, output, targets
from nclbench.cli.progress import Progress

SPEC = "sinkhorn:tau=0.01,tol=1e-5,fit=test"
REPORT = "report.html"
DATA = Path(__file__).parents[1] / "demo_data"
OutDir = Annotated[
    str, typer.Option("--out-dir", metavar="DIR", rich_help_panel="Output", show_envvar=False, help="Where to write.")
]


def demo(
    out_dir: OutDir = "nclbench-demo",
    captions: options.Captions = None,
    format: options.Format = None,
    json: options.Json = False,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """The main job on real data: MSR-VTT 1k-A similarities of Cap4Video, raw and Sinkhorn-normalised.

    Tables on the screen; results, rows, LaTeX and the hubness report of the first model in a folder.
    """
    output.choose_format(format, json)
    files = [DATA / "msrvtt1ka_cap4video_video.h5", DATA / "msrvtt1ka_cap4video_titles.h5"]
    targets.check(out_dir=out_dir, inputs=[*map(str, files), captions], config=config)
    from nclbench.sources import load

    problems = [load(path, captions=captions) for path in files]

    from dataclasses import replace

    from nclbench.audit.page import render
    from nclbench.audit.states import directions
    from nclbench.evaluation import evaluate
    from nclbench.plan import choose
    from nclbench.results import Results

    with Progress(not (no_progress or quiet)) as progress:
        parts = [evaluate(problem, [SPEC], hubness=True, plan=choose(report=progress)) for problem in problems]
    results = replace(Results.joined(parts), command="nclbench demo")
    pages = {REPORT: render(replace(parts[0], command="nclbench demo"), directions(parts[0]), [])}
    output.deliver(
        results, format=format, json=json, output=None, out_dir=out_dir, metrics=None, quiet=quiet, pages=pages
    )
    if not quiet:
        typer.echo(
            f"\nTry next:\n"
            f"  nclbench eval --emb {files[0]} --normalize sinkhorn:tau=0.05,fit=test   # the wrong temperature hurts\n"
            f"  nclbench eval --emb {files[0]} --ties clip4clip                         # the figures papers print\n"
            f"  nclbench hubness-report --emb {files[0]} --normalize {SPEC} -o report.html   # who crowds out whom\n"
            f"  nclbench inspect YOUR_FILE.h5                                           # what is in a file of yours\n"
            f"  nclbench eval --emb YOUR_FILE.h5 --normalize sinkhorn -o results.json",
            err=True,
        )

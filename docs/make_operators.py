"""Makes the tables of docs/operators.md: every operator on three real data sets, between the marks in that file.

    python docs/make_operators.py ../shared/data
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from nclbench import Results, evaluate, load
from nclbench.operators import operators
from nclbench.results import Run

PAGE = Path(__file__).with_name("operators.md")
START, END = "<!-- tables: start -->", "<!-- tables: end -->"
# how each is run: cosines of a model whose logit scale is 100, so tau is 0.01; published settings where they differ
SPECS = (
    "none",
    "is:tau=0.01",
    "is:tau=0.05",
    "dis:tau=0.01",
    "dualis:tau1=0.01,tau2=0.1",
    "dualis",
    "dualdis:tau1=0.01,tau2=0.1",
    "sinkhorn:tau=0.01",
    "sinkhorn:tau=0.01,iters=4",
    "sinkhorn:tau=0.05",
    "dbsn:tau=0.01",
    "dbsn:tau=0.01,iters=10,start=query",
    "csls",
    "nnn",
    "dn",
    "ls",
    "nicdm",
    "mp",
    "invgc:r_gallery=0.2,r_query=0.8",
    "dissim",
    "dissim:kind=local",
    "is:tau=0.01,fit=test",
    "sinkhorn:tau=0.01,fit=test",
    "csls:fit=test",
    "dsl:tau=0.01,fit=test",
    "ls:fit=test",
    "nicdm:fit=test",
    "mp:fit=test",
    "gc",
)
SETS = (
    (
        "multi30k, English to German (banks)",
        "multi30k_crosslingual_e5/task2_en1_de12.h5",
        0,
        "1000 x 1000, strong hubs; 1500 training queries and 1500 training items as banks.",
    ),
    (
        "MSR-VTT 1k-A, Cap4Video (folds)",
        "cap4video_msrvtt1ka/msrvtt_video_factor.h5",
        5,
        "1000 x 1000; each fifth of the queries has the other four as bank (`--bank folds=5`).",
    ),
    (
        "MSVD, text only (bank of other videos)",
        "msvd_text_minilm/msvd_text_minilm_g1.h5",
        0,
        "6700 captions of 670 videos, up to 10 each; 3000 training captions as bank, of the gallery's own modality.",
    ),
)
METRICS = ("R@1", "R@5", "R@10", "MnR")


def main(data: Path) -> None:
    parts = [part for title, file, folds, note in SETS for part in section(title, data / file, folds, note)]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{START}", "", *parts, f"{END}{after}"]), encoding="utf-8")


def section(title: str, file: Path, folds: int, note: str) -> list[str]:
    results = evaluate(load(file), SPECS, metrics=METRICS, details=False, folds=folds)
    return [f"### {title}", "", note, "", *table(results), ""]


def table(results: Results) -> list[str]:
    """Rows that saw no test queries first, each group by R@1 of t2v."""
    rows = {run.operator.spec: run for run in results.runs if run.direction == "t2v"}
    back = {run.operator.spec: run for run in results.runs if run.direction == "v2t" and run.protocol == "captions"}
    order = sorted(rows.values(), key=lambda run: (run.operator.transductive, -value(run, "R@1")))
    lines = ["| operator | fitted on | R@1 | R@5 | R@10 | MnR | v2t R@1 |", "|---|---|---:|---:|---:|---:|---:|"]
    for run in order:
        if run.operator.unavailable is not None:
            continue
        spec = run.operator.spec + (" †" if run.operator.transductive else "")
        cells = [*(f"{value(run, name):.1f}" for name in METRICS), shown(back[run.operator.spec])]
        lines.append(f"| `{spec}` | {run.operator.fitted_on} | {' | '.join(cells)} |")
    reasons: dict[str, list[str]] = {}
    for run in order:
        if run.operator.unavailable is not None:
            reasons.setdefault(run.operator.unavailable, []).append(f"`{run.operator.spec}`")
    return [*lines, *(line for why, specs in reasons.items() for line in ("", f"Not applicable: {', '.join(specs)} ({why})."))]


def value(run: Run, name: str) -> float:
    return run.metrics[name].value if name in run.metrics else -1.0


def shown(run: Run) -> str:
    if value(run, "R@1") < 0:
        return "n/a"
    return f"{value(run, 'R@1'):.1f}" + (" †" if run.operator.transductive else "")


def missing(specs: Sequence[str] = SPECS) -> set[str]:
    """Operators that no table has."""
    return set(operators.names()) - {spec.partition(":")[0] for spec in specs} - {"biases"}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

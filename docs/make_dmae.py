"""Makes the table of docs/dmae.md: scorers of words and frames on real vectors, between the marks in that file.

    python docs/make_dmae.py ../shared/data
"""

import sys
from pathlib import Path

from nclbench import Results, evaluate, load

PAGE = Path(__file__).with_name("dmae.md")
START, END = "<!-- table: start -->", "<!-- table: end -->"
FILE = "msvd_multivector_minilm/msvd_multivector_minilm.h5"
# the name that a row has in the table, and its scorer
ROWS = (
    ("cosine of the pooled vectors", "cosine"),
    ("TI, words and frames", "ti"),
    ("late interaction, mean over words", "maxsim:mean=true"),
    ("DMAE, sentence, without VA", "dmae:branches=sent,va=false"),
    ("DMAE, sentence, with VA", "dmae:branches=sent"),
    ("DMAE, words, with VA", "dmae:branches=word"),
    ("DMAE, both, without VA", "dmae:va=false"),
    ("DMAE, both, with VA (the method)", "dmae"),
    ("the same, padding as in the authors' code", "dmae:mask=zero"),
)
SINKHORN = "sinkhorn:tau=0.05,fit=test"


def main(data: Path) -> None:
    specs = [f"{scorer}{end}" for _, scorer in ROWS for end in ("", f"+{SINKHORN}")]
    results = evaluate(load(data / FILE), specs, metrics=["R@1", "R@5"], details=False, reference=False)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{START}", "", *table(results), "", f"{END}{after}"]), encoding="utf-8")


def table(results: Results) -> list[str]:
    found = {(run.direction, run.operator.spec): run.metrics for run in results.runs}
    lines = ["| scorer | spec | t2v R@1 | R@5 | v2t R@1 | R@5 | † t2v R@1 | R@5 | † v2t R@1 | R@5 |", f"|---|---|{'---:|' * 8}"]
    for name, scorer in ROWS:
        cells = [
            f"{found[direction, spec][metric].value:.1f}"
            for spec in (scorer, f"{scorer}+{SINKHORN}")
            for direction in ("t2v", "v2t")
            for metric in ("R@1", "R@5")
        ]
        lines.append(f"| {name} | `{scorer}` | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]))

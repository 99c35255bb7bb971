"""The options that commands share, each with its help.

Each can also be set by `NCLBENCH_` and its name (`SETTINGS`), and in a config file (`nclbench.cli.config`).
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli.config import configure
from nclbench.errors import UsageError

if TYPE_CHECKING:
    from nclbench.problem import Problem

# what every command is registered with
SETTINGS = {"auto_envvar_prefix": "NCLBENCH"}


def _option(*names: str, panel: str | None = None, **more: Any) -> Any:
    """The name of the variable follows from that of the option, and is not repeated in every help."""
    return typer.Option(*names, rich_help_panel=panel, show_envvar=False, **more)


def _input(*names: str, **more: Any) -> Any:
    return _option(*names, panel="Input", **more)


def _output(*names: str, **more: Any) -> Any:
    return _option(*names, panel="Output", **more)


def _machine(*names: str, **more: Any) -> Any:
    return _option(*names, panel="Machine", **more)


Config = Annotated[
    str | None,
    _option("--config", callback=configure, is_eager=True, metavar="FILE", help="Defaults from a TOML file."),
]
Emb = Annotated[
    list[str],
    _input(
        "--emb",
        metavar="FILE",
        help="Embeddings or a score matrix; repeat for more models, `text.npy,video.npy` for two files of one.",
    ),
]
Embs = Annotated[
    list[str] | None,
    _input(
        "--emb",
        metavar="FILE",
        help="Embeddings or a score matrix; repeat for more models, `text.npy,video.npy` for two files of one.",
    ),
]
Fuse = Annotated[
    list[str] | None,
    _input("--fuse", metavar="WEIGHT=FILE", help="One part of a fusion of several models' scores; repeat."),
]
FuseEach = Annotated[
    str | None, _input("--fuse-each", metavar="SPEC", help="An operator that each part of a fusion is put through.")
]
Layout = Annotated[
    str | None, _input("--layout", metavar="NAME", help="How the file is laid out; see `nclbench list layouts`.")
]
Map = Annotated[
    list[str] | None,
    _input(
        "--map",
        metavar="KEY=SOURCE",
        help="Where a part is, e.g. test.text.ids=ids.csv:0. Parts of test.text, test.video, bank.text and bank.video are "
        "embeddings, ids, item_ids, item_index, captions, titles, weight, mask and tokens.values; also test.scores.values, "
        "test.relevance.query_ids (item_ids, grade), logit_scale, dataset, model.",
    ),
]
Split = Annotated[str | None, _input("--split", metavar="NAME", help="Which split of the file.")]
Bank = Annotated[
    str | None,
    _input("--bank", metavar="FILE", help="Bank of training queries (and items), or folds=5: each fifth has the rest."),
]
BankFile = Annotated[
    str | None, _input("--bank", metavar="FILE", help="Bank of training queries (and items), to be in the file too.")
]
Captions = Annotated[str | None, _input("--captions", metavar="FILE", help="Texts of the queries, kept locally.")]
Dataset = Annotated[str | None, _input("--dataset", metavar="NAME", help="Check counts and ids of this benchmark.")]
NoLabels = Annotated[bool, _input("--no-labels", help="Nothing is known to be relevant.")]
Normalize = Annotated[
    list[str] | None,
    _option(
        "--normalize",
        metavar="SPEC",
        help="An operator, e.g. sinkhorn:tau=0.01; repeat. All: `nclbench list operators`.",
    ),
]
From = Annotated[
    str | None,
    _option(
        "--from",
        metavar="SWEEP.json",
        envvar="NCLBENCH_FROM",
        help="Adds what `nclbench sweep -o` chose, each direction its own, as rows.",
    ),
]
Metric = Annotated[
    list[str] | None, _option("--metric", "-m", metavar="NAME", help="A metric such as R@1 or nDCG@10; repeat.")
]
Direction = Annotated[str, _option("--direction", metavar="NAME", help="t2v, v2t or both.")]
Ties = Annotated[
    str, _option("--ties", metavar="RULE", help="expected, optimistic, pessimistic, midrank or clip4clip.")
]
Scorer = Annotated[str | None, _option("--scorer", metavar="SPEC", help="cosine, dot, or of words and frames dmae, ti, …")]
NoReference = Annotated[bool, _option("--no-reference", help="Leave the raw row out.")]
_STRICT = "An operator that cannot be applied or does not converge, or a doubtful logit_scale, is an error."
Strict = Annotated[bool, _option("--strict", help=_STRICT)]
Format = Annotated[str | None, _output("--format", "-f", metavar="NAME", help="table, json, csv, md, html or latex.")]
Json = Annotated[bool, _output("--json", help="Short for -f json.")]
Output = Annotated[str | None, _output("--output", "-o", metavar="FILE", help="A file; .json saves results.")]
Written = Annotated[str | None, _output("--output", "-o", metavar="FILE", help="A file; its ending says the format.")]
OutDir = Annotated[str | None, _output("--out-dir", metavar="DIR", help="Save results, rows and tables.")]
ExportRun = Annotated[
    str | None, _output("--export-run", metavar="DIR", help="Each row as a TREC run, and the labels as qrels.")
]
Device = Annotated[str, _machine("--device", metavar="NAME", help="auto, cpu, cuda or cuda:1.")]
Memory = Annotated[str | None, _machine("--memory", metavar="SIZE", help="For keeping scores, e.g. 4G.")]
Threads = Annotated[int | None, _machine("--threads", min=1, help="CPU threads.")]
Seed = Annotated[int, _machine("--seed", min=0, help="Seed of the intervals.")]
NoProgress = Annotated[bool, _machine("--no-progress", help="No progress bars.")]
Quiet = Annotated[bool, _machine("--quiet", "-q", help="No notes on stderr.")]
Debug = Annotated[bool, _machine("--debug", help="Show where an error came from.")]


def folds(bank: str | None) -> int:
    """The number in `--bank folds=5`, 0 for a file."""
    if bank is None or not bank.startswith("folds="):
        if bank is not None and re.fullmatch(r"folds?[=: ]?\d*", bank, re.IGNORECASE) and not Path(bank).exists():
            raise UsageError(f"cannot read --bank {bank!r}: no such file; for folds of the queries write folds=5")
        return 0
    count = bank.removeprefix("folds=")
    if not (count.isascii() and count.isdigit() and 2 <= int(count) <= 1000):
        raise UsageError(f"cannot read --bank {bank!r}; write folds=5, with a number from 2 to 1000")
    return int(count)


def weights(texts: list[str] | None) -> list[tuple[float, str]]:
    """`WEIGHT=FILE` texts."""
    found = []
    for text in texts or ():
        weight, equals, path = text.partition("=")
        try:
            number = float(weight)
        except ValueError:
            number = 0.0
        if not equals or not path or not -1e6 < number < 1e6 or not number:
            raise UsageError(f"cannot read --fuse {text!r}; write WEIGHT=FILE, such as 0.73=a.h5")
        found.append((number, path))
    return found


def scored(problem: "Problem", scorer: str | None) -> "Problem":
    """The problem under the scorer that was asked for, called by its shortest spec."""
    if scorer is None:
        return problem
    from dataclasses import replace

    from nclbench.registry import show
    from nclbench.scorers import scorers

    if ("queries", "items") in problem.scores:
        raise UsageError(f"--scorer {scorer} needs embeddings, but the input is a score matrix")
    return replace(problem, scorer=show(scorers.parse(scorer)))


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping."""
    found: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"cannot read {option} {text!r}; write KEY=SOURCE")
        found[key] = value
    return found

"""The options that commands share, each with its help, its environment variable and its place in a config file."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from nclbench.errors import InputError, MissingError, UsageError, nearest

_INPUT, _OUTPUT, _MACHINE = "Input", "Output", "Machine"


def _configure(context: typer.Context, path: str | None) -> str | None:
    """Fills the defaults of the command from a config file: its own table first, then the top level."""
    chosen = Path(path) if path else _project_file()
    if chosen is None:
        return path
    try:
        data = tomllib.loads(chosen.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(f"{chosen}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{chosen}: not valid TOML ({error})") from None
    if chosen.name == "pyproject.toml":
        data = data.get("tool", {}).get("nclbench", {})
    command = context.info_name or ""
    shared = {key: value for key, value in data.items() if not isinstance(value, dict)}
    known = {option.removeprefix("--"): p.name for p in context.command.params for option in p.opts}
    given = {**shared, **data.get(command, {})}
    defaults = {}
    for key, value in given.items():
        if key not in known:
            if key in shared and key in _ANYWHERE:
                continue
            raise InputError(f"{chosen}: unknown key {key!r}{nearest(key, known)}")
        defaults[known[key]] = value
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _project_file() -> Path | None:
    if os.environ.get("NCLBENCH_CONFIG"):
        return Path(os.environ["NCLBENCH_CONFIG"])
    if Path("nclbench.toml").is_file():
        return Path("nclbench.toml")
    project = Path("pyproject.toml")
    if project.is_file() and "[tool.nclbench" in project.read_text(encoding="utf-8", errors="replace"):
        return project
    return None


# top-level keys of a config file that some commands do not have
_ANYWHERE = {"device", "memory", "threads", "seed", "ties", "direction", "metric", "format", "quiet", "no-progress"}

Config = Annotated[
    str | None,
    typer.Option("--config", callback=_configure, is_eager=True, metavar="FILE", help="Defaults from a TOML file."),
]
Emb = Annotated[
    list[str],
    typer.Option(
        "--emb",
        metavar="FILE",
        rich_help_panel=_INPUT,
        help="Embeddings or a score matrix; repeat for more models, `text.npy,video.npy` for two files of one.",
    ),
]
Layout = Annotated[
    str | None, typer.Option("--layout", metavar="NAME", rich_help_panel=_INPUT, help="How the file is laid out.")
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="KEY=SOURCE", rich_help_panel=_INPUT, help="Where a part is, e.g. test.text.ids=ids.csv:0."
    ),
]
Split = Annotated[str | None, typer.Option("--split", rich_help_panel=_INPUT, help="Which split of the file.")]
Bank = Annotated[
    str | None,
    typer.Option("--bank", metavar="FILE", rich_help_panel=_INPUT, help="Bank of training queries (and items)."),
]
Captions = Annotated[
    str | None,
    typer.Option("--captions", metavar="FILE", rich_help_panel=_INPUT, help="Texts of the queries, kept locally."),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", rich_help_panel=_INPUT, help="Check counts and ids of this benchmark."),
]
NoLabels = Annotated[
    bool, typer.Option("--no-labels", rich_help_panel=_INPUT, help="Nothing is known to be relevant.")
]
Normalize = Annotated[
    list[str] | None,
    typer.Option(
        "--normalize", metavar="SPEC", help="An operator, e.g. sinkhorn:tau=0.01; repeat. All: `nclbench list operators`."
    ),
]
Metric = Annotated[
    list[str] | None, typer.Option("--metric", "-m", metavar="NAME", help="A metric such as R@1 or nDCG@10; repeat.")
]
Direction = Annotated[str, typer.Option("--direction", envvar="NCLBENCH_DIRECTION", help="t2v, v2t or both.")]
Ties = Annotated[
    str,
    typer.Option(
        "--ties", envvar="NCLBENCH_TIES", help="expected, optimistic, pessimistic, midrank or clip4clip."
    ),
]
Scorer = Annotated[str | None, typer.Option("--scorer", metavar="SPEC", help="cosine or dot.")]
NoReference = Annotated[bool, typer.Option("--no-reference", help="Leave the raw row out.")]
Strict = Annotated[bool, typer.Option("--strict", help="Doubtful input or no convergence is an error.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", "-f", envvar="NCLBENCH_FORMAT", rich_help_panel=_OUTPUT, help="table, json, csv, md or latex."
    ),
]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=_OUTPUT, help="Short for -f json.")]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", rich_help_panel=_OUTPUT, help="A file; .json saves results."),
]
OutDir = Annotated[
    str | None,
    typer.Option("--out-dir", metavar="DIR", rich_help_panel=_OUTPUT, help="Save results, rows and tables."),
]
Device = Annotated[
    str, typer.Option("--device", envvar="NCLBENCH_DEVICE", rich_help_panel=_MACHINE, help="auto, cpu, cuda or cuda:1.")
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", envvar="NCLBENCH_MEMORY", rich_help_panel=_MACHINE, help="For keeping scores, e.g. 4G."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", envvar="NCLBENCH_THREADS", rich_help_panel=_MACHINE, help="CPU threads.")
]
Seed = Annotated[
    int, typer.Option("--seed", envvar="NCLBENCH_SEED", rich_help_panel=_MACHINE, help="Seed of the intervals.")
]
NoProgress = Annotated[bool, typer.Option("--no-progress", rich_help_panel=_MACHINE, help="No progress bars.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=_MACHINE, help="No notes on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", rich_help_panel=_MACHINE, help="Show where an error came from.")]


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping."""
    found: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"cannot read {option} {text!r}; write KEY=SOURCE")
        found[key] = value
    return found

"""`nclbench normalize`: a fitted operator as biases, as vectors for an index, or as the adjusted scores."""

import json as text_of
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import options, output, processes, targets
from nclbench.cli.progress import Progress
from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import check_writable, is_stream, printable

if TYPE_CHECKING:
    from nclbench.fitting import Fit

Emb = Annotated[
    list[str] | None,
    typer.Option(
        "--emb",
        metavar="FILE",
        rich_help_panel="Input",
        show_envvar=False,
        help="Embeddings or a score matrix; `text.npy,video.npy` for two files of one model.",
    ),
]
Spec = Annotated[
    list[str] | None,
    typer.Option(
        "--normalize",
        metavar="SPEC",
        show_envvar=False,
        help="One operator, e.g. sinkhorn:tau=0.01. All: `nclbench list operators`.",
    ),
]
As = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="KIND",
        envvar="NCLBENCH_AS",
        rich_help_panel="Output",
        show_envvar=False,
        help="biases, vectors or scores.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        rich_help_panel="Output",
        show_envvar=False,
        help="Biases: NAME.npy or DIR/. Vectors: NAME.h5, .npz, .safetensors or DIR/. Scores: these or NAME.npy.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="NAME", rich_help_panel="Output", show_envvar=False, help="Of scores: float32 or float64."
    ),
]
Direction = Annotated[str, typer.Option("--direction", metavar="NAME", show_envvar=False, help="t2v or v2t.")]
Json = Annotated[
    bool,
    typer.Option("--json", rich_help_panel="Output", show_envvar=False, help="Print how it was made to stdout."),
]


def normalize(
    emb: Emb = None,
    normalize: Spec = None,
    out: Out = None,
    kind: As = "biases",
    direction: Direction = "t2v",
    scorer: options.Scorer = None,
    strict: options.Strict = False,
    bank: options.Bank = None,
    no_labels: options.NoLabels = False,
    layout: options.Layout = None,
    mapping: options.Map = None,
    split: options.Split = None,
    dtype: Dtype = "float32",
    json: Json = False,
    device: options.Device = "auto",
    memory: options.Memory = None,
    threads: options.Threads = None,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """An operator for use outside of nclbench: a bias an item, vectors for any inner-product index, or all scores.

    nclbench normalize --emb msrvtt.h5 --bank train.h5 --normalize sinkhorn:tau=0.01 -o biases.npy
    """
    processes.alone("normalize")
    source, wanted, name = _one(emb, "--emb FILE"), _one(normalize, "--normalize SPEC"), out or ""
    targets.named("-o", out)
    if not name:
        raise UsageError("nothing to write: give -o OUT, such as -o biases.npy")
    if options.folds(bank):
        raise UsageError("--bank folds=… fits once a fold, and what is deployed is one fit; give --bank FILE, or no bank")
    from nclbench.deploy import DIRECTIONS, check
    from nclbench.sinks.adjusted import PRECISIONS

    if direction not in DIRECTIONS:
        raise UsageError(f"--direction {direction}: what is deployed has one direction{nearest(direction, DIRECTIONS)}")
    if dtype not in PRECISIONS:
        raise UsageError(f"unknown dtype {dtype!r}{nearest(dtype, PRECISIONS)}")
    check(wanted, kind)
    targets.check_read(_targets(kind, name), [source, bank], mapping, config, [wanted])


    from nclbench.deploy import fit, manifest
    from nclbench.plan import choose
    from nclbench.sources import load

    with Progress(not (no_progress or quiet)) as progress:
        plan = choose(device, memory, threads, progress)
        problem = load(
            source, layout=layout, mapping=options.pairs(mapping, "--map"), bank=bank, split=split, no_labels=no_labels
        )
        problem = options.scored(problem, scorer)
        if strict and problem.logit_scale is not None and problem.logit_scale < 10:
            raise InputError(f"logit_scale is {problem.logit_scale:g}: a logarithm? it must be linear (100, not 4.605)")
        found = fit(problem, wanted, direction=direction, strict=strict, plan=plan)
        written = _write(found, kind, name, dtype)
    made = manifest(found)
    if json:
        output.put(text_of.dumps(made, indent=1, allow_nan=False) + "\n", json=True)
    if not quiet:
        for note in (*problem.notes, *made["notes"]):
            typer.echo(f"note: {printable(note)}", err=True)
        if any(path.suffix == ".npy" for path in written) and kind == "scores":
            typer.echo("note: a bare .npy keeps no ids and not what it was fitted on; .npz, .h5 or .safetensors do", err=True)
        for path in written:
            typer.echo(f"wrote {printable(path)}", err=True)
        typer.echo(_summary(made), err=True)


def _one(values: list[str] | None, option: str) -> str:
    if not values or len(values) > 1:
        raise UsageError(f"what is deployed is one model under one operator; give {option} once")
    return values[0]


def _targets(kind: str, name: str) -> list[Path]:
    """Every file that will be written, checked before the work."""
    if kind == "biases":
        from nclbench.operators.biases import beside

        files = list(beside(name))
    elif kind == "scores" and name.lower().endswith(".npy"):
        files = [Path(name)]
    else:
        from nclbench.sinks import check

        check(name)
        return [Path(name)]
    for file in files:
        check_writable(file)
        if is_stream(file):
            raise UsageError(f"-o {printable(file)}: arrays cannot be written into a pipe or a device")
    return files


def _write(found: "Fit", kind: str, name: str, dtype: str) -> list[Path]:
    import numpy as np

    from nclbench import deploy
    from nclbench.sinks import save
    from nclbench.sinks.adjusted import write_scores

    if kind == "biases":
        return deploy.write_biases(found, name)
    if kind == "vectors":
        save(deploy.vectors(found), name)
        return [Path(name)]
    if name.lower().endswith(".npy"):
        write_scores(found, Path(name), dtype)
        return [Path(name)]
    # on the disk first, since the matrix may be larger than memory
    folder = Path(name).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".nclbench-", dir=folder) as scratch:
        matrix = Path(scratch) / "scores.npy"
        write_scores(found, matrix, dtype)
        save(deploy.scored(found, np.load(matrix, mmap_mode="r", allow_pickle=False)), name)
    return [Path(name)]


def _summary(made: dict[str, Any]) -> str:
    seen = " (transductive)" if made["transductive"] else ""
    return f"{printable(made['spec'])}, {made['direction']}: {made['items']} items, fitted on {made['fitted_on']}{seen}"

"""`nclbench sweep`: parameters of operators, chosen on validation data and never on the reported split."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import loading, options, output, processes, targets
from nclbench.cli.progress import Progress
from nclbench.errors import InputError, UsageError
from nclbench.files import check_writable, is_stream, printable, write_text

if TYPE_CHECKING:
    from nclbench.problem import Problem
    from nclbench.sweep import Swept

FOLDS = 5


def _option(*names: str, panel: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_envvar=False, **more)


Val = Annotated[str | None, _option("--val", panel="Input", metavar="FILE", help="A labelled file of another split.")]
Bank = Annotated[
    str | None,
    _option(
        "--bank",
        panel="Input",
        metavar="FILE",
        help="Bank of training queries (and items). Labelled and without --val: it is tuned on itself, by folds.",
    ),
]
Emb = Annotated[
    str | None,
    _option("--emb", panel="Input", metavar="FILE", help="The reported split itself; only with --oracle."),
]
Oracle = Annotated[
    bool, _option("--oracle", panel="Input", help="Tune on the reported split; its rows say so everywhere.")
]
Normalize = Annotated[
    list[str] | None,
    _option(
        "--normalize",
        metavar="SPEC",
        help="A spec with grids: tau=0.005..0.1/log8, k=1..50/lin5, fit=bank|test; repeat.",
    ),
]
Select = Annotated[
    str,
    _option("--select", metavar="METRIC", help="What is best: R@1 for each direction its own, or t2v.R@1 for both."),
]
Folds = Annotated[
    int | None, _option("--folds", min=2, max=1000, metavar="N", help=f"Folds of a labelled bank ({FOLDS}).")
]
Picture = Annotated[
    str | None, _option("--picture", panel="Output", metavar="FILE.svg", help="The curves as a picture.")
]
Out = Annotated[
    str | None,
    _option("--output", "-o", panel="Output", metavar="FILE", help="A file; .json is what `eval --from` reads."),
]


def sweep(
    normalize: Normalize = None,
    val: Val = None,
    bank: Bank = None,
    emb: Emb = None,
    oracle: Oracle = False,
    select: Select = "R@1",
    direction: options.Direction = "both",
    folds: Folds = None,
    scorer: options.Scorer = None,
    layout: options.Layout = None,
    mapping: options.Map = None,
    split: options.Split = None,
    format: options.Format = None,
    json: options.Json = False,
    out: Out = None,
    picture: Picture = None,
    device: options.Device = "auto",
    memory: options.Memory = None,
    threads: options.Threads = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Parameters chosen on validation data: every point of a grid is run, each direction gets its best.

    nclbench sweep --val val.h5 --bank train.h5 --normalize 'sinkhorn:tau=0.005..0.1/log8' -o sweep.json
    """
    processes.alone("sweep")
    saved = output.saves(out)
    chosen = output.choose_format(format, json, None if saved else out)
    if not normalize:
        raise UsageError("nothing to sweep: give --normalize SPEC with a grid, such as 'sinkhorn:tau=0.005..0.1/log8'")
    source, shares = _source(val, bank, emb, oracle, folds)
    _check_targets(out, picture, [val, None if options.folds(bank) else bank, emb], mapping, config)
    output.check_ending(out, format, json, saved=True)
    _understood(normalize, select, direction)

    from nclbench.plan import choose
    from nclbench.sweep import sweep as run

    with Progress(not (no_progress or quiet)) as progress:
        plan = choose(device, memory, threads, progress)
        banks = None if source == bank or options.folds(bank) else bank
        problem, splits = _load(source, banks, layout, mapping, split, source == bank)
        problem = options.scored(problem, scorer)
        found = run(
            problem, normalize, select=select, direction=direction, folds=shares, oracle=oracle, seed=seed, plan=plan,
            called="test" if oracle else "val" if val else "bank",
        )  # fmt: skip
    command = shlex.join(["nclbench", *sys.argv[1:]])
    texts = _texts(found, chosen, splits, command, out, picture)
    for name, text in texts.items():
        write_text(Path(name), text)
    if not quiet:
        unread = [f"{emb} is not looked at: parameters are chosen on {val}"] if emb and val else []
        for note in dict.fromkeys([*unread, *found.warnings]):
            typer.echo(f"note: {printable(note)}", err=True)
    if saved or out is None:
        _show(found, chosen, splits, command, quiet)
    if not quiet:
        for name in texts:
            typer.echo(f"wrote {printable(name)}", err=True)


def _source(
    val: str | None, bank: str | None, emb: str | None, oracle: bool, folds: int | None
) -> tuple[str, int]:
    """(what is tuned on, folds of it)."""
    for option, name in (("--val", val), ("--bank", bank), ("--emb", emb)):
        targets.named(option, name)
    if emb is not None and val is None and not oracle:
        raise UsageError(
            "--emb is the reported split, and parameters are chosen on another one: give --val FILE; "
            "or --oracle, and every row will say so"
        )
    if oracle and (emb is None or val is not None):
        raise UsageError("--oracle tunes on the reported split: give it as --emb FILE, and no --val")
    given = options.folds(bank)
    if val is not None or emb is not None:
        if folds is not None:
            raise UsageError("--folds is for a labelled --bank without --val; write --bank folds=N here")
        return str(emb if val is None else val), given
    if bank is None or given:
        raise UsageError("nothing to tune on: give --val FILE (another split), or --bank FILE with labels")
    return bank, folds or FOLDS


def _check_targets(
    out: str | None, picture: str | None, inputs: list[str | None], mapping: list[str] | None, config: str | None
) -> None:
    targets.named("-o", out)
    targets.named("--picture", picture)
    if picture is not None and not picture.lower().endswith(".svg"):
        raise UsageError(f"--picture {printable(picture)}: only SVG can be drawn; give a name that ends in .svg")
    files = [Path(name) for name in (out, picture) if name is not None]
    for file in files:
        check_writable(file)
    if len(files) == 2 and files[0].resolve() == files[1].resolve() and not is_stream(files[0]):
        raise UsageError(f"{printable(out)}: -o and --picture would both write it; choose another name")
    targets.check_read(files, inputs, mapping, config)


def _understood(templates: list[str], select: str, direction: str) -> None:
    """Words that mean nothing fail before anything is read."""
    from nclbench.sweep import Select, grids

    loading.understood(direction)
    Select.parse(select)
    grids(templates)


def _load(
    source: str, bank: str | None, layout: str | None, mapping: list[str] | None, split: str | None, is_bank: bool
) -> "tuple[Problem, tuple[str, ...]]":
    """The problem that is tuned on, and the splits that its file names. Of a bank with several, `train` is taken."""
    from nclbench.sources import load
    from nclbench.sources.containers import Shelf
    from nclbench.sources.reading import plan

    keys = options.pairs(mapping, "--map")
    reading = plan(source, Shelf(), layout, keys, split, default="train" if is_bank else "test")
    taken = reading.split if len(reading.splits) > 1 else split
    try:
        problem = load(source, layout=layout, mapping=keys, bank=bank, split=taken)
    except InputError as error:
        if is_bank and "no embeddings of the" in str(error):
            raise InputError(f"{error}; a bank alone cannot be tuned on, give --val FILE") from None
        raise
    if problem.relevance is None:
        way = "give --val FILE" if is_bank else "give a labelled file"
        raise InputError(f"{printable(source)}: no pair is known to be relevant, so nothing can be chosen on it; {way}")
    return problem, reading.splits


def _texts(
    found: "Swept", format: str, splits: tuple[str, ...], command: str, out: str | None, picture: str | None
) -> dict[str, str]:
    """What goes to each file; all is made before the first is written."""
    texts = {}
    if out is not None:
        texts[out] = _text(found, "json" if output.saves(out) else format, splits, command)
    if picture is not None:
        from nclbench.sweep.picture import render

        texts[picture] = render(found)
    return texts


def _text(found: "Swept", format: str, splits: tuple[str, ...], command: str) -> str:
    if format == "json":
        from nclbench.sweep.document import render

        return render(found, splits, command)
    from nclbench.sweep.table import build, sentences

    if format == "table":
        from nclbench.cli.terminal import plain

        return "\n".join([plain(build(found)), *sentences(found)]) + "\n"
    from importlib import import_module

    from nclbench.report import DIALECTS

    text = str(import_module(f"nclbench.report.{DIALECTS[format]}").render(build(found)))
    return "\n".join([text, "```text", *sentences(found), "```", ""]) if format == "md" else text


def _show(found: "Swept", format: str, splits: tuple[str, ...], command: str, quiet: bool) -> None:
    """To stdout; where that is for a program, the sentences go to stderr."""
    from nclbench.sweep.table import build, sentences

    if format == "table":
        from nclbench.cli.terminal import show, stdout_console

        show(build(found), stdout_console())
        typer.echo("\n" + "\n".join(sentences(found)))
        return
    output.put(_text(found, format, splits, command), json=format == "json")
    if format != "md" and not quiet:
        for text in sentences(found):
            typer.echo(text, err=True)

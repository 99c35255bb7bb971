"""`nclbench convert`: any input as a file in our own schema."""

from pathlib import Path
from typing import Annotated

import typer

from nclbench.cli import options, targets
from nclbench.files import printable

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A file, a folder, or text.npy,video.npy.", show_default=False)
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="OUTPUT", help="NAME.h5, NAME.npz, NAME.safetensors, or NAME/ for a Parquet folder.", show_default=False
    ),
]


def convert(
    source: Source,
    output: Target,
    layout: options.Layout = None,
    mapping: options.Map = None,
    bank: options.BankFile = None,
    split: options.Split = None,
    captions: options.Captions = None,
    no_labels: options.NoLabels = False,
    config: options.Config = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Any input as a file in our own schema: checked, with ids, labels and banks.

    nclbench convert text.npy,video.npy embeddings.h5
    """
    from nclbench.sinks import check, save

    targets.named("OUTPUT", output)
    check(output)
    targets.check_read([Path(output)], [source, bank, captions], mapping, config)
    from nclbench.leaks import leaks
    from nclbench.sources import load

    problem = load(
        source,
        layout=layout,
        mapping=options.pairs(mapping, "--map"),
        bank=bank,
        split=split,
        captions=captions,
        no_labels=no_labels,
    )
    save(problem, output)
    if not quiet:
        for note in (*problem.notes, *leaks(problem)):
            typer.echo(f"note: {printable(note)}", err=True)
        size = f"{len(problem.queries)} queries x {len(problem.items)} items"
        typer.echo(f"wrote {printable(output)}: {size}", err=True)

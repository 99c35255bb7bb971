"""`nclbench embed`: a checkpoint, captions and what they describe become a file of embeddings."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nclbench.cli import options, processes, targets
from nclbench.cli.checkpoints import Asked, asks, report, resumable
from nclbench.cli.progress import Progress
from nclbench.errors import MissingError, UsageError
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.embedding.job import Request

_STRICT = "A file that cannot be decoded whole, or whose id is taken, is an error."
Captions = Annotated[
    str | None, typer.Option("--captions", metavar="FILE", help="Captions, as the benchmark has them.", show_envvar=False)
]
Split = Annotated[str | None, typer.Option("--split", metavar="NAME", help="Of a file that names splits.", show_envvar=False)]
Out = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write, .h5.", show_envvar=False)]
Strict = Annotated[bool, typer.Option("--strict", help=_STRICT, show_envvar=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be embedded, and stop.", show_envvar=False)]


@asks
def embed(
    captions: Captions = None,
    asked: Asked = Asked(),  # noqa: B008
    out: Out = None,
    split: Split = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """A checkpoint, captions, and the videos, pictures or texts that they describe, as a file of embeddings.

    nclbench embed --checkpoint clip/ --captions test.csv --videos videos/ -o test.h5
    """
    processes.alone("embed")
    targets.named("-o", out)
    if out is None and not dry_run:
        raise UsageError("embed needs a file to write: give -o FILE.h5")
    if out is not None:
        if Path(out).suffix.lower() not in (".h5", ".hdf5"):
            raise UsageError(f"-o {printable(out)}: embeddings are written as HDF5; end it in .h5, and see nclbench convert")
        targets.check(output=out, inputs=[captions, *asked.places], config=config)
    from nclbench.plan import choose

    request = asked.request(captions, split=split, device="cpu", strict=strict, like="embed")
    if out is None or dry_run:
        _tell(request)
        return
    with Progress(not (no_progress or quiet), rates=True) as progress:
        device = choose(device, None, threads, progress).device
        request = asked.request(captions, split=split, device=device, strict=strict, like="embed")
        from nclbench.embedding import embed as run

        started = time.monotonic()
        with resumable(f"{out}.parts"):
            done = run(request, Path(out), progress)
    if not quiet:
        report(done, started, progress)


def _tell(request: "Request") -> None:
    from nclbench.embedding.job import find

    job = find(request)
    if not request.checkpoint.exists():
        raise MissingError(f"{printable(request.checkpoint)}: no such file or folder")
    typer.echo(f"queries: {len(job.queries)} captions of {len(job.queries.things)} things from {job.queries.origin}")
    typer.echo(f"gallery: {job.items} {request.kind} from {printable(request.gallery)}")
    typer.echo(f"first: {printable(job.queries.ids[0])} -> {printable(job.queries.items[0])}: {printable(job.queries.texts[0])}")
    for note in (*job.notes, *(f"left out: {each}" for each in job.left_out)):
        typer.echo(f"note: {printable(note)}", err=True)

"""`nclbench embed`: a checkpoint, captions and what they describe become a file of embeddings."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nclbench.cli import options, processes, targets
from nclbench.cli.checkpoints import Asked, asks
from nclbench.cli.progress import Progress
from nclbench.errors import UsageError
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.embedding import Embedded
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
        given = [captions, asked.videos, asked.frames, asked.images, asked.gallery_captions, asked.split_list, asked.checkpoint]
        targets.check(output=out, inputs=given, config=config)
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


def report(done: "Embedded", started: float, progress: Progress) -> None:
    """What came of it, on stderr."""
    for note in done.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    if done.again:
        typer.echo(f"note: {done.again} batches were there from an earlier run", err=True)
    if done.cached or done.found is None:
        typer.echo(f"embeddings found in the cache: {printable(done.path)}", err=True)
        return
    rates = ", ".join(f"{rate:.3g} {stage.removeprefix('embedding ')}/s" for stage, rate in progress.rates().items())
    size = f"{done.found.queries} queries x {done.found.items} items in {time.monotonic() - started:.1f} s"
    typer.echo(f"wrote {printable(done.path)}: {size}{f' ({rates})' if rates else ''}", err=True)


class resumable:  # noqa: N801
    """An interrupt within keeps what is done, and says so instead of what other commands say."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            where = printable(self._folder)
            typer.echo(f"interrupted; finished batches are kept in {where}, and the same command goes on there", err=True)
            raise SystemExit(130) from None


def _tell(request: "Request") -> None:
    from nclbench.embedding.job import find

    job = find(request)
    typer.echo(f"queries: {len(job.queries)} captions of {len(job.queries.things)} things from {job.queries.origin}")
    typer.echo(f"gallery: {job.items} {request.kind} from {printable(request.gallery)}")
    typer.echo(f"first: {printable(job.queries.ids[0])} -> {printable(job.queries.items[0])}: {printable(job.queries.texts[0])}")
    for note in (*job.notes, *(f"left out: {each}" for each in job.left_out)):
        typer.echo(f"note: {printable(note)}", err=True)

"""From a checkpoint, captions and what they describe to one file of embeddings, resumable at any moment."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nclbench.embedding.assembly import Found, assemble, outcome, remembered
from nclbench.embedding.description import checkpoint_hash, describe, digest
from nclbench.embedding.job import Job, Request, find
from nclbench.embedding.loop import run
from nclbench.embedding.parts import Parts
from nclbench.errors import MissingError, UsageError
from nclbench.files import printable
from nclbench.media import decoding
from nclbench.models import open_encoder
from nclbench.models.encoder import Encoder

Report = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Embedded:
    """path: the file. again: batches that an earlier run had left; cached: the file was there. notes: worth saying."""

    path: Path
    found: Found
    again: int = 0
    cached: bool = False
    notes: tuple[str, ...] = ()


def embed(request: Request, target: Path, report: Report) -> Embedded:
    """Writes `target`, or goes on where an earlier run of the same stopped (`target.parts`).

    MissingError, InputError, UsageError; whatever happens, what is finished is kept and `target` is old or complete.
    """
    job = find(request)
    checkpoint = _hashed(request)
    encoder = open_encoder(request.checkpoint, request.settings)
    return _embedded(request, job, encoder, describe(request, job, encoder, checkpoint), target, report)


def cached(request: Request, report: Report) -> Embedded:
    """The same in a cache, by the contents of everything that decides a number."""
    job = find(request)
    checkpoint = _hashed(request)
    encoder = open_encoder(request.checkpoint, request.settings)
    description = describe(request, job, encoder, checkpoint, contents=True)
    description["called"] = request.model or request.checkpoint.resolve().name
    target = cache() / f"{digest(description)}.h5"
    if target.is_file():
        found = remembered(request, job, target)
        return Embedded(target, found, cached=True, notes=_notes(request, job, encoder, found))
    return _embedded(request, job, encoder, description, target, report)


def cache() -> Path:
    """NCLBENCH_CACHE, else nclbench in the user's cache."""
    own = os.environ.get("NCLBENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(own) if own else Path(base).expanduser() / "nclbench") / "embeddings"


def _hashed(request: Request) -> str:
    if not request.checkpoint.exists():
        raise MissingError(f"{printable(request.checkpoint)}: no such file or folder")
    return checkpoint_hash(request.checkpoint)


def _embedded(
    request: Request, job: Job, encoder: Encoder, description: dict[str, object], target: Path, report: Report
) -> Embedded:
    if job.gallery is None and not encoder.sees:
        where = printable(request.checkpoint)
        raise UsageError(f"{where}: encodes texts only ({encoder.family}); give --gallery-captions FILE")
    if request.kind == "videos":
        decoding.library()
    with Parts(target, description) as parts:
        again = parts.done
        run(request, job, encoder, parts, report)
        found = outcome(request, job, encoder, parts)
        assemble(request, job, encoder, parts, found, description, target)
        parts.remove()
    return Embedded(target, found, again, notes=_notes(request, job, encoder, found))


def _notes(request: Request, job: Job, encoder: Encoder, found: Found) -> tuple[str, ...]:
    """What the reader of a checkpoint was not sure of, and what else was not as it should be."""
    cautions = (str(line) for line in encoder.facts.get("cautions", ()))
    return (*job.notes, *cautions, *_said(request, job, encoder, found))


def _said(request: Request, job: Job, encoder: Encoder, found: Found) -> list[str]:
    """Each kind in a line with its first cases."""
    most = f"more than {encoder.words} words, their marks included"
    cut = f"{found.cut} of {len(job.texts)} texts have {most}, and were cut (--max-words)"
    lists = (
        ([f"{name}: {why}" for name, why in found.skipped], f"could not be decoded, and {found.dropped} captions with them"),
        ([f"{name}: {why}" for name, why in found.damaged], "are damaged, and were used as far as they go"),
        (list(job.left_out), "cannot be told by their ids, and were left out"),
    )
    return [cut] * (found.cut > 0) + [
        f"{len(each)} {request.kind} {what} ({printable('; '.join(each[:3]))}{'; …' if len(each) > 3 else ''})"
        for each, what in lists
        if each
    ]

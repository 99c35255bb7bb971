"""What is to be embedded, as a user asks for it and as it is found: captions, what they describe, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nclbench.errors import InputError, UsageError
from nclbench.media.captions import Captions, dealt, read_captions
from nclbench.media.decoding import Sampling
from nclbench.media.listing import Medium, listed, same_content
from nclbench.models.encoder import Settings

PARTS = ("tokens", "frames")
DTYPES = ("float32", "float16")
MISSING = ("error", "drop")
BATCH = 32
# batches of captions in one shard, within which captions of like length go together
SORTED = 8


@dataclass(frozen=True)
class Request:
    """What somebody typed.

    kind: `videos`, `frames` or `images` with their folder, `captions` with a file. per_item, per_query: captions of each
    thing in a gallery of captions, and as queries. missing: what becomes of captions without their medium. everything:
    media without captions are in the gallery too. parts: which of PARTS are written beside one vector each. fps: see
    `Sampling`. model: what it is called in tables.
    """

    checkpoint: Path
    captions: Path
    kind: str
    gallery: Path
    split: str | None = None
    split_list: Path | None = None
    paragraphs: bool | None = None
    per_item: int | None = None
    per_query: int | None = None
    missing: str = "error"
    everything: bool = False
    parts: tuple[str, ...] = PARTS
    dtype: str = "float32"
    batch: int = BATCH
    fps: int = 1
    model: str | None = None
    strict: bool = False
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Job:
    """What was found. media: M videos or pictures, or none; gallery: M captions, or None. left_out: files not used."""

    queries: Captions
    media: tuple[Medium, ...] = ()
    gallery: Captions | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text once: captions with the same words must have the same vector to the last bit, or ties are lost."""
        return tuple(dict.fromkeys((*self.queries.texts, *(self.gallery.texts if self.gallery else ()))))

    @property
    def items(self) -> int:
        return len(self.media) if self.gallery is None else len(self.gallery)


def find(request: Request) -> Job:
    """Reads the captions and looks for what they describe. InputError, MissingError, UsageError."""
    _check(request)
    split, names, joined = request.split, request.split_list, request.paragraphs
    queries = read_captions(request.captions, split=split, split_list=names, paragraphs=joined)
    if request.kind == "captions":
        gallery = read_captions(request.gallery, split=split, split_list=names, paragraphs=joined)
        queries, gallery = dealt(queries, gallery, request.per_query, request.per_item)
        return Job(queries, gallery=gallery, notes=tuple(dict.fromkeys((*queries.notes, *gallery.notes))))
    if request.per_query is not None:
        queries = queries.first(request.per_query)
    media, left_out = listed(request.kind, request.gallery)
    by_id = {medium.id: medium for medium in media}
    queries, notes = _with_media(queries, by_id, request)
    chosen = [by_id[name] for name in queries.things]
    if request.everything:
        described = set(queries.things)
        chosen += [medium for medium in media if medium.id not in described]
    twins = same_content(chosen)
    if twins:
        first, second = twins[0]
        notes.append(f"{len(twins)} files have the same bytes as another (first {second}, as {first}); they will tie")
    return Job(queries, tuple(chosen), None, tuple(left_out), (*queries.notes, *notes))


def _check(request: Request) -> None:
    if request.dtype not in DTYPES:
        raise UsageError(f"unknown dtype {request.dtype!r} of words and frames; use {' or '.join(DTYPES)}")
    if request.missing not in MISSING:
        raise UsageError(f"unknown --missing {request.missing!r}; use {' or '.join(MISSING)}")
    if request.kind != "captions" and request.per_item is not None:
        raise UsageError("--gallery-per-item is about --gallery-captions")
    if request.kind == "captions" and request.everything:
        raise UsageError("--whole-gallery is about videos, frames or images")


def _with_media(queries: Captions, media: dict[str, Medium], request: Request) -> tuple[Captions, list[str]]:
    """The captions whose video or picture is there."""
    absent = [name for name in queries.things if name not in media]
    if not absent:
        return queries, []
    what = f"{len(absent)} of {len(queries.things)} {request.kind} that {queries.origin} describes are not in {request.gallery}"
    what += f" (first {_few(absent)})"
    if len(absent) == len(queries.things):
        raise InputError(f"{what}; a file is found by its name without its ending, such as {next(iter(media))!r}")
    if request.missing == "error":
        raise InputError(f"{what}; add them, or leave their captions out with --missing drop")
    kept = [row for row, name in enumerate(queries.items) if name in media]
    return queries.rows(kept), [f"{what}; {len(queries) - len(kept)} captions are left out"]


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(repr(name) for name in names[:most]) + (", …" if len(names) > most else "")


def text_batches(request: Request, job: Job) -> list[tuple[str, slice]]:
    """Of all texts."""
    return batches("texts", len(job.texts), request.batch * SORTED)


def batches(stage: str, count: int, size: int) -> list[tuple[str, slice]]:
    """Shards of a stage by name, and the rows of each."""
    return [(f"{stage}-{at // size:06d}", slice(at, min(at + size, count))) for at in range(0, count, size)]


def item_batches(request: Request, job: Job, frames: int | None) -> list[tuple[str, slice]]:
    """Of media: fewer videos at once where they have more than 12 frames. frames: as for `sampling`."""
    size = request.batch
    if request.kind in ("videos", "frames"):
        most = sampling(request, frames).most or 12
        size = max(1, min(size, size * 12 // most))
    return batches("items", len(job.media), size)


def sampling(request: Request, frames: int | None) -> Sampling:
    """frames: as many as the encoder takes, None for any number; CLIP4Clip's 12 where nobody says."""
    asked = request.settings.frames
    most = asked if asked is not None else frames if frames is not None else 12
    return replace(Sampling(), fps=request.fps, most=most if frames is None else min(most, frames))

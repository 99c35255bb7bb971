"""The options of a checkpoint and of what it is shown, for `embed`, and for `eval`, which embeds first."""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from nclbench.cli import processes
from nclbench.cli.failures import Terminated
from nclbench.errors import UsageError
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.cli.progress import Progress
    from nclbench.embedding import Embedded
    from nclbench.embedding.job import Request


def _option(*names: str, panel: str = "Checkpoint", **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_envvar=False, **more)


def _shown(*names: str, **more: Any) -> Any:
    return _option(*names, panel="With --checkpoint: captions and media", **more)


_LIST = "A file of ids: only what they name, in its order."
_PARAGRAPHS = "All captions of a thing as one text, or each alone; else as the file's format means."
_MISSING = "Captions without their video: error, or drop."
_WHOLE = "What has no caption is in the gallery too."
_FPS = "Pictures of each second of a video; 0 for all."
_HEADER = "What CLIP4Clip puts over the frames: auto, meanP, seqTransf or seqLSTM."
_PARTS = "What is written: global, and of tokens and frames what is named; all by default."
_DTYPE = "Of words and frames: float32 or float16; one vector each is always float32."


@dataclass(frozen=True)
class Asked:
    """What was typed, by the names of the options."""

    checkpoint: Annotated[
        str | None, _option("--checkpoint", metavar="PATH", help="A model: a folder, or a file of weights.")
    ] = None
    videos: Annotated[str | None, _shown("--videos", metavar="DIR", help="Videos, called as the captions call them.")] = None
    frames: Annotated[str | None, _shown("--frames", metavar="DIR", help="A folder of pictures for each video.")] = None
    images: Annotated[str | None, _shown("--images", metavar="DIR", help="Pictures, one each.")] = None
    gallery_captions: Annotated[
        str | None, _shown("--gallery-captions", metavar="FILE", help="Captions to be found, for text-to-text retrieval.")
    ] = None
    split_list: Annotated[str | None, _shown("--split-list", metavar="FILE", help=_LIST)] = None
    paragraphs: Annotated[bool | None, _shown("--paragraphs/--no-paragraphs", help=_PARAGRAPHS, show_default=False)] = None
    captions_per_item: Annotated[
        int | None, _shown("--captions-per-item", min=1, help="So many captions of each thing ask, at most.")
    ] = None
    gallery_per_item: Annotated[
        int | None, _shown("--gallery-per-item", min=1, help="So many captions of each thing are in the gallery.")
    ] = None
    missing: Annotated[str, _shown("--missing", metavar="RULE", help=_MISSING)] = "error"
    whole_gallery: Annotated[bool, _shown("--whole-gallery", help=_WHOLE)] = False
    max_words: Annotated[
        int | None, _option("--max-words", min=1, help="Longest caption, marks of start and end included.")
    ] = None
    max_frames: Annotated[int | None, _option("--max-frames", min=1, help="Most frames of a video, evenly chosen.")] = None
    fps: Annotated[int, _option("--fps", min=0, help=_FPS)] = 1
    header: Annotated[str, _option("--header", metavar="NAME", help=_HEADER)] = "auto"
    open_clip_model: Annotated[
        str | None, _option("--open-clip-model", metavar="NAME", help="Architecture of open_clip, where the file does not say.")
    ] = None
    name: Annotated[str | None, _option("--name", metavar="NAME", help="What the model is called in tables.")] = None
    parts: Annotated[str, _option("--parts", metavar="NAMES", help=_PARTS)] = "global,tokens,frames"
    dtype: Annotated[str, _option("--dtype", metavar="NAME", help=_DTYPE)] = "float32"
    batch: Annotated[int, _option("--batch", min=1, help="Captions, or videos of 12 frames, at once.")] = 32

    def request(
        self, captions: str | None, *, split: str | None, device: str, strict: bool, like: str
    ) -> "Request":
        """UsageError for what does not go together. like: how the command is called, for messages."""
        from nclbench.embedding.job import PARTS, Request
        from nclbench.models.encoder import Settings

        kinds = {"videos": self.videos, "frames": self.frames, "images": self.images, "captions": self.gallery_captions}
        given = [(kind, place) for kind, place in kinds.items() if place is not None]
        if not self.checkpoint or not captions:
            raise UsageError(f"{like} needs --checkpoint PATH and --captions FILE")
        if len(given) != 1:
            raise UsageError("give one of --videos DIR, --frames DIR, --images DIR and --gallery-captions FILE")
        kind, place = given[0]
        named = [word.strip() for word in self.parts.split(",")]
        wrong = [word for word in named if word not in ("global", *PARTS)]
        if wrong or not place:
            raise UsageError(f"cannot read --parts {self.parts!r}; name some of global, {', '.join(PARTS)}")
        return Request(
            checkpoint=Path(self.checkpoint),
            captions=Path(captions),
            kind=kind,
            gallery=Path(place),
            split=split,
            split_list=Path(self.split_list) if self.split_list else None,
            paragraphs=self.paragraphs,
            per_item=self.gallery_per_item,
            per_query=self.captions_per_item,
            missing=self.missing,
            everything=self.whole_gallery,
            parts=tuple(word for word in PARTS if word in named),
            dtype=self.dtype,
            batch=self.batch,
            fps=self.fps,
            model=self.name,
            strict=strict,
            settings=Settings(
                words=self.max_words, frames=self.max_frames, header=self.header, name=self.open_clip_model, device=device
            ),
        )

    @property
    def used(self) -> list[str]:
        """The options that differ from their defaults, as they are typed."""
        return [f"--{each.name.replace('_', '-')}" for each in fields(self) if getattr(self, each.name) != each.default]

    def unless_typed(self, context: typer.Context) -> "Asked":
        """Beside files of embeddings: nothing, where variables and config files alone ask for more. UsageError otherwise."""
        for each in fields(self):
            source = context.get_parameter_source(each.name)
            if source is not None and source.name == "COMMANDLINE":
                option = f"--{each.name.replace('_', '-')}"
                raise UsageError(f"{option} makes the embeddings that are evaluated; give it, or --emb FILE and --fuse, not both")
        return Asked()

    @property
    def places(self) -> list[str | None]:
        """All that is read."""
        return [self.checkpoint, self.videos, self.frames, self.images, self.gallery_captions, self.split_list]


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """The command with all options of `Asked` in place of its parameter `asked`."""
    hints = get_type_hints(Asked, include_extras=True)
    added = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(Asked)
    ]
    own = list(inspect.signature(command).parameters.values())
    at = [parameter.name for parameter in own].index("asked")
    all_of = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    def run(**given: Any) -> None:
        asked = Asked(**{each.name: given.pop(each.name) for each in fields(Asked)})
        command(asked=asked, **given)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    run.__signature__ = inspect.Signature([*all_of[:at], *added, *all_of[at + 1 :]])  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


def embedded(
    asked: Asked, captions: str | None, split: str | None, device: str, strict: bool, progress: "Progress", quiet: bool
) -> str:
    """The file of the embeddings that were asked for, from the cache or made now."""
    from nclbench.embedding import cache, cached

    processes.alone("eval with --checkpoint")
    request = asked.request(captions, split=split, device=device, strict=strict, like="eval with a checkpoint")
    started = time.monotonic()
    with resumable(str(cache())):
        done = cached(request, progress)
    if not quiet:
        report(done, started, progress)
    return str(done.path)


def report(done: "Embedded", started: float, progress: "Progress") -> None:
    """What came of it, on stderr."""
    for note in done.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    if done.again:
        typer.echo(f"note: {done.again} batches were there from an earlier run", err=True)
    if done.cached:
        typer.echo(f"embeddings found in the cache: {printable(done.path)}", err=True)
        return
    rates = ", ".join(f"{rate:.3g} {stage.removeprefix('embedding ')}/s" for stage, rate in progress.rates().items())
    found = done.found
    size = f"{found.queries} queries x {found.items} items in {time.monotonic() - started:.1f} s"
    typer.echo(f"wrote {printable(done.path)}: {size}{f' ({rates})' if rates else ''}", err=True)


class resumable:  # noqa: N801
    """An interrupt within keeps what is done, and says so instead of what other commands say."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt | Terminated) and Path(self._folder).exists():
            what, code = ("terminated", error.code) if isinstance(error, Terminated) else ("interrupted", 130)
            where = printable(self._folder)
            typer.echo(f"{what}; finished batches are kept in {where}, and the same command goes on there", err=True)
            raise SystemExit(code) from None

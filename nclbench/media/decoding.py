"""Pictures out of files: frames of a video at a rate as CLIP4Clip takes them, pictures of a folder, one picture."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from nclbench.errors import MissingError
from nclbench.files import printable
from nclbench.media.listing import Medium

# what ffmpeg may take a file for: no lists of other files, no addresses
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,flv,asf,ogg,gif,rm,apng,ivf,nut,mpjpeg"
)
# what a file may be taken for, whatever its name: others are programs (EPS)
_PICTURES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
Seen = TypeVar("Seen")


class UndecodableError(Exception):
    """A file that shows no picture; the message says why, in one line."""


class StoppedError(Exception):
    """Somebody asked for an end while a video was being decoded."""


@dataclass(frozen=True)
class Sampling:
    """fps: pictures of each second of a video, 0 for all. most: evenly chosen of these, None for no limit."""

    fps: int = 1
    most: int | None = 12

    def chosen(self, count: int) -> list[int]:
        """Which of `count` pictures are used: all, or as many as may be, from the first to the last at equal steps."""
        if self.most is None or count <= self.most:
            return list(range(count))
        return [int(at) for at in np.linspace(0, count - 1, num=self.most, dtype=int)]

    def wanted(self, number: int, rate: float) -> bool:
        """Whether a frame of a video of that rate is looked at: the first ones of equal steps within each second."""
        whole = max(int(rate), 1)
        if self.fps <= 0 or self.fps >= whole:
            return True
        place, step = number % whole, whole // self.fps
        return place % step == 0 and place // step < self.fps


def pictures(
    medium: Medium, kind: str, sampling: Sampling, see: Callable[[Image.Image], Seen], stopped: Callable[[], bool] = bool
) -> tuple[list[Seen], str]:
    """(what `see` makes of each chosen picture, a note or ''). UndecodableError where there is none."""
    if kind == "videos":
        return _video(medium.files[0], sampling, see, stopped)
    files = [medium.files[at] for at in sampling.chosen(len(medium.files))] if kind == "frames" else medium.files[:1]
    return [see(_picture(path)) for path in files], ""


def _picture(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(path, formats=_PICTURES) as opened:
                return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableError(printable(error)[:160] or type(error).__name__) from None


def _video(
    path: Path, sampling: Sampling, see: Callable[[Image.Image], Seen], stopped: Callable[[], bool]
) -> tuple[list[Seen], str]:
    """What is sampled is prepared at once, so that no decoded frame is kept."""
    av = _library()
    found: list[Seen] = []
    note = ""
    try:
        with av.open(str(path), options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise UndecodableError("no stream of pictures in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or stream.guessed_rate or 1)
            for number, frame in enumerate(container.decode(stream)):
                if stopped():
                    raise StoppedError
                if sampling.wanted(number, rate):
                    found.append(see(_upright(frame)))
    except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
        note = printable(getattr(error, "strerror", None) or error)[:160] or type(error).__name__
        if not found:
            raise UndecodableError(note) from None
        note = f"damaged after {len(found)} sampled frames ({note})"
    if not found:
        raise UndecodableError("not one frame in it")
    return [found[at] for at in sampling.chosen(len(found))], note


def _upright(frame: Any) -> Image.Image:
    """As a player shows it: a telephone says in its file how it was held."""
    picture: Image.Image = frame.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise MissingError('av (PyAV) is needed to decode videos and is not installed; pip install "nclbench[embed]"') from None
    av.logging.set_level(None)
    return av

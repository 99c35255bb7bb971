"""Pictures out of files: frames of a video at a rate as CLIP4Clip takes them, pictures of a folder, one picture."""

from collections.abc import Callable, Iterator
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
# pixels; as many as pillow warns of
_LARGEST = 89_478_485
# prepared pictures of one video in memory: 150 MB of 224 x 224
_HELD = 256
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
    found: list[Seen] = []
    faults: list[str] = []
    for path in files:
        try:
            picture = _picture(path)
        except UndecodableError as error:
            faults.append(f"{printable(path.name)}: {error}" if kind == "frames" else str(error))
        else:
            found.append(see(picture))
    if not found:
        raise UndecodableError(faults[0])
    return found, f"{len(faults)} of {len(files)} chosen frames cannot be read ({faults[0]})" if faults else ""


def _picture(path: Path) -> Image.Image:
    """In RGB. What pillow warns of is the caller's to show or not: filters of warnings belong to no thread."""
    try:
        with Image.open(path, formats=_PICTURES) as opened:
            width, height = opened.size
            if width * height > _LARGEST:
                raise UndecodableError(f"{width} x {height} pixels are no picture of a data set")
            return opened.convert("RGB")
    except UndecodableError:
        raise
    except Exception as error:  # pillow raises a dozen types on damaged files
        raise UndecodableError(printable(error)[:160] or type(error).__name__) from None


def _video(
    path: Path, sampling: Sampling, see: Callable[[Image.Image], Seen], stopped: Callable[[], bool]
) -> tuple[list[Seen], str]:
    """What is sampled is prepared at once, so that no decoded frame is kept. A video with more of them than may be held is
    read twice: for their number, and for the chosen ones.
    """
    found: list[Seen] = []
    faults: list[str] = []
    most = None if sampling.most is None else max(_HELD, sampling.most)
    count = 0
    for count, picture in enumerate(_frames(path, sampling, stopped, faults), 1):
        if most is None or count <= most:
            found.append(see(picture))
        else:
            found.clear()
    chosen = sampling.chosen(count)
    if found:
        found = [found[at] for at in chosen]
    elif count:
        wanted = set(chosen)
        again = enumerate(_frames(path, sampling, stopped, []))
        found = [see(picture) for at, picture in again if at in wanted]
    if not found:
        raise UndecodableError(faults[0] if faults else "not one frame in it")
    return found, f"{len(faults)} faults in it ({faults[0]}), {count} sampled frames" if faults else ""


def _frames(path: Path, sampling: Sampling, stopped: Callable[[], bool], faults: list[str]) -> Iterator[Image.Image]:
    """Sampled frames. A packet that cannot be decoded is a fault, and the next is tried, as a player does."""
    av = library()
    try:
        with av.open(str(path), options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise UndecodableError("no stream of pictures in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or stream.guessed_rate or 1)
            number = 0
            for packet in container.demux(stream):
                for frame in _decoded(packet, faults):
                    if stopped():
                        raise StoppedError
                    if sampling.wanted(number, rate):
                        yield _upright(frame)
                    number += 1
    except (UndecodableError, StoppedError):
        raise
    except Exception as error:  # what a library raises on a damaged file is its own affair
        faults.append(_brief(error))


def _decoded(packet: Any, faults: list[str]) -> list[Any]:
    try:
        return list(packet.decode())
    except EOFError:
        return []
    except ValueError as error:  # of which ffmpeg's InvalidDataError is one
        faults.append(_brief(error))
        return []


def _brief(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or error)[:160] or type(error).__name__


def _upright(frame: Any) -> Image.Image:
    """As a player shows it: a telephone says in its file how it was held."""
    picture: Image.Image = frame.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def library() -> Any:
    """PyAV, silent. MissingError without it."""
    try:
        import av
    except ImportError:
        raise MissingError('av (PyAV) is needed to decode videos and is not installed; pip install "nclbench[embed]"') from None
    # with any level ffmpeg's threads wait for Python's lock, and who closes a damaged file waits for them with the lock held
    av.logging.set_level(None)
    return av

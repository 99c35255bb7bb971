"""Names of files and ids: `…/video7020.mp4` and `video7020` are one thing, and 2 comes before 10."""

import re
from pathlib import PurePosixPath

VIDEOS = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".wmv", ".ogv", ".ts", ".gif",
    ".mts", ".m2ts", ".3g2", ".vob", ".asf", ".divx",
)  # fmt: skip
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_BROKEN = re.compile("[\\0\ud800-\udfff]")
_SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".m4a")


def stem(name: str) -> str:
    """An id without folders and without the ending of a medium; other dots belong to the id."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.suffix.lower() in (*VIDEOS, *IMAGES, *_SOUNDS):
        return path.name[: -len(path.suffix)]
    return (path.name if path.is_absolute() else name).removesuffix(".")


def plain(text: str) -> bool:
    """Whether it is text for tokenizers and HDF5: without zero bytes, and in whole characters."""
    return _BROKEN.search(text) is None


def natural(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """A key to sort by: numbers in names count as numbers, and names of the same numbers, such as 1 and 01, have an order too."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part)) if at % 2 else (1, part) for at, part in enumerate(parts)], name

"""Names of files and ids: `…/video7020.mp4` and `video7020` are one thing, and 2 comes before 10."""

import re
from pathlib import PurePosixPath

VIDEOS = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".3gp", ".flv", ".wmv", ".ogv", ".ts", ".gif",
    ".mts", ".m2ts", ".3g2", ".vob", ".asf", ".divx",
)  # fmt: skip
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".m4a")


def stem(name: str) -> str:
    """An id without folders and without the ending of a medium; other dots belong to the id."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.suffix.lower() in (*VIDEOS, *IMAGES, *_SOUNDS):
        return path.name[: -len(path.suffix)]
    return (path.name if path.is_absolute() else name).removesuffix(".")


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key to sort by: numbers in names count as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]

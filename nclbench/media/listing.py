"""Which videos, folders of frames or pictures there are, by id."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nclbench.errors import InputError, MissingError
from nclbench.files import printable, sha256
from nclbench.media.names import IMAGES, VIDEOS, natural

KINDS = ("videos", "frames", "images")


@dataclass(frozen=True)
class Medium:
    """One video, picture or folder of frames. files: what is read for it, in order of time."""

    id: str
    files: tuple[Path, ...]

    def stamp(self) -> list[list[object]]:
        """Names, sizes and times of change: whether it is still the same, at no cost."""
        return [[path.name, (found := path.stat()).st_size, found.st_mtime_ns] for path in self.files]

    def content(self) -> list[str]:
        """Hashes of its files."""
        return [sha256(path) for path in self.files]


def listed(kind: str, folder: str | Path) -> tuple[list[Medium], list[str]]:
    """(media in the order of their ids, what was left out). kind: one of KINDS.

    The id is the file's name without its ending, of frames the folder's name; of two files with one id the first is taken.
    MissingError without the folder, InputError where nothing in it can be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingError(f"{printable(folder)}: no such folder")
    endings = VIDEOS if kind == "videos" else IMAGES
    found: dict[str, list[Path]] = {}
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names, key=natural):
            path = Path(place) / name
            if not name.startswith(".") and path.suffix.lower() in endings and path.is_file():
                found.setdefault(path.parent.name if kind == "frames" else path.stem, []).append(path)
    if kind == "frames":
        found.pop(root.name, None)
    if not found:
        what = "folders of pictures, one a video," if kind == "frames" else f"files that end in {' '.join(endings)}"
        raise InputError(f"{printable(folder)}: no {what} in it")
    left_out = []
    media = []
    for name, paths in sorted(found.items(), key=lambda pair: natural(pair[0])):
        if kind != "frames":
            taken = paths[0].relative_to(root)
            left_out += [f"{path.relative_to(root)} (its id {name} is taken by {taken})" for path in paths[1:]]
            paths = paths[:1]
        media.append(Medium(name, tuple(paths)))
    return media, left_out


def same_content(media: Sequence[Medium]) -> list[tuple[str, str]]:
    """Pairs of ids whose files have the same bytes; only files of one size are read."""
    sizes: dict[tuple[int, ...], list[Medium]] = {}
    for medium in media:
        sizes.setdefault(tuple(path.stat().st_size for path in medium.files), []).append(medium)
    pairs = []
    for group in sizes.values():
        first: dict[tuple[str, ...], str] = {}
        for medium in group if len(group) > 1 else ():
            other = first.setdefault(tuple(medium.content()), medium.id)
            if other != medium.id:
                pairs.append((other, medium.id))
    return pairs

"""Which videos, folders of frames or pictures there are, by id."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nclbench.errors import InputError, MissingError
from nclbench.files import printable, sha256
from nclbench.media.names import IMAGES, VIDEOS, natural, plain

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

    The id is the file's name without its ending, of frames the folder's name; of two files, or folders, with one id the first
    is taken. Links to folders are followed. MissingError without the folder, InputError where nothing in it can be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingError(f"{printable(folder)}: no such folder")
    endings = VIDEOS if kind == "videos" else IMAGES
    found: dict[str, list[list[Path]]] = {}
    left_out = []
    for place, names in _walked(root):
        files = [place / name for name in names if Path(name).suffix.lower() in endings and (place / name).is_file()]
        strange = [path for path in files if not plain(path.as_posix())]
        left_out += [f"{printable(path.relative_to(root))} (its name is not UTF-8)" for path in strange]
        files = [path for path in files if path not in strange]
        if kind != "frames":
            for path in files:
                found.setdefault(path.stem, []).append([path])
        elif files and place != root:
            found.setdefault(place.name, []).append(files)
    if not found:
        what = "folders of pictures, one a video," if kind == "frames" else f"files that end in {' '.join(endings)}"
        raise InputError(f"{printable(folder)}: no {what} in it")
    media = []
    for name, (first, *others) in sorted(found.items(), key=lambda pair: natural(pair[0])):
        taken, *shadowed = ((files[0].parent if kind == "frames" else files[0]).relative_to(root) for files in (first, *others))
        left_out += [f"{path} (its id {name} is taken by {taken})" for path in shadowed]
        media.append(Medium(name, tuple(first)))
    return media, left_out


def _walked(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder once, links to folders followed, with the names in it; nothing that is hidden."""
    known: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in known:
            folders[:] = []
            continue
        known.add(real)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        yield Path(place), sorted((name for name in names if not name.startswith(".")), key=natural)


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

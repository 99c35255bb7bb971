"""`FILE:KEY|TRANSFORM|…`: where the values of one canonical key come from, as text and as arrays."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nclbench.errors import InputError, MissingError, UsageError, nearest
from nclbench.files import printable
from nclbench.sources.containers import READERS, Shelf
from nclbench.sources.raw import Array, Raw
from nclbench.sources.transforms import Transform
from nclbench.sources.transforms import parse as parse_transform

_FILE = re.compile(rf"(.+?(?:{'|'.join(re.escape(suffix) for suffix in READERS)}))(?::(.*))?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """path may hold `*` in its last part: such parts are put together in the order of their numbers."""

    path: str
    key: str = ""
    transforms: tuple[Transform, ...] = ()

    def __str__(self) -> str:
        name = f"{self.path}:{self.key}" if self.key else self.path
        return "|".join([name, *map(str, self.transforms)])


@dataclass(frozen=True, eq=False)
class Loaded:
    """Values with their origin for messages, and for every file that they came from its path, shape and dtype."""

    array: Array
    origin: str
    pieces: tuple[tuple[str, tuple[int, ...], str], ...]


def parse(text: str, own: str | None = None) -> Source:
    """Reads the grammar. `:KEY` alone is a key of the file that the user gave, `own`. UsageError otherwise."""
    name, *steps = text.split("|")
    transforms = tuple(parse_transform(step) for step in steps)
    name = name.strip()
    if name.startswith(":") and own is not None:
        return Source(own, name[1:], transforms)
    match = _FILE.match(name)
    if match is None and Path(name).is_dir():
        return Source(name, "embeddings", transforms)
    if match is None:
        raise UsageError(
            f"cannot read {printable(text)!r} in a mapping; write FILE or FILE:KEY, optionally with |T, |l2, |stride=5"
        )
    return Source(match[1], match[2] or "", transforms)


def parts(path: str) -> list[str]:
    """The files that a path with `*` stands for, sorted by their numbers; a gap in the numbers is an InputError."""
    place = Path(path)
    if "*" not in place.name or place.exists():
        return [path]
    pattern = re.compile(re.escape(place.name).replace(r"\*", r"(\d+)") + r"\Z")
    folder = place.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = sorted((int(match[1]), name) for name in names if (match := pattern.match(name)))
    if not found:
        raise MissingError(f"{printable(path)}: no such files")
    numbers = [number for number, _ in found]
    for before, after in zip(numbers, numbers[1:], strict=False):
        if after != before + 1:
            what = f"part {before} is there twice" if after == before else f"part {before + 1} is missing"
            raise InputError(f"{printable(path)}: {what}; give all parts")
    return [str(folder / name) for _, name in found]


def resolve(raw: Raw, key: str) -> str:
    """The key of the file that is meant: itself, with dots for slashes, or the only one. InputError otherwise."""
    if key in raw.entries:
        return key
    alike = [name for name in raw.entries if name.replace(".", "/") == key.replace(".", "/")]
    if key and len(alike) == 1:
        return alike[0]
    if not key and len(raw.entries) == 1:
        return next(iter(raw.entries))
    known = [printable(name) for name in raw.entries]
    if not key:
        raise InputError(f"{raw.origin}: holds {len(known)} arrays ({', '.join(known[:8])}); say which as FILE:KEY")
    raise InputError(f"{raw.where(key)}: not in the file{nearest(printable(key), known[:500])}")


def fetch(sources: Mapping[str, Source], shelf: Shelf) -> dict[str, Loaded]:
    """The values of every canonical key; each file is read once, whatever is wanted from it."""
    wanted: dict[str, set[str]] = {}
    places: dict[str, list[tuple[str, str]]] = {}
    for name, source in sources.items():
        places[name] = [(path, resolve(shelf.open(path), source.key)) for path in parts(source.path)]
        for path, key in places[name]:
            wanted.setdefault(path, set()).add(key)
    arrays = {path: shelf.read(path, sorted(keys)) for path, keys in wanted.items()}
    return {name: _loaded(source, places[name], arrays, shelf) for name, source in sources.items()}


def _loaded(
    source: Source, places: list[tuple[str, str]], arrays: Mapping[str, Mapping[str, Array]], shelf: Shelf
) -> Loaded:
    found = [arrays[path][key] for path, key in places]
    where = shelf.open(places[0][0]).where(places[0][1])
    if len(found) > 1:
        where = printable(source)
        if len({(part.ndim, part.shape[1:], part.dtype) for part in found}) > 1:
            raise InputError(f"{where}: the parts differ in shape or type (the first is {found[0].shape})")
    array = np.concatenate(found) if len(found) > 1 else found[0]
    for transform in source.transforms:
        array = transform.apply(array, where)
    pieces = tuple(
        (path, part.shape, shelf.open(path).entries[key].dtype)
        for (path, key), part in zip(places, found, strict=True)
    )
    return Loaded(array, where, pieces)

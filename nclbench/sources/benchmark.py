"""The schema of `datasets_meta/*.toml` (docs/datasets.md), read strictly: every figure has a source and a certainty."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from nclbench.errors import InputError, nearest
from nclbench.reported import Reported

T = TypeVar("T")
CERTAINTIES = ("counted", "read", "unverified")
PROTOCOLS = ("one query an item", "every caption a query", "paragraph")
THINGS = {"text-video": "videos", "text-image": "images", "text-audio": "sounds"}


@dataclass(frozen=True)
class Sourced:
    """certainty: counted (in the annotation file that source names), read (source states it) or unverified."""

    certainty: str
    source: str

    def __post_init__(self) -> None:
        _one_of(self.certainty, CERTAINTIES, "certainty")
        if not self.source.strip():
            raise ValueError("source is empty")


@dataclass(frozen=True)
class Figure(Sourced):
    value: int


@dataclass(frozen=True)
class Spread(Sourced):
    """Captions per item; mean is rounded to two decimals."""

    min: int | None = None
    mean: float | None = None
    max: int | None = None


@dataclass(frozen=True)
class Split:
    """One list of items. variant tells lists or protocols of one split apart; ids_sha256 is over the item ids."""

    name: str
    items: Figure
    queries: Figure | None = None
    variant: str = ""
    note: str = ""
    captions_per_item: Spread | None = None
    ids_sha256: str = ""

    def __post_init__(self) -> None:
        if self.ids_sha256 and not re.fullmatch("[0-9a-f]{64}", self.ids_sha256):
            raise ValueError("ids_sha256 is not 64 hexadecimal digits")

    @property
    def label(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name

    @property
    def counts(self) -> tuple[int, int] | None:
        return None if self.queries is None else (self.queries.value, self.items.value)


@dataclass(frozen=True)
class Pitfall(Sourced):
    """warn: worth a line whenever the benchmark is evaluated."""

    says: str
    warn: bool = False


@dataclass(frozen=True)
class Licence(Sourced):
    says: str
    redistribution: str


@dataclass(frozen=True)
class Citation(Sourced):
    """key: a BibTeX key. also: what to cite beside it."""

    key: str
    text: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """One TOML. splits[0] is what papers report. id_pattern: a regex for item ids; a group in it is the id."""

    name: str
    title: str
    modality: str
    protocol: str
    t2v: str
    v2t: str
    id_pattern: str
    licence: Licence
    citation: Citation
    splits: tuple[Split, ...]
    aliases: tuple[str, ...] = ()
    pitfalls: tuple[Pitfall, ...] = ()
    published: tuple[Reported, ...] = ()

    def __post_init__(self) -> None:
        _one_of(self.modality, THINGS, "modality")
        _one_of(self.protocol, PROTOCOLS, "protocol")
        labels = [split.label for split in self.splits]
        if not labels or len(set(labels)) < len(labels):
            raise ValueError(f"splits must have different names or variants (found: {labels})")
        rows = [(*row.identity, row.direction) for row in self.published]
        if twice := [row for row in rows if rows.count(row) > 1]:
            raise ValueError(f"the published row {' '.join(filter(None, twice[0]))!r} stands there twice")
        if strange := [row.split for row in self.published if row.split not in (*labels, "unknown")]:
            raise ValueError(f"published: no split {strange[0]!r}{nearest(strange[0], labels)}")
        try:
            re.compile(self.id_pattern)
        except re.error as error:
            raise ValueError(f"id_pattern {self.id_pattern!r} is not a regex ({error})") from None

    @property
    def things(self) -> str:
        return THINGS[self.modality]

    def label(self, split: Split) -> str:
        return self.name if split is self.splits[0] else f"{self.name} ({split.label})"


def read(path: Path) -> Benchmark:
    """One TOML, strictly: an unknown, missing or mistyped key is an InputError that names the file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not readable as TOML ({error})") from None
    found = _build(Benchmark, table, str(path))
    if found.name != path.stem:
        raise InputError(f"{path}: name is {found.name!r}; it must be that of the file, {path.stem!r}")
    return found


def _one_of(word: str, known: Iterable[str], what: str) -> None:
    if word not in known:
        raise ValueError(f"unknown {what} {word!r}{nearest(word, known)}")


def _build(cls: type[T], table: Any, where: str) -> T:
    """A table as a dataclass, whose fields are the schema."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: found {table!r}, expected a table")
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    for key, field in known.items():
        if field.default is MISSING and key not in table:
            raise InputError(f"{where}: key {key!r} is missing")
    hints = get_type_hints(cls)
    try:
        return cls(**{key: _typed(value, hints[key], f"{where}: {key}") for key, value in table.items()})
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _typed(value: Any, hint: Any, where: str) -> Any:
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: found {value!r}, expected a list")
        return tuple(_typed(entry, kinds[0], f"{where}[{place}]") for place, entry in enumerate(value))
    if get_origin(hint) is Mapping:
        if not isinstance(value, dict):
            raise InputError(f"{where}: found {value!r}, expected a table")
        return {key: _typed(entry, kinds[1], f"{where}: {key}") for key, entry in value.items()}
    kind = kinds[0] if kinds else hint
    if is_dataclass(kind):
        return _build(kind, value, where)  # type: ignore[arg-type]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise InputError(f"{where}: found {value!r}, expected {kind.__name__}")
    return value

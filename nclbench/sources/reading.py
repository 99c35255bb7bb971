"""From what the user typed (files, layout, mapping, split) to the source of every canonical key of one split."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import printable
from nclbench.sources import layouts
from nclbench.sources.containers import Shelf
from nclbench.sources.given import Given
from nclbench.sources.keys import ATTRIBUTES, ITEM_SETS, QUERY_SETS, Key
from nclbench.sources.keys import parse as parse_key
from nclbench.sources.raw import Scalar
from nclbench.sources.source import Source
from nclbench.sources.source import parse as parse_source

Paths = str | Path | Sequence[str | Path]
Assignments = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class Reading:
    """What is to be read. sources: of one split and of the banks. own: whether the file is in our schema.

    paths: as the user gave them. splits: all that the file has.
    """

    paths: tuple[str, ...]
    layout: str
    split: str
    splits: tuple[str, ...]
    sources: Mapping[Key, Source]
    attributes: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        return "nclbench_schema" in self.attributes

    @property
    def name(self) -> str:
        return printable(",".join(self.paths)) if self.paths else "the mapping"


def plan(
    emb: Paths | None,
    shelf: Shelf,
    layout: str | None = None,
    mapping: Assignments | None = None,
    split: str | None = None,
    default: str = "test",
) -> Reading:
    """UsageError for options that cannot be understood, InputError where nothing fits the files.

    default: the split to take of several where none is asked for.
    """
    paths = given_paths(emb)
    sources, attributes = assignments(mapping, paths)
    if not paths and not sources:
        raise UsageError("nothing to read; give --emb FILE, or --map KEY=SOURCE for everything")
    name, found, inside = "map", layouts.Found({}), dict[str, Scalar]()
    if paths:
        given = Given.of(paths, shelf)
        name, found = _recognise(given, layout, bool(sources))
        if name in ("pair", "vsepp"):
            _check_order(paths)
        inside = _attributes(given, found, shelf)
    elif layout is not None:
        raise UsageError("--layout needs --emb FILE")
    everything = dict(found.sources)
    for key, source in sources.items():
        everything = {known: old for known, old in everything.items() if not _replaces(key, known)} | {key: source}
    where = printable(",".join(paths)) if paths else "the mapping"
    chosen, splits = _split(everything, split or "", default, where, name)
    kept = {key: source for key, source in everything.items() if key.is_bank or key.split == chosen}
    attributes = {**inside, **found.attributes, **attributes}
    label = split or (str(attributes.get("split", chosen)) if len(splits) < 2 else chosen)
    return Reading(tuple(paths), name, label, splits, kept, attributes)


def given_paths(emb: Paths | None) -> list[str]:
    """One path, or two: `text.npy,video.npy`, unless a file has that very name."""
    if emb is None:
        return []
    paths = [str(emb)] if isinstance(emb, str | Path) else [str(path) for path in emb]
    if len(paths) == 1 and "," in paths[0] and not Path(paths[0]).exists():
        paths = [part.strip() for part in paths[0].split(",")]
    if not all(paths) or not 1 <= len(paths) <= 2:
        raise UsageError(f"cannot read --emb {','.join(paths)!r}; give FILE, or TEXTS,ITEMS")
    return paths


def assignments(mapping: Assignments | None, paths: Sequence[str]) -> tuple[dict[Key, Source], dict[str, Scalar]]:
    """`KEY=SOURCE` texts or a table of them, as sources and attributes."""
    pairs: list[tuple[str, str]] = []
    for entry in mapping.items() if isinstance(mapping, Mapping) else mapping or ():
        key, equals, source = entry.partition("=") if isinstance(entry, str) else (entry[0], "=", str(entry[1]))
        if not (key.strip() and equals and source.strip()):
            raise UsageError(f"cannot read mapping {printable(entry)!r}; write KEY=SOURCE, as test.text.ids=ids.csv:id")
        pairs.append((key.strip(), source.strip()))
    sources: dict[Key, Source] = {}
    attributes: dict[str, Scalar] = {}
    own = paths[0] if len(paths) == 1 else None
    for key, text in pairs:
        if key in ATTRIBUTES:
            attributes[key] = text
            continue
        parsed = parse_key(key)
        if parsed in sources:
            raise UsageError(f"key {key!r} is mapped twice")
        sources[parsed] = parse_source(text, own)
    return sources, attributes


def _replaces(new: Key, old: Key) -> bool:
    """A mapped key takes the place of the same key, and of every other way to say the same."""
    same_role = new.role == old.role and (new.is_bank or new.split == old.split)
    if new.field in ("item_ids", "item_index"):
        return same_role and old.field in ("item_ids", "item_index")
    if new.field in ("captions", "titles"):
        return same_role and old.field in ("captions", "titles")
    return same_role and new.field == old.field


def _recognise(given: Given, name: str | None, mapped: bool) -> tuple[str, layouts.Found]:
    if name is not None:
        wanted = layouts.get(name)
        found = wanted.find(given)
        if found is None:
            raise InputError(
                f"{_name(given)}: not laid out as {wanted.name!r} ({wanted.summary}); found {given.describe()}"
            )
        return wanted.name, found
    for candidate in layouts.LAYOUTS.values():
        if candidate.automatic and (found := candidate.find(given)) is not None:
            return candidate.name, found
    if mapped:
        return "map", layouts.Found({})
    raise InputError(
        f"{_name(given)}: no known layout; found {given.describe()}; use --layout, or --map KEY=SOURCE"
    )


def _name(given: Given) -> str:
    return printable(given.folder) if given.folder else ",".join(raw.origin for raw in given.parts)


def _attributes(given: Given, found: layouts.Found, shelf: Shelf) -> dict[str, Scalar]:
    """Attributes of the files given; of a folder, those of the tables that it is made of."""
    inside: dict[str, Scalar] = {}
    raws = list(given.parts)
    if given.folder and found.sources:
        raws = [shelf.open(str(Path(given.folder) / name)) for name in given.names if name.endswith("0000.parquet")]
    for raw in raws:
        inside |= raw.attributes
    return inside


def _split(
    sources: Mapping[Key, Source], wanted: str, default: str, name: str, layout: str
) -> tuple[str, tuple[str, ...]]:
    splits = sorted({key.split for key in sources if not key.is_bank})
    if wanted in splits:
        return wanted, tuple(splits)
    if wanted and (layout in _WITH_SPLITS or splits != ["test"]):
        raise UsageError(f"{name} has no split {wanted!r}{nearest(wanted, splits)}")
    if len(splits) > 1 and default not in splits:
        raise InputError(f"{name}: has the splits {printable(', '.join(splits))}; say which with --split")
    return (default if default in splits or not splits else splits[0]), tuple(splits)


# Layouts that name splits; in all others `--split` only says which one the file is.
_WITH_SPLITS = ("nclbench", "frozen")
_ITEMS_NAME = re.compile(r"vid|img|image|audio|item|gallery", re.IGNORECASE)
_TEXTS_NAME = re.compile(r"te?xt|caption|quer", re.IGNORECASE)


def _check_order(paths: Sequence[str]) -> None:
    """A pair given the wrong way round would have its two directions swapped, and nobody would notice."""
    says = [(bool(_TEXTS_NAME.search(Path(path).name)), bool(_ITEMS_NAME.search(Path(path).name))) for path in paths]
    if says == [(False, True), (True, False)]:
        right = printable(",".join(paths[::-1]))
        raise UsageError(f"{printable(','.join(paths))}: the first file must be the texts; give {right}")


def of_role(sources: Mapping[Key, Source], role: str) -> dict[str, Key]:
    """The keys that describe one role, by field. `query` goes before `text` and `item` before all others.

    Fields of a modality without vectors add to those of the one that has them. Two modalities with vectors are an
    InputError, because nobody said which one is asked for.
    """
    first = QUERY_SETS[0] if role in ("queries", "query_bank") else ITEM_SETS[0]
    groups = sorted({key.group for key in sources if key.role == role}, key=lambda group: (group != first, group))
    full = [
        group for group in groups if any(k.group == group and k.role == role and k.field in _VALUES for k in sources)
    ]
    if len(full) > 1 and full[0] != first:
        raise InputError(
            f"{', '.join(full)} could all be the {role.replace('_', ' ')}; "
            f"choose with --map test.{first}.embeddings=SOURCE"
        )
    found: dict[str, Key] = {}
    for group in full[:1] + [group for group in groups if group not in full]:
        for key in sources:
            if key.role == role and key.group == group:
                found.setdefault(key.field, key)
    return found


_VALUES = ("embeddings", "tokens/values", "scores")

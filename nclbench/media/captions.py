"""Captions with ids and the ids of what they describe, read from a file, cut to a split, joined, or dealt to two sides."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.media import formats
from nclbench.media.names import plain, stem
from nclbench.media.splits import read_list


@dataclass(frozen=True)
class Captions:
    """N captions. ids: unique. items: the id of the video, picture or sound that each describes. origin: for messages."""

    ids: tuple[str, ...]
    items: tuple[str, ...]
    texts: tuple[str, ...]
    origin: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def things(self) -> tuple[str, ...]:
        """What is described, each once, in order of appearance."""
        return tuple(dict.fromkeys(self.items))

    def rows(self, chosen: Sequence[int], *notes: str) -> "Captions":
        """Some of the captions, with what there is to say of the choice."""
        lists = (tuple(each[row] for row in chosen) for each in (self.ids, self.items, self.texts))
        ids, items, texts = lists
        return Captions(ids, items, texts, self.origin, (*self.notes, *notes))

    def first(self, count: int) -> "Captions":
        """The first captions of each thing."""
        seen: Counter[str] = Counter()
        chosen = []
        for row, item in enumerate(self.items):
            seen[item] += 1
            if seen[item] <= count:
                chosen.append(row)
        return self.rows(chosen)


def read_captions(
    path: str | Path, *, split: str | None = None, split_list: str | Path | None = None, paragraphs: bool | None = None
) -> Captions:
    """Reads a caption file of any format in `nclbench.media.formats`.

    split: of a file that names splits. split_list: a file of ids; only these are kept, in its order. paragraphs: whether all
    captions of one thing become one text; None for what the format means (ActivityNet's do).
    InputError with the first bad row for a file that is damaged or has no captions, MissingError for none.
    """
    table = formats.read(Path(path))
    where = printable(path)
    rows = [formats.Row(stem(row.item.strip()), row.text, row.name, row.split) for row in table.rows]
    _check(rows, where)
    rows = _of_split(rows, split, where)
    notes: list[str] = []
    if split_list is not None:
        rows, notes = _listed(rows, Path(split_list), where)
    if not rows:
        raise InputError(f"{where}: holds no captions")
    if table.paragraphs if paragraphs is None else paragraphs:
        rows = _joined(rows)
    ids = _ids(rows)
    return Captions(ids, tuple(row.item for row in rows), tuple(row.text for row in rows), where, tuple(notes))


def dealt(queries: Captions, gallery: Captions, per_query: int | None, per_item: int | None) -> tuple[Captions, Captions]:
    """Captions as queries and captions as gallery, at most so many of each thing.

    Of one and the same file the gallery takes the first of each thing, and the others ask; a caption with the same words as
    one of its own in the gallery asks nothing. Queries without an answer in the gallery are dropped, and counted.
    """
    same = Path(queries.origin).resolve() == Path(gallery.origin).resolve()
    if same and per_item is None:
        raise UsageError("queries and gallery are one file; say with --gallery-per-item how many captions the gallery takes")
    gallery = gallery if per_item is None else gallery.first(per_item)
    notes = []
    if same:
        taken = set(zip(gallery.items, gallery.texts, strict=True))
        others = [row for row in range(len(queries)) if (queries.items[row], queries.texts[row]) not in taken]
        notes.append(f"{len(queries) - len(others)} captions are in the gallery, or say the same there, and do not ask")
        queries = queries.rows(others, *notes)
    here = set(gallery.items)
    kept = [row for row in range(len(queries)) if queries.items[row] in here]
    if len(kept) < len(queries):
        queries = queries.rows(kept, f"{len(queries) - len(kept)} captions describe nothing in {gallery.origin} and are dropped")
    if not kept:
        raise InputError(f"{queries.origin}: no caption describes what {gallery.origin} does; their ids must be the same")
    return (queries if per_query is None else queries.first(per_query)), gallery


def _check(rows: list[formats.Row], where: str) -> None:
    """InputError for what neither a tokenizer nor HDF5 takes as text."""
    for row in rows:
        for what, text in (("a caption", row.text), ("the id", row.item), ("the name of a caption", row.name)):
            if not plain(text):
                said = f"{what} holds a zero byte or half a character ({printable(text)[:60]!r})"
                raise InputError(f"{where}, {printable(row.item)}: {said}; mend it")


def _of_split(rows: list[formats.Row], split: str | None, where: str) -> list[formats.Row]:
    named = Counter(row.split for row in rows if row.split)
    if split is None:
        if len(named) > 1:
            raise UsageError(f"{where}: has the splits {printable(', '.join(named))}; say which with --split")
        return rows
    if split not in named:
        known = f"it has {printable(', '.join(named))}" if named else "it names no splits; use --split-list FILE"
        raise UsageError(f"{where}: no split {printable(split)!r}; {known}")
    return [row for row in rows if row.split == split]


def _listed(rows: list[formats.Row], path: Path, where: str) -> tuple[list[formats.Row], list[str]]:
    wanted = read_list(path)
    by_item: dict[str, list[formats.Row]] = {}
    for row in rows:
        by_item.setdefault(row.item, []).append(row)
    names = [name if name in by_item else stem(name) for name in wanted]
    missing = [name for name in names if name not in by_item]
    if len(missing) == len(names):
        raise InputError(f"{printable(path)}: none of its {len(names)} ids is in {where} (first {printable(names[0])!r})")
    found = [row for name in dict.fromkeys(names) for row in by_item.get(name, ())]
    some = [f"{len(missing)} of its {len(names)} ids have no caption in {where} (first {name!r})" for name in missing[:1]]
    return found, [f"{printable(path)}: {printable(each)}" for each in some]


def _joined(rows: list[formats.Row]) -> list[formats.Row]:
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(row.item, []).append(row.text)
    return [formats.Row(item, " ".join(found), item) for item, found in texts.items()]


def _ids(rows: list[formats.Row]) -> tuple[str, ...]:
    """The file's own names where they are unique, else ITEM#0, ITEM#1, … as Flickr8k counts."""
    named = [row.name for row in rows]
    if all(named) and len(set(named)) == len(named):
        return tuple(named)
    seen: Counter[str] = Counter()
    found = []
    for row in rows:
        found.append(f"{row.item}#{seen[row.item]}")
        seen[row.item] += 1
    return tuple(found)

"""Which published benchmark a problem is: counts and ids against `datasets_meta/*.toml` (schema: docs/datasets.md).

Everywhere here queries are the texts and items are the videos, images or sounds, whatever the direction.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from nclbench.errors import InputError, MissingError, UsageError, nearest
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.problem import Problem

T = TypeVar("T")
CERTAINTIES = ("counted", "read", "unverified")
PROTOCOLS = ("one query an item", "every caption a query", "paragraph")
THINGS = {"text-video": "videos", "text-image": "images", "text-audio": "sounds"}
# What ids say about a split, the best first.
_VERDICTS = {
    "verified": "ids verified",
    "plausible": "ids of the right form (their list is not known here, so not verified)",
    "different": "ids of the right form, but not the known list: another version or selection?",
    "foreign": "ids not verified (they are generated or of another form)",
}


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

    def __post_init__(self) -> None:
        _one_of(self.modality, THINGS, "modality")
        _one_of(self.protocol, PROTOCOLS, "protocol")
        labels = [split.label for split in self.splits]
        if not labels or len(set(labels)) < len(labels):
            raise ValueError(f"splits must have different names or variants (found: {labels})")
        try:
            re.compile(self.id_pattern)
        except re.error as error:
            raise ValueError(f"id_pattern {self.id_pattern!r} is not a regex ({error})") from None

    @property
    def things(self) -> str:
        return THINGS[self.modality]

    def label(self, split: Split) -> str:
        return self.name if split is self.splits[0] else f"{self.name} ({split.label})"


def names() -> list[str]:
    """All benchmarks, sorted."""
    return sorted(_benchmarks())


def get(name: str) -> Benchmark:
    """The benchmark of a name or alias; UsageError with the nearest match otherwise."""
    known = {alias: found for found in _benchmarks().values() for alias in (found.name, *found.aliases)}
    wanted = name.strip().lower()
    if wanted not in known:
        raise UsageError(f"unknown dataset {name!r}{nearest(wanted, known)}")
    return known[wanted]


def matching(queries: int, items: int, ids: Sequence[str]) -> list[str]:
    """Benchmarks (and splits) with these counts, best first; only those whose ids are verified, if there are any.

    queries: texts. items: videos, images or sounds. ids: of the items; empty where unknown.
    """
    found = [
        (list(_VERDICTS).index(_verdict(benchmark, split, ids)), place, benchmark.name, benchmark.label(split))
        for benchmark in _benchmarks().values()
        for place, split in enumerate(benchmark.splits)
        if split.counts == (queries, items)
    ]
    verified = [entry for entry in found if entry[0] == 0]
    return [label for *_, label in sorted(verified or found)]


def check(problem: "Problem", name: str) -> list[str]:
    """Notes on how the problem agrees with a benchmark; InputError where it cannot be it.

    It cannot be where no variant has its counts, or where its item ids are the verified list of another benchmark.
    """
    benchmark = get(name)
    texts, things = problem.queries, problem.items
    if problem.direction == "v2t":
        texts, things = things, texts
    counts = len(texts), len(things)
    where = printable(things.origin or texts.origin or problem.dataset)
    others = [label for label in matching(*counts, things.ids) if label.split(" ")[0] != benchmark.name]
    fits = [split for split in benchmark.splits if split.counts == counts]
    if not fits:
        main = benchmark.splits[0].name
        known = [f"{_size(*s.counts)} ({s.label})" for s in benchmark.splits if s.counts and s.name == main]
        hint = f"these counts fit {' or '.join(others)}" if others else f"see `nclbench datasets show {benchmark.name}`"
        raise InputError(
            f"{where}: {_size(*counts)} (captions x {benchmark.things}), but {benchmark.name} has "
            f"{' or '.join(known)}; {hint}, or leave --dataset out"
        )
    verdicts = {split.label: _verdict(benchmark, split, things.ids) for split in fits}
    order = list(_VERDICTS)
    fits.sort(key=lambda split: (order.index(verdicts[split.label]), split.name != problem.split))
    split = fits[0]
    verdict = verdicts[split.label]
    if verdict != "verified" and (owner := _owner(things.ids)):
        raise InputError(
            f"{where}: the ids of its {benchmark.things} are the list of {owner}, not of {benchmark.label(split)}; "
            f"use --dataset {owner.split(' ')[0]}, or leave --dataset out"
        )
    return _notes(benchmark, split, verdict, [fit for fit in fits[1:] if verdict != "verified"])


def listing() -> list[dict[str, object]]:
    """Rows for `nclbench list datasets`."""
    return [
        {
            "name": found.name,
            "params": {split.label: _size(*split.counts) for split in found.splits if split.counts},
            "source": found.citation.text,
            "needs": f"embeddings of your own; licence: {found.licence.says}",
            "summary": f"{found.title}; {found.protocol}",
        }
        for found in map(get, names())
    ]


def ids_sha256(ids: Iterable[str]) -> str:
    """The hex digest over the sorted ids, joined by newlines."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def own_ids(benchmark: Benchmark, ids: Sequence[str]) -> list[str] | None:
    """Ids as the benchmark writes them, without folder and file ending; None if generated or of another form."""
    if not ids or (ids[0].endswith("/000000") and ids[-1].endswith(f"/{len(ids) - 1:06d}")):
        return None
    pattern, found = re.compile(benchmark.id_pattern), []
    for text in ids:
        base = text.rsplit("/", 1)[-1]
        match = pattern.fullmatch(base) or pattern.fullmatch(base.rpartition(".")[0])
        if match is None:
            return None
        found.append(match[match.lastindex or 0])
    return found


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


def _notes(benchmark: Benchmark, split: Split, verdict: str, rivals: Sequence[Split]) -> list[str]:
    assert split.counts is not None and split.queries is not None
    size = f"{_size(*split.counts)} (captions x {benchmark.things})"
    notes = [f"{benchmark.label(split)}: {size} as published; {_VERDICTS[verdict]}"]
    if split is not (usual := benchmark.splits[0]):
        notes.append(f"{benchmark.name}: this is {split.label!r}, not {usual.label!r}. {split.note}".strip())
    if rivals:
        same = " and ".join(repr(rival.label) for rival in rivals)
        notes.append(f"{benchmark.name}: {same} has the same counts, so the split is not certain")
    if "unverified" in (split.items.certainty, split.queries.certainty):
        notes.append(f"{benchmark.name}: the published counts themselves are not verified ({split.queries.source})")
    return notes + [f"{benchmark.name}: {pitfall.says}" for pitfall in benchmark.pitfalls if pitfall.warn]


def _verdict(benchmark: Benchmark, split: Split, ids: Sequence[str]) -> str:
    own = own_ids(benchmark, ids)
    if own is None:
        return "foreign"
    if not split.ids_sha256:
        return "plausible"
    return "verified" if ids_sha256(own) == split.ids_sha256 else "different"


def _owner(ids: Sequence[str]) -> str | None:
    """The benchmark whose list of items this is, if it is a known one."""
    for benchmark in _benchmarks().values():
        for split in benchmark.splits:
            if split.items.value == len(ids) and _verdict(benchmark, split, ids) == "verified":
                return benchmark.label(split)
    return None


def _size(queries: int, items: int) -> str:
    return f"{queries:,} x {items:,}"


@cache
def _benchmarks() -> dict[str, Benchmark]:
    here = Path(__file__).resolve()
    folders = [parent / "datasets_meta" for parent in here.parents[1:3]]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise MissingError(f"{folders[0]}: no such folder; the installation is incomplete, install nclbench again")
    found = {path.stem: read(path) for path in sorted(folder.glob("*.toml"))}
    taken: set[str] = set()
    for benchmark in found.values():
        for name in (benchmark.name, *benchmark.aliases):
            if name in taken:
                raise InputError(f"{folder / benchmark.name}.toml: the name {name!r} is taken by another file")
            taken.add(name)
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
    kind = kinds[0] if kinds else hint
    if is_dataclass(kind):
        return _build(kind, value, where)  # type: ignore[arg-type]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise InputError(f"{where}: found {value!r}, expected {kind.__name__}")
    return value

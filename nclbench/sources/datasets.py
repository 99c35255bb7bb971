"""Which published benchmark a problem is: counts and ids against `datasets_meta/*.toml` (schema: docs/datasets.md).

Everywhere here queries are the texts and items are the videos, images or sounds, whatever the direction.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nclbench.errors import InputError, MissingError, UsageError, nearest
from nclbench.files import printable
from nclbench.sources.benchmark import Benchmark, Split, read

if TYPE_CHECKING:
    from nclbench.problem import Problem

# What ids say about a split, the best first.
_VERDICTS = {
    "verified": "ids verified",
    "plausible": "ids of the right form (their list is not known here, so not verified)",
    "different": "ids of the right form, but not the known list: another version or selection?",
    "foreign": "ids not verified (they are generated or of another form)",
}


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


def verified(queries: int, items: int, ids: Sequence[str]) -> str | None:
    """The benchmark whose counts and very ids these are; None unless there is exactly one."""
    found = {
        benchmark.name
        for benchmark in _benchmarks().values()
        for split in benchmark.splits
        if split.counts == (queries, items) and _verdict(benchmark, split, ids) == "verified"
    }
    return found.pop() if len(found) == 1 else None


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


def folder() -> Path:
    """Where the files of the benchmarks are; MissingError if the installation lacks them."""
    folders = [parent / "datasets_meta" for parent in Path(__file__).resolve().parents[1:3]]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise MissingError(f"{folders[0]}: no such folder; the installation is incomplete, install nclbench again")
    return found


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
    found = {path.stem: read(path) for path in sorted(folder().glob("*.toml"))}
    taken: set[str] = set()
    for benchmark in found.values():
        for name in (benchmark.name, *benchmark.aliases):
            if name in taken:
                raise InputError(f"{folder() / benchmark.name}.toml: the name {name!r} is taken by another file")
            taken.add(name)
    return found

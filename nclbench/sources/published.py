"""Reported rows of the benchmarks that results are of, and in what their protocols differ; the BibTeX behind them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.reported import Placed, Reported
from nclbench.results import Run
from nclbench.sources import datasets
from nclbench.sources.benchmark import Benchmark

REFERENCES = "references.bib"
_NORMS = {
    "DSL": "DSL at test time, over all test queries together (transductive)",
    "SK": "Sinkhorn at test time, over all test queries together (transductive)",
    "IS": "inverted softmax at test time, over queries that are not stated",
    "QB-Norm": "QB-Norm at test time, with a bank of queries",
    "unknown": "test-time normalisation not stated",
}


def placed(runs: Sequence[Run]) -> list[Placed]:
    """Every reported row in the directions of the runs, in the order of the runs' datasets.

    UsageError where a dataset is none of the known benchmarks, or none of them has a reported row.
    """
    found = []
    for name in dict.fromkeys(run.dataset for run in runs):
        try:
            benchmark = datasets.get(name)
        except UsageError as error:
            raise UsageError(f"--with-published: {printable(error)}; evaluate with --dataset NAME") from None
        own = [run for run in runs if run.dataset == name]
        for row in benchmark.published:
            if mine := _counterparts(row, own):
                found.append(Placed(row, name, mine[0].selector, tuple(_differs(row, benchmark, mine))))
    if not found:
        names = ", ".join(dict.fromkeys(run.dataset for run in runs))
        raise UsageError(f"--with-published: no reported row of {printable(names)} in these directions")
    return found


def bibtex(keys: Iterable[str]) -> str:
    """The entries of these keys, sorted, each followed by an empty line."""
    entries = references()
    return "\n".join(entries[key] for key in sorted(set(keys)))


@cache
def references() -> dict[str, str]:
    """The BibTeX of every key that reported rows cite."""
    path = datasets.folder() / REFERENCES
    found: dict[str, str] = {}
    for entry in path.read_text(encoding="utf-8").split("\n@"):
        text = f"@{entry.strip().removeprefix('@')}\n"
        key = text.partition("{")[2].partition(",")[0].strip()
        if not key or key in found:
            raise InputError(f"{path}: an entry without a key, or the key {key!r} twice")
        found[key] = text
    return found


def _counterparts(row: Reported, runs: Sequence[Run]) -> list[Run]:
    """The runs of its direction; of v2t those of one protocol, the same one if there is any."""
    own = [run for run in runs if run.direction == row.direction]
    alike = [run for run in own if run.protocol == row.v2t_protocol] or [run for run in own if run.protocol == "captions"]
    return (alike or own) if row.direction == "v2t" else own


def _differs(row: Reported, benchmark: Benchmark, runs: Sequence[Run]) -> Iterator[str]:
    if row.test_norm != "none":
        yield _NORMS[row.test_norm]
    split = next((split for split in benchmark.splits if split.label == row.split), None)
    splits = list(dict.fromkeys(run.split for run in runs))
    sizes = {value.n for run in runs for value in run.metrics.values() if value.n}
    if split is None:
        yield "the source does not say which split or list of items"
    elif splits != [split.name]:
        yield f"split {split.label}, not {' and '.join(map(printable, splits))}"
    elif split.counts and sizes - {expected := split.counts[row.direction == "v2t"]}:
        yield f"{expected:,} queries in {row.direction} ({split.label}), not {' and '.join(f'{n:,}' for n in sorted(sizes))}"
    galleries = {term.removesuffix(" items") for run in runs for term in run.terms if term.endswith(" items")}
    if row.direction == "t2v" and split and split.counts and split.name in splits and galleries - {str(split.counts[1])}:
        yield f"gallery of {split.counts[1]:,} items ({split.label}), not {' and '.join(sorted(map(printable, galleries)))}"
    if row.direction == "v2t" and benchmark.protocol == "every caption a query":
        protocols = list(dict.fromkeys(run.protocol for run in runs))
        if row.v2t_protocol == "unknown":
            yield "v2t protocol not stated"
        elif protocols != [row.v2t_protocol]:
            yield f"v2t among {row.v2t_protocol}, not among {' and '.join(map(printable, protocols))}"

"""Which run is set against which: the same operator of another file or model, or another operator of the same model."""

from collections.abc import Sequence
from pathlib import Path

from nclbench.comparison import Pair, Saved
from nclbench.errors import UsageError, nearest
from nclbench.files import printable
from nclbench.results import Run

Entry = tuple[Saved, Run]


def pairs(parts: Sequence[Saved], baseline: str | None = None) -> tuple[list[Pair], list[str]]:
    """The pairs in the order of the runs, and notes on runs that have no counterpart.

    baseline: the name of one of `parts`, a spec, or a model. None is the first of several parts, or in a single one
    each model's first run. Against a part or model, a run is compared with that one's run of the same spec and
    protocol, or with its only run there. UsageError where nothing is left to compare.
    """
    entries = [(part, run) for part in parts for run in part.results.runs]
    if baseline is None and len(parts) > 1:
        reference = [entry for entry in entries if entry[0] is parts[0]]
    elif baseline is not None and any(_is(part, baseline) for part in parts):
        reference = [entry for entry in entries if _is(entry[0], baseline)]
    elif baseline is not None and baseline in {run.model for _, run in entries}:
        reference = [entry for entry in entries if entry[1].model == baseline]
    else:
        return _against_spec(entries, baseline)
    taken = {(id(part), id(run)) for part, run in reference}
    found: list[Pair] = []
    notes: list[str] = []
    for entry in entries:
        if (id(entry[0]), id(entry[1])) not in taken:
            _add(_counterpart(reference, entry[1]), entry, found, notes)
    return _checked(found, notes)


def alike(found: Sequence[Pair], notes: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """The pairs of one dataset, tie rule and size, and notes on the others: where rows of queries are not looked at, nothing
    else keeps figures that are not comparable from being subtracted. UsageError where none is left.
    """
    kept, said = [], [*notes]
    for pair in found:
        (_, reference), (saved, run) = pair.reference, pair.other
        differ = set(_terms(reference)) ^ set(_terms(run))
        if differ:
            words = " and ".join(", ".join(each for each in _terms(one) if each in differ) for one in (reference, run))
            said.append(f"{run.selector} {run.operator.spec} of {saved.name}: no difference, the rows are of {words}")
        else:
            kept.append(pair)
    return _checked(kept, said)


def _terms(run: Run) -> tuple[str, ...]:
    return (f"dataset {run.dataset}", f"split {run.split}", *run.terms)


def _is(part: Saved, name: str) -> bool:
    return part.name == name or (Path(name).is_file() and Path(part.name).is_file() and Path(part.name).samefile(name))


def _against_spec(entries: Sequence[Entry], spec: str | None) -> tuple[list[Pair], list[str]]:
    """Within each model of each part: every run against the one with this spec, or against the first."""
    known = {run.operator.spec for _, run in entries}
    if spec is not None and spec not in known:
        models = {run.model for _, run in entries}
        raise UsageError(
            f"--baseline {printable(spec)!r} is none of these results, models and specs"
            f"{nearest(printable(spec), map(printable, known | models))}"
        )
    found: list[Pair] = []
    notes: list[str] = []
    first: dict[tuple[object, ...], Entry] = {}
    for part, run in entries:
        if spec is None or run.operator.spec == spec:
            first.setdefault((id(part), run.dataset, run.split, run.model, run.selector), (part, run))
    for part, run in entries:
        reference = first.get((id(part), run.dataset, run.split, run.model, run.selector))
        if reference is None or reference[1] is not run:
            _add(reference, (part, run), found, notes)
    return _checked(found, notes)


def _counterpart(reference: Sequence[Entry], run: Run) -> Entry | None:
    """The same spec of the reference, of the same dataset and model where it has several."""
    found = [entry for entry in reference if entry[1].selector == run.selector]
    found = [entry for entry in found if (entry[1].dataset, entry[1].split) == (run.dataset, run.split)] or found
    found = [entry for entry in found if entry[1].operator.spec == run.operator.spec] or found
    found = [entry for entry in found if entry[1].model == run.model] or found
    if len(found) > 1 and found[0][1].operator.spec == run.operator.spec:
        models = ", ".join(dict.fromkeys(printable(entry[1].model) for entry in found))
        raise UsageError(f"the baseline has several models ({models}) and none is {printable(run.model)!r}; name one: --baseline")
    return found[0] if len(found) == 1 else None


def _add(reference: Entry | None, other: Entry, found: list[Pair], notes: list[str]) -> None:
    """The pair, or a note on why there is none."""
    run = other[1]
    where = f"{run.selector} {run.operator.spec} of {other[0].name}"
    if reference is None:
        notes.append(f"{where}: nothing to compare it with; --baseline none compares it with the raw row of its own file")
        return
    for _, each in (other, reference):
        if each.operator.unavailable is not None or not each.metrics:
            reason = each.operator.unavailable or "it has no metrics"
            notes.append(f"{where}: left out, {each.operator.spec} has no figures ({reason})")
            return
    found.append(Pair(reference, other))


def _checked(found: list[Pair], notes: list[str]) -> tuple[list[Pair], list[str]]:
    if not found:
        why = f" ({printable(notes[0])})" if notes else ""
        raise UsageError(f"nothing to compare{why}; give two results files, or one with several operators")
    return found, notes

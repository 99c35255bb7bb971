"""Every check, each with its reason."""

from collections.abc import Iterator, Sequence

import numpy as np

from nclbench.comparison import Compared, Difference, Pair, Saved
from nclbench.comparison.compare import compare_pairs
from nclbench.comparison.matching import rows, same_terms
from nclbench.comparison.pairing import pairs
from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import printable
from nclbench.gate import Check, Status, Verdict
from nclbench.gate.rules import Rule, check_known, figure
from nclbench.results import Columns, Run, Value

_WORST = 3
# differences of two rounded sums
_SAME = 1e-9


def judge(
    results: Saved,
    baseline: Saved | None = None,
    *,
    thresholds: Sequence[Rule] = (),
    limits: Sequence[Rule] = (),
    significant_only: bool = False,
    golden: Sequence[str] = (),
    top: int = 5,
    on_missing: str = "fail",
    specs: Sequence[str] = (),
    seed: int = 0,
) -> Verdict:
    """specs: of the runs that are looked at, all if empty. golden: ids or captions of queries, ranked t2v.

    on_missing: what a run, query or golden query that is not there any more does: fail, warn or ignore. Raises
    UsageError for rules about nothing, InputError where rows are needed and are not there.
    """
    runs = _chosen(results, specs)
    check_known([*thresholds, *limits], runs)
    if limits and baseline is None:
        raise UsageError("--max-regression needs --baseline")
    checks = [check for rule in thresholds for check in _thresholds(rule, runs)]
    notes: list[str] = []
    if baseline is not None:
        found, said = _pairs(baseline, results, specs)
        notes += said
        missing: Status | None = None if on_missing == "ignore" else "fail" if on_missing == "fail" else "warn"
        checks += _runs(baseline, found, specs, missing)
        checks += [check for pair in found for check in _queries(pair, missing)]
        checks += _regressions(found, baseline, limits, significant_only, seed)
    else:
        missing = "fail" if on_missing == "fail" else "warn"
    if golden:
        checks += _golden(results, runs, baseline, golden, top, "warn" if missing is None else missing)
    if not checks:
        raise UsageError("nothing to check: give --threshold, --golden, or --baseline with --max-regression")
    return Verdict(tuple(checks), tuple(notes))


def _chosen(saved: Saved, specs: Sequence[str]) -> list[Run]:
    known = dict.fromkeys(run.operator.spec for run in saved.results.runs)
    for spec in specs:
        if spec not in known:
            hint = nearest(printable(spec), map(printable, known))
            raise UsageError(f"{printable(saved.name)}: no run of {printable(spec)}{hint}")
    return [run for run in saved.results.runs if not specs or run.operator.spec in specs]


def _pairs(baseline: Saved, results: Saved, specs: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """Runs of the same spec, and notes on those that the baseline lacks."""
    # a baseline of another operator is no baseline of this one
    found = [pair for pair in pairs([baseline, results])[0] if pair.reference[1].operator.spec == pair.other[1].operator.spec]
    there = {id(pair.other[1]) for pair in found}
    runs = [run for run in results.results.runs if run.metrics and (not specs or run.operator.spec in specs)]
    notes = [f"{run.selector} {run.operator.spec} of {run.model} is not in the baseline" for run in runs if id(run) not in there]
    return [pair for pair in found if pair.other[1] in runs], notes


def _thresholds(rule: Rule, runs: Sequence[Run]) -> Iterator[Check]:
    for run in runs:
        if not rule.concerns(run):
            continue
        found = figure(run, rule)
        name = f"{run.selector}.{rule.metric if found is None else found[0]}"
        if found is None:
            reason = run.operator.unavailable or "it was not measured"
            yield _check("threshold", name, run, "fail", f"{name} is not there ({reason}), --threshold {rule.text}")
            continue
        value = found[1].value
        status: Status = "ok" if rule.holds(value) else "fail"
        because = f"{name} is {value:.6g}, --threshold {rule.text}"
        yield _check("threshold", name, run, status, because, unit=found[1].unit, after=value, limit=rule.number)


def _runs(baseline: Saved, found: Sequence[Pair], specs: Sequence[str], missing: Status | None) -> Iterator[Check]:
    """Runs of the baseline that are not in the results any more."""
    there = {id(pair.reference[1]) for pair in found}
    for run in baseline.results.runs:
        if missing and id(run) not in there and run.metrics and (not specs or run.operator.spec in specs):
            because = f"{run.selector} {run.operator.spec} is in {baseline.name} and not in the results, --on-missing {missing}"
            yield _check("queries", f"{run.selector} run", run, missing, because)


def _queries(pair: Pair, missing: Status | None) -> Iterator[Check]:
    """Queries that came or went, where both results have rows."""
    (one, _), (other, after) = pair.reference, pair.other
    if missing is None or not (one.results.queries and other.results.queries):
        return
    old, new = (rows(*each)["id"].tolist() for each in (pair.reference, pair.other))
    known, present = set(old), set(new)
    lost, come = [name for name in old if name not in present], [name for name in new if name not in known]
    if lost or come:
        because = f"{len(lost)} queries of {one.name} are gone and {len(come)} are new, --on-missing {missing}"
        yield _check(
            "queries", f"{after.selector} queries", after, missing, because,
            before=float(len(old)), after=float(len(new)), queries=tuple([*lost, *come][:_WORST]),
        )  # fmt: skip


def _regressions(
    found: Sequence[Pair], baseline: Saved, limits: Sequence[Rule], significant_only: bool, seed: int
) -> Iterator[Check]:
    for pair in found if limits else ():
        same_terms(pair)
    tested = _tested(found, limits, seed) if significant_only else {}
    for rule in limits:
        for pair in found:
            if not rule.concerns(pair.other[1]):
                continue
            values = [figure(run, rule) for _, run in (pair.reference, pair.other)]
            if values[0] is None:
                continue
            name = f"{pair.other[1].selector}.{values[0][0]}"
            if values[0][1].unit == "fraction":
                raise UsageError(f"--max-regression {rule.text!r}: of {name} nobody can say which way is worse; use --threshold")
            if values[1] is None:
                because = f"{name} is in {baseline.name} and not in the results"
                yield _check("regression", name, pair.other[1], "fail", because, unit=values[0][1].unit)
                continue
            yield _regression(rule, pair, name, values[0][1], values[1][1], tested.get((id(pair.other[1]), values[0][0])))


def _regression(rule: Rule, pair: Pair, name: str, before: Value, after: Value, test: Difference | None) -> Check:
    old, new = (before.value, after.value) if test is None else (test.before, test.after)
    drop = (new - old) * (1 if before.unit == "rank" else -1)
    status: Status = "fail" if drop > rule.number + _SAME else "ok"
    because = f"{name} went from {old:.6g} to {new:.6g}, --max-regression {rule.text}"
    if test is not None and status == "fail":
        status = "fail" if test.significant else "warn"
        because += f"; {'a real difference' if test.significant else 'within the noise'} (p {test.adjusted:.2g} after Holm)"
    return _check(
        "regression", name, pair.other[1], status, because, unit=before.unit, before=old, after=new, limit=rule.number,
        low=None if test is None else test.low, high=None if test is None else test.high,
        queries=_worst(pair) if status != "ok" else (),
    )  # fmt: skip


def _tested(found: Sequence[Pair], limits: Sequence[Rule], seed: int) -> dict[tuple[int, str], Difference]:
    """The differences that have a limit, and no others, tested as one family."""
    wanted: dict[str, list[str]] = {}
    for pair in found:
        run = pair.other[1]
        for rule in limits:
            known = figure(run, rule) if rule.concerns(run) else None
            if known is not None and known[0] in run.metrics and known[0] not in wanted.setdefault(run.selector, []):
                wanted[run.selector].append(known[0])
    compared: tuple[Compared, ...] = ()
    if any(wanted.values()):
        compared = compare_pairs(found, metrics=wanted, intersect=True, seed=seed).compared
    return {(id(each.pair.other[1]), test.metric): test for each in compared for test in each.differences}


def _worst(pair: Pair) -> tuple[str, ...]:
    """The queries whose first relevant item fell the most ranks."""
    if not (pair.reference[0].results.queries and pair.other[0].results.queries):
        return ()
    before, after = rows(*pair.reference), rows(*pair.other)
    old = dict(zip(before["id"].tolist(), before["rank"].tolist(), strict=True))
    ranks = zip(after["id"].tolist(), after["rank"].tolist(), strict=True)
    fell = [(old[name] - rank, name) for name, rank in ranks if rank > old.get(name, np.inf)]
    return tuple(name for _, name in sorted(fell)[:_WORST])


def _golden(
    results: Saved, runs: Sequence[Run], baseline: Saved | None, golden: Sequence[str], top: int, missing: Status
) -> Iterator[Check]:
    """A check for each golden query and run that ranks it t2v."""
    mine = [run for run in runs if run.selector == "t2v" and run.metrics]
    if not mine:
        raise InputError(f"{results.name}: golden queries are ranked t2v, and no run is")
    for run in mine:
        ranks = _ranks(rows(results, run))
        old = _ranks_before(baseline, run)
        for name in golden:
            if name not in ranks:
                yield _check("golden", name, run, missing, f"golden query {name!r} is not among the queries")
                continue
            rank = ranks[name]
            status: Status = "ok" if rank <= top else "fail"
            because = f"golden query {name!r} is at rank {rank:g}, and must be in the top {top}"
            yield _check("golden", name, run, status, because, "rank", old.get(name), rank, float(top))


def _ranks(columns: Columns) -> dict[str, float]:
    """Ranks by id, and by caption where only one query has it."""
    names, ranks = columns["id"].tolist(), columns["rank"].tolist()
    captions = columns["caption"].tolist() if "caption" in columns else []
    found = {str(text): rank for text, rank in zip(captions, ranks, strict=False) if text and captions.count(text) == 1}
    found |= dict(zip(names, ranks, strict=True))
    return {name: rank for name, rank in found.items() if np.isfinite(rank)}


def _ranks_before(baseline: Saved | None, run: Run) -> dict[str, float]:
    same = [] if baseline is None or not baseline.results.queries else baseline.results.runs
    for each in same:
        if baseline and (each.selector, each.operator.spec, each.model) == (run.selector, run.operator.spec, run.model):
            return _ranks(rows(baseline, each))
    return {}


def _check(
    kind: str, name: str, run: Run, status: Status, because: str, unit: str = "", before: float | None = None,
    after: float | None = None, limit: float | None = None, low: float | None = None, high: float | None = None,
    queries: tuple[str, ...] = (),
) -> Check:  # fmt: skip
    return Check(kind, name, run.model, run.operator.spec, status, because, unit, before, after, limit, low, high, queries)

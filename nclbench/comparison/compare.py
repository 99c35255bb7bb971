"""All metrics of all pairs, each with its interval and test, and one correction over them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nclbench.comparison import LEVEL, RESAMPLES, Compared, Comparison, Difference, Matched, Pair, Saved
from nclbench.comparison.matching import match
from nclbench.comparison.paired import Array, Pairs, bootstrap, detectable, holm, interval, mcnemar, permutation
from nclbench.comparison.pairing import pairs
from nclbench.errors import UsageError, nearest
from nclbench.files import printable

METRICS = ("R@1", "R@5", "R@10", "MdR", "MnR")
_MEDIANS = ("MdR",)
# sums are made of these, so that values that differ by rounding alone are the same
_SAME = 1e-9


def compare(
    parts: Sequence[Saved],
    *,
    baseline: str | None = None,
    metrics: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    intersect: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Every run against its reference, see `pairing.pairs` and `matching.match` for which and over what.

    metrics: names as the runs have them, `METRICS` as far as they do if None; as a mapping, those of each selector such as
    `t2v`, and no others are tested. Raises UsageError and InputError.
    """
    found, notes = pairs(parts, baseline)
    return compare_pairs(found, notes, metrics=metrics, intersect=intersect, resamples=resamples, seed=seed)


def compare_pairs(
    found: Sequence[Pair],
    notes: Sequence[str] = (),
    *,
    metrics: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    intersect: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """The same of pairs that are chosen already; they are one family of tests."""
    if resamples < 100:
        raise UsageError(f"resamples is {resamples}; it must be at least 100")
    if isinstance(metrics, Mapping):
        found = [pair for pair in found if metrics.get(pair.other[1].selector)]
        selectors = dict.fromkeys(pair.other[1].selector for pair in found)
        names = {each: _names([pair for pair in found if pair.other[1].selector == each], metrics[each]) for each in selectors}
    else:
        names = dict.fromkeys((pair.other[1].selector for pair in found), _names(found, metrics))
    matched = [match(pair, names[pair.other[1].selector], intersect=intersect) for pair in found]
    notes = [*notes] + [
        f"{each.pair.other[1].selector} {each.pair.other[1].operator.spec} of {each.pair.other[0].name}: "
        f"{each.left_out} queries that only one of the results has were left out"
        for each in matched
        if each.left_out
    ]
    drawn = [differences(each, names[each.pair.other[1].selector], resamples, seed) for each in matched]
    adjusted = iter(holm([each.p for several in drawn for each in several]))
    compared = [
        Compared(pair, tuple(replace(each, adjusted=next(adjusted)) for each in several))
        for pair, several in zip(found, drawn, strict=True)
    ]
    return Comparison(tuple(compared), resamples, seed, tuple(dict.fromkeys(notes)), tuple(matched))


def differences(matched: Matched, names: Sequence[str], resamples: int, seed: int) -> list[Difference]:
    """Each metric over the shared queries; `adjusted` is `p` as long as nothing else is tested."""
    before, after = (np.stack([side[name] for name in names], 1) for side in (matched.before, matched.after))
    cluster = matched.cluster.get("item")
    median = np.array([name in _MEDIANS for name in names])
    units = [matched.pair.other[1].metrics[name].unit for name in names]
    pairs_ = Pairs.of(before, after, median, cluster)
    draws = bootstrap(pairs_, resamples, seed)
    found = []
    for k, (name, unit, difference) in enumerate(zip(names, units, pairs_.differences(), strict=True)):
        low, high = interval(draws[:, k], LEVEL)
        gain = (after[:, k] - before[:, k]) * (-1 if unit == "rank" else 1)
        won, lost = int((gain > _SAME).sum()), int((gain < -_SAME).sum())
        exact = _hits(before[:, k]) and _hits(after[:, k]) and not pairs_.clustered
        p = mcnemar(won, lost) if exact else permutation(pairs_, k, resamples, seed)
        statistic = np.median if median[k] else np.mean
        found.append(
            Difference(
                metric=name,
                unit=unit,
                before=float(statistic(before[:, k])),
                after=float(statistic(after[:, k])),
                difference=difference,
                low=low,
                high=high,
                p=p,
                adjusted=p,
                test="McNemar" if exact else "permutation",
                won=won,
                lost=lost,
                queries=len(gain),
                clusters=pairs_.clusters if pairs_.clustered else None,
                detectable=detectable(draws[:, k], LEVEL),
            )
        )
    return found


def _hits(values: Array) -> bool:
    """Whether every query is a hit or none; a tie at the edge of the first k is neither."""
    return bool(((values == 0) | (values == 100)).all())


def _names(found: Sequence[Pair], wanted: Sequence[str] | None) -> list[str]:
    """Metrics that every run has. A wanted one that some run lacks is a UsageError."""
    runs = [run for pair in found for _, run in (pair.reference, pair.other)]
    known = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
    if wanted is None:
        names = [name for name in METRICS if name in known] or known
    else:
        spelled = {name.lower(): name for name in known}
        for name in wanted:
            if name.lower() not in spelled:
                raise UsageError(f"the runs do not all have a metric {printable(name)!r}{nearest(name, map(printable, known))}")
        names = list(dict.fromkeys(spelled[name.lower()] for name in wanted))
    if not names:
        raise UsageError("the runs have no metric in common; evaluate them with the same --metric")
    if any(run.options.get("ties") == "clip4clip" for run in runs):
        raise UsageError("--ties clip4clip averages over ranks, not over queries: there is nothing to pair; evaluate otherwise")
    return names

"""Paired statistics against scipy, against every possible draw, and against simulated experiments."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nclbench.comparison.paired import Pairs, bootstrap, detectable, holm, interval, mcnemar, permutation

generated = settings(max_examples=100, deadline=None, derandomize=True, database=None)
FALSE, TRUE = np.array([False]), np.array([True])


def pairs(before: Any, after: Any, cluster: Any = None, median: bool = False) -> Pairs:
    columns = (np.asarray(each, dtype=float).reshape(len(before), -1) for each in (before, after))
    first, second = columns
    return Pairs.of(first, second, np.full(first.shape[1], median), None if cluster is None else np.asarray(cluster))


# --- tests of hypotheses ------------------------------------------------------------------------------------------


@generated
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_scipys_binomial_test(won: int, lost: int) -> None:
    theirs = stats.binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(theirs, rel=1e-9)
    assert mcnemar(won, lost) == mcnemar(lost, won)


def test_mcnemar_of_many_queries() -> None:
    assert mcnemar(15_500, 14_500) == pytest.approx(stats.binomtest(15_500, 30_000).pvalue, rel=1e-8)
    assert 0 <= mcnemar(30_000, 0) < 1e-300


@pytest.mark.parametrize("median", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_permutation_equals_every_permutation_there_is(seed: int, median: bool) -> None:
    draw = np.random.default_rng(seed)
    before, after = draw.choice([0.0, 1, 2, 5, 9], size=(2, 11))
    after[:4] += 1
    statistic = np.median if median else np.mean
    seen = abs(statistic(after) - statistic(before))
    every = [
        abs(statistic(np.where(flip, before, after)) - statistic(np.where(flip, after, before)))
        for flip in itertools.product([False, True], repeat=11)
    ]
    exact = np.mean(np.array(every) >= seen - 1e-12)
    found = permutation(pairs(before, after, median=median), 0, 40_000, seed)
    assert found == pytest.approx(exact, abs=4.5 * np.sqrt(0.25 / 40_000))


def test_permutation_is_scipys() -> None:
    draw = np.random.default_rng(3)
    before = 1 / draw.geometric(0.3, 150)
    after = np.where(draw.random(150) < 0.7, before, 1 / draw.geometric(0.4, 150))
    theirs = stats.permutation_test(
        (after, before), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", n_resamples=20_000,
        vectorized=True, rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    assert 0.01 < theirs < 0.6
    assert permutation(pairs(before, after), 0, 20_000, 0) == pytest.approx(theirs, abs=0.015)


@pytest.mark.parametrize("median", [False, True])
def test_clusters_are_swapped_whole(median: bool) -> None:
    draw = np.random.default_rng(5)
    cluster = np.repeat(np.arange(9), draw.integers(1, 5, 9))
    before, after = draw.choice([0.0, 1, 3, 8], size=(2, len(cluster)))
    statistic = np.median if median else np.mean
    seen = abs(statistic(after) - statistic(before))
    every = [
        abs(statistic(np.where(flip, before, after)) - statistic(np.where(flip, after, before)))
        for flip in (np.array(each)[cluster] for each in itertools.product([False, True], repeat=9))
    ]
    exact = np.mean(np.array(every) >= seen - 1e-12)
    shuffled = draw.permutation(len(cluster))
    found = permutation(pairs(before[shuffled], after[shuffled], cluster[shuffled], median), 0, 40_000, 0)
    assert found == pytest.approx(exact, abs=4.5 * np.sqrt(0.25 / 40_000))


def test_nothing_that_differs_is_no_evidence() -> None:
    same = np.random.default_rng(0).random(40)
    for median in (False, True):
        assert permutation(pairs(same, same, median=median), 0, 200, 0) == 1.0
        draws = bootstrap(pairs(same, same, median=median), 200, 0)
        assert interval(draws[:, 0]) == (0.0, 0.0)
        assert detectable(draws[:, 0]) is None


@generated
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_smallest_level_at_which_his_procedure_rejects(values: list[float]) -> None:
    adjusted = holm(values)
    for level in (0.01, 0.05, 0.3, 1 - 1e-12):
        rejected = set()
        for place, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[at] * (len(values) - place) > level:
                break
            rejected.add(at)
        assert {at for at, p in enumerate(adjusted) if p <= level} == rejected
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


# --- intervals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hits", "reciprocal ranks"])
def test_the_interval_is_scipys_paired_bootstrap(kind: str) -> None:
    draw = np.random.default_rng(1)
    if kind == "hits":
        before, after = 100.0 * (draw.random((2, 200)) < [[0.4], [0.5]])
    else:
        before, after = 1 / draw.geometric(0.2, size=(2, 200))
    theirs = stats.bootstrap(
        (before, after), lambda a, b, axis: (b - a).mean(axis), paired=True, n_resamples=20_000, batch=2000,
        method="percentile", rng=draw,
    ).confidence_interval  # fmt: skip
    error = (after - before).std() / np.sqrt(200)
    slack = max(0.1 * error, 0.5001 * (kind == "hits"))  # a query that is won or lost is half a point
    assert interval(bootstrap(pairs(before, after), 20_000, 0)[:, 0]) == pytest.approx(tuple(theirs), abs=slack)


def test_the_interval_of_a_difference_of_medians_is_scipys() -> None:
    draw = np.random.default_rng(2)
    before, after = draw.permutation(500)[:101].astype(float), draw.permutation(400)[:101].astype(float)
    theirs = stats.bootstrap(
        (before, after), lambda a, b, axis: np.median(b, axis) - np.median(a, axis), paired=True,
        n_resamples=20_000, batch=2000, method="percentile", rng=draw,
    ).confidence_interval  # fmt: skip
    assert interval(bootstrap(pairs(before, after, median=True), 20_000, 0)[:, 0]) == pytest.approx(tuple(theirs), abs=8)


@pytest.mark.parametrize("median", [False, True])
def test_clusters_are_drawn_whole(median: bool) -> None:
    draw = np.random.default_rng(6)
    cluster = np.repeat(np.arange(40), draw.integers(1, 9, 40))
    level = draw.normal(0, 10, 40)[cluster]
    before = draw.normal(0, 1, len(cluster))
    after = before + level
    statistic = np.median if median else np.mean
    groups = [np.flatnonzero(cluster == number) for number in range(40)]
    slow = []
    for _ in range(4000):
        rows = np.concatenate([groups[number] for number in draw.integers(40, size=40)])
        slow.append(statistic(after[rows]) - statistic(before[rows]))
    found = bootstrap(pairs(before, after, cluster, median), 4000, 0)[:, 0]
    assert found.std() == pytest.approx(np.std(slow), rel=0.12)
    assert np.mean(found) == pytest.approx(np.mean(slow), abs=0.2 * np.std(slow))


def test_the_order_of_queries_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    before, after = draw.choice([0.0, 50, 100], size=(2, 60, 2))
    cluster = draw.integers(15, size=60)
    order = draw.permutation(60)
    for median in (False, True):
        for owner in (None, cluster):
            one = pairs(before, after, owner, median)
            other = pairs(before[order], after[order], None if owner is None else 100 - owner[order], median)
            assert (bootstrap(one, 300, 4) == bootstrap(other, 300, 4)).all()
            assert permutation(one, 1, 300, 4) == permutation(other, 1, 300, 4)
            assert one.differences() == other.differences()
    assert (bootstrap(one, 300, 4) != bootstrap(one, 300, 5)).any()


def test_what_is_detectable_is_found_four_times_in_five() -> None:
    draw = np.random.default_rng(8)
    n, found, size = 400, 0, []
    for seed in range(300):
        noise = draw.normal(0, 10, n)
        size.append(detectable(bootstrap(pairs(np.zeros(n), noise), 400, seed)[:, 0]))
        found += stats.ttest_1samp(noise + size[-1], 0).pvalue < 0.05
    assert np.mean(size) == pytest.approx(2.8016 * 10 / np.sqrt(n), rel=0.03)
    assert 0.73 <= found / 300 <= 0.87


# --- simulated experiments ----------------------------------------------------------------------------------------


def reciprocal(draw: np.random.Generator, n: int, shared: Any = 0.0) -> Any:
    """(n, 2) reciprocal ranks of two equally good systems that agree on what is hard."""
    return 1 / np.ceil(np.exp(draw.normal(1, 1, (n, 1)) + draw.normal(0, 0.7, (n, 2)) + shared))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    draw = np.random.default_rng(20)
    covered = {"R@1": 0, "MRR": 0}
    many = reciprocal(draw, 2_000_000, [0.0, -0.3])
    means = {"R@1": np.diff((many == 1).mean(0))[0], "MRR": np.diff(many.mean(0))[0]}
    for seed in range(1000):
        values = reciprocal(draw, 300, [0.0, -0.3])
        both = np.stack([values == 1, values], 2).astype(float)
        draws = bootstrap(pairs(both[:, 0], both[:, 1]), 600, seed)
        for k, name in enumerate(covered):
            low, high = interval(draws[:, k])
            covered[name] += low <= means[name] <= high
    assert all(930 <= count <= 970 for count in covered.values()), covered


def clustered(draw: np.random.Generator, items: int = 60, captions: int = 5) -> tuple[Any, Any]:
    """Captions of one item are better or worse together under either of two equally good systems."""
    shared = np.repeat(draw.normal(0, 1, (items, 2)), captions, axis=0)
    return reciprocal(draw, items * captions, shared), np.repeat(np.arange(items), captions)


def test_clustered_intervals_cover_where_naive_ones_do_not() -> None:
    draw = np.random.default_rng(21)
    covered = {"clustered": 0, "naive": 0}
    for seed in range(1000):
        values, owner = clustered(draw)
        for name, cluster in (("clustered", owner), ("naive", None)):
            low, high = interval(bootstrap(pairs(values[:, 0], values[:, 1], cluster), 500, seed)[:, 0])
            covered[name] += low <= 0 <= high
    assert 930 <= covered["clustered"] <= 970, covered
    assert covered["naive"] < 800, covered


def test_the_permutation_test_is_wrong_as_often_as_it_says() -> None:
    draw = np.random.default_rng(22)
    wrong = 0
    for seed in range(5000):
        values = reciprocal(draw, 120)
        wrong += permutation(pairs(values[:, 0], values[:, 1]), 0, 499, seed) <= 0.05
    assert 0.04 <= wrong / 5000 <= 0.06, wrong


def test_tests_of_hits_are_at_most_as_often_wrong() -> None:
    draw = np.random.default_rng(23)
    hits = reciprocal(draw, 5000 * 150).reshape(5000, 150, 2) == 1
    won = (hits[:, :, 1] & ~hits[:, :, 0]).sum(1)
    lost = (hits[:, :, 0] & ~hits[:, :, 1]).sum(1)
    exact = np.mean([mcnemar(int(a), int(b)) <= 0.05 for a, b in zip(won, lost, strict=True)])
    permuted = np.mean(
        [permutation(pairs(each[:, 0], each[:, 1]), 0, 299, seed) <= 0.05 for seed, each in enumerate(hits[:1500])]
    )
    assert 0.01 <= exact <= 0.06
    assert permuted <= 0.06


def test_the_clustered_test_holds_its_level_where_the_naive_one_does_not() -> None:
    draw = np.random.default_rng(24)
    wrong = {"clustered": 0, "naive": 0}
    for seed in range(1500):
        values, owner = clustered(draw)
        for name, cluster in (("clustered", owner), ("naive", None)):
            wrong[name] += permutation(pairs(values[:, 0], values[:, 1], cluster), 0, 299, seed) <= 0.05
    assert 0.035 <= wrong["clustered"] / 1500 <= 0.065, wrong
    assert wrong["naive"] / 1500 > 0.2, wrong

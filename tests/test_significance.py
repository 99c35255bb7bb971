"""Intervals against scipy, every resample there is, and slow loops; the seed and nothing else counts."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nclbench import significance
from nclbench.significance import RESAMPLES, interval

SEEDS = 40
values_of_five = st.lists(st.sampled_from([0.0, 12.5, 50.0, 100.0]) | st.floats(0, 100), min_size=1, max_size=5)
generated = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def mean_interval(values, **options):
    """Ends averaged over seeds, to take the Monte-Carlo error out."""
    return np.mean([interval(values, seed=seed, **options) for seed in range(SEEDS)], axis=0)


def assert_is_quantile(every, found, share):
    """found cuts off `share` of the exact distribution, within four standard errors of RESAMPLES draws."""
    slack = 4.5 * np.sqrt(share * (1 - share) / RESAMPLES)
    edge = 1e-9 * (1 + abs(found))
    assert np.mean(every < found - edge) <= share + slack
    assert np.mean(every <= found + edge) >= share - slack


# --- every resample of five or fewer ----------------------------------------------------------------------------------


@generated
@given(values_of_five, st.booleans(), st.sampled_from([0.5, 0.8, 0.95]))
def test_intervals_of_few_values_equal_the_exact_bootstrap(values, median, level):
    every = naive.exact_resamples([[value] for value in values], median)
    low, high = interval(np.array(values), median=median, level=level)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert_is_quantile(every, low, (1 - level) / 2)
    assert_is_quantile(every, high, (1 + level) / 2)


@generated
@given(st.lists(st.lists(st.sampled_from([0.0, 30.0, 100.0]), min_size=1, max_size=6), min_size=1, max_size=5))
def test_clustered_intervals_of_few_clusters_equal_the_exact_bootstrap(groups):
    values = np.array([value for group in groups for value in group])
    cluster = np.array([7 * number for number, group in enumerate(groups) for _ in group])
    order = np.random.default_rng(0).permutation(len(values))
    low, high = interval(values[order], cluster=cluster[order])
    every = naive.exact_resamples(groups, median=False)
    assert_is_quantile(every, low, 0.025)
    assert_is_quantile(every, high, 0.975)


# --- scipy and slow loops ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("kind", ["hits", "ranks"])
def test_the_interval_of_a_mean_equals_scipy(kind, level):
    draw = np.random.default_rng(1)
    values = 100.0 * (draw.random(200) < 0.4) if kind == "hits" else draw.geometric(0.1, 200).astype(float)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, batch=2000, method="percentile", confidence_level=level, rng=draw
    ).confidence_interval
    error = values.std() / np.sqrt(len(values))
    assert mean_interval(values, level=level) == pytest.approx(theirs, abs=0.18 * error)
    for seed in range(5):
        assert interval(values, seed=seed, level=level) == pytest.approx(theirs, abs=0.3 * error)


@pytest.mark.parametrize("n", [30, 31])
def test_the_interval_of_a_median_equals_a_loop_and_scipy(n):
    values = np.random.default_rng(n).permutation(2 * n)[:n].astype(float)
    found = mean_interval(values, median=True)
    loop = naive.resamples(values[:, None], 20_000, np.random.default_rng(4), median=True)
    theirs = stats.bootstrap(
        (values,), np.median, n_resamples=20_000, batch=2000, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    ordered = np.sort(values)
    gap = np.diff(ordered).max()
    assert found == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=gap)
    assert found == pytest.approx(theirs, abs=gap)
    for level in (0.2, 0.5, 0.9):  # the whole distribution, not its ends only
        low, high = interval(values, median=True, level=level)
        assert_is_quantile(loop, low, (1 - level) / 2)
        assert_is_quantile(loop, high, (1 + level) / 2)


def test_the_interval_of_a_clustered_mean_equals_a_loop():
    draw = np.random.default_rng(2)
    sizes = draw.choice([1, 2, 5, 20], 60)
    level = draw.normal(0, 20, 60)
    groups = [50 + level[number] + draw.normal(0, 5, size) for number, size in enumerate(sizes)]
    values, cluster = np.concatenate(groups), np.repeat(np.arange(60), sizes)
    loop = naive.resamples(groups, 20_000, np.random.default_rng(3))
    error = loop.std()
    found = mean_interval(values, cluster=cluster)
    assert found == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.08 * error)
    alone = mean_interval(values)
    assert found[1] - found[0] > 1.5 * (alone[1] - alone[0])


def test_the_interval_of_a_clustered_median_equals_a_loop():
    draw = np.random.default_rng(2)
    groups = [np.full(20, float(rank)) for rank in draw.permutation(400)[:41]]
    values, cluster = np.concatenate(groups), np.repeat(np.arange(41), 20)
    loop = naive.resamples(groups, 4000, np.random.default_rng(3), median=True)
    gap = np.diff(np.unique(values)).max()
    found = mean_interval(values, cluster=cluster, median=True)
    assert found == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=gap)


def test_clusters_of_equal_values_are_as_wide_as_their_number():
    values = np.random.default_rng(0).normal(50, 10, 40)
    once = mean_interval(values)
    copied = mean_interval(np.repeat(values, 9), cluster=np.repeat(np.arange(40), 9))
    assert copied == pytest.approx(once, abs=0.1)
    assert np.diff(mean_interval(np.repeat(values, 9))) == pytest.approx(np.diff(once) / 3, rel=0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(11)
    covered = 0
    for seed in range(400):
        low, high = interval(100.0 * (draw.random(150) < 0.45), seed=seed)
        covered += low <= 45 <= high
    assert 0.91 <= covered / 400 <= 0.98


# --- the seed and nothing else ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"median": True}, {"cluster": np.arange(50) // 3}])
def test_the_same_seed_gives_the_same_interval(options):
    values = np.random.default_rng(0).random(50) * 100
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = interval(values, seed=3, **options)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    np.random.random(10)  # noqa: NPY002
    assert interval(values, seed=3, **options) == first
    assert interval(values, seed=4, **options) != first
    assert interval(values, **options) == interval(values, seed=0, **options)
    assert all(type(end) is float for end in first)


@generated
@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 4)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_of_queries_does_not_matter(pairs, shuffle):
    moved = shuffle.sample(pairs, len(pairs))
    (before, owner), (after, moved_owner) = (np.array(part).T for part in (pairs, moved))
    names = np.array([40, -3, 12, 0, 7])  # clusters are told apart, not ordered in a way that matters
    owner, moved_owner = names[owner.astype(int)], names[moved_owner.astype(int)]
    kept = before.tobytes(), owner.tobytes()
    assert interval(before) == interval(after)
    assert interval(before, median=True) == interval(after, median=True)
    assert interval(before, cluster=owner) == interval(after, cluster=moved_owner)
    assert (before.tobytes(), owner.tobytes()) == kept


def test_clusters_of_one_are_no_clusters():
    values = np.random.default_rng(0).random(30)
    assert interval(values, cluster=np.random.default_rng(1).permutation(30)) == interval(values)


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_equal_values_have_no_width(n):
    for options in ({}, {"median": True}, {"cluster": np.zeros(n, dtype=int)}, {"cluster": np.arange(n) // 2}):
        assert interval(np.full(n, 37.5), **options) == (37.5, 37.5)


def test_one_cluster_has_no_width():
    assert interval(np.array([0.0, 100, 100, 100]), cluster=np.zeros(4, dtype=int)) == (75.0, 75.0)


def test_wider_levels_contain_narrower_ones():
    values = np.random.default_rng(0).random(80)
    ends = [interval(values, level=level) for level in (0.5, 0.8, 0.95, 0.99)]
    lows, highs = zip(*ends, strict=True)
    assert list(lows) == sorted(lows, reverse=True) and list(highs) == sorted(highs)
    assert len(set(lows)) == len(set(highs)) == 4
    assert ends[2] == interval(values)


# --- quick ways to the same numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1] * 3000, [2000, *[1] * 500], [1] * 40 + [7] * 40])
def test_medians_of_resamples_are_those_of_the_repeated_values(sizes):
    draw = np.random.default_rng(len(sizes))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    ordered = np.sort(draw.geometric(0.001, len(owner)).astype(float))
    owner = draw.permutation(owner)
    times = np.stack([np.bincount(draw.integers(len(sizes), size=len(sizes)), minlength=len(sizes)) for _ in range(60)])
    times[0] = np.where(np.arange(len(sizes)) == owner[0], len(sizes), 0)  # the middle lies far outside the others'
    found = significance._medians(ordered, owner, times.astype(float), np.array(sizes, dtype=float))
    assert found.tolist() == [np.median(np.repeat(ordered, each[owner])) for each in times]


def test_resamples_are_the_same_kept_or_drawn_anew(monkeypatch):
    values, cluster = np.random.default_rng(0).random((90, 2)), np.arange(90) // 2
    monkeypatch.setattr(significance, "_CELLS", 1000)
    significance._kept.cache_clear()  # what other tests have kept is in other pieces
    kept = [significance.intervals(values, np.array([False, True]), cluster=cluster, seed=9) for _ in range(2)]
    significance._kept.cache_clear()
    monkeypatch.setattr(significance, "_KEPT", 0)
    anew = significance.intervals(values, np.array([False, True]), cluster=cluster, seed=9)
    assert (kept[0] == kept[1]).all() and (kept[0] == anew).all()

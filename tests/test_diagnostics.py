"""Measures of hubness against three packages' own figures, scipy, and their definitions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nclbench.diagnostics import of_counts
from nclbench.diagnostics.occurrence import antihubs, atkinson, gini, hubs, largest, robinhood, skewness

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "golden_A.npz"
QUERIES = 60


@pytest.fixture(scope="module")
def golden() -> Any:
    if not GOLDEN.exists():
        pytest.skip("the shared golden values are not here")
    with np.load(GOLDEN) as values:
        return {key: values[key] for key in values.files if "hubness/" in key or "skewness" in key}


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize(
    ("package", "names", "aversion"),
    [
        ("hub_toolbox", ("k_skewness_", "hood_index_", "gini_index_", "atkinson_index_", "antihub_occurrence_"), 0.75),
        ("skhubness_021", ("k_skewness", "robinhood", "gini", "atkinson", "antihub_occurrence"), 0.5),
        ("skhubness_main", ("k_skewness", "robinhood", "gini", "atkinson", "antihub_occurrence"), 0.5),
        # kiez counts 60 items where there are 40; its formulas are right on these counts
        ("kiez", ("k_skewness", "robinhood", "gini", "atkinson", "antihub_occurrence"), 0.5),
    ],
)
def test_measures_equal_the_packages(golden: Any, package: str, names: tuple[str, ...], aversion: float, k: int) -> None:
    place = f"{package}:A/hubness/k{k}/"
    counts = golden[place + ("k_occurrence_" if package == "hub_toolbox" else "k_occurrence")]
    assert counts.sum() == k * QUERIES
    ours = [skewness(counts), robinhood(counts), gini(counts), atkinson(counts, aversion), antihubs(counts)]
    np.testing.assert_allclose(ours, [float(golden[place + name]) for name in names], rtol=1e-9)
    theirs = {"hub_toolbox": "hub_occurrence_", "skhubness_021": "hub_occurrence"}.get(package)
    if theirs:  # scikit-hubness main swaps the sizes, kiez divides by its count of items
        assert hubs(counts, threshold=2 * k) == pytest.approx(float(golden[place + theirs]), rel=1e-9)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_skewness_equals_dbsns(golden: Any, k: int) -> None:
    counts = golden[f"hub_toolbox:A/hubness/k{k}/k_occurrence_"]
    assert skewness(counts) == pytest.approx(float(golden[f"dbsn:A/skewness/k{k}"]), rel=1e-9)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=40).filter(any))
@settings(deadline=None)
def test_measures_equal_their_definitions(values: list[int]) -> None:
    counts = np.array(values)
    if len(set(values)) > 1:
        assert skewness(counts) == pytest.approx(stats.skew(counts), rel=1e-9, abs=1e-12)
    pairs = np.abs(counts[:, None] - counts).sum() / (2 * len(counts) * counts.sum())
    assert gini(counts) == pytest.approx(pairs, abs=1e-12)
    assert atkinson(counts) == pytest.approx(1 - np.mean(np.sqrt(counts)) ** 2 / counts.mean(), abs=1e-12)
    assert hubs(counts) == pytest.approx(sum(v for v in values if v >= 2 * counts.mean()) / counts.sum())


def test_an_even_gallery_has_nothing_to_show() -> None:
    found = {name: each.function(np.full(7, 5)) for name, each in of_counts().items()}
    assert found.pop("largest") == 1
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-12)
    assert set(found) == {"skewness", "robinhood", "gini", "atkinson", "antihubs", "hubs"}


def test_one_item_that_takes_everything() -> None:
    counts = np.array([40, 0, 0, 0, 0])
    assert robinhood(counts) == antihubs(counts) == pytest.approx(0.8)
    assert largest(counts) == 5
    assert hubs(counts) == 1 and gini(counts) == pytest.approx(0.8) and atkinson(counts) == pytest.approx(0.8)


def test_nothing_shown_is_even_too() -> None:
    found = {name: each.function(np.zeros(7, dtype=int)) for name, each in of_counts().items()}
    assert found["antihubs"] == found["largest"] == 1
    assert {found[name] for name in ("skewness", "robinhood", "gini", "atkinson")} == {0.0}

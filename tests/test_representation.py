"""Probability masses, false positives and negatives, and chance levels, against their definitions in plain numpy."""

from dataclasses import replace
from typing import Any

import factories
import numpy as np
import pytest
from factories import KEPT, STREAMED
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import softmax

from nclbench import evaluate
from nclbench.diagnostics import of_masses
from nclbench.diagnostics.chance import chance, drawn
from nclbench.diagnostics.hard_negatives import bins, errors, first_places, wrong
from nclbench.diagnostics.representation import lorenz
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance
from nclbench.results import Results

SPECS = ["sinkhorn:tau=0.1", "csls:k=3", "nnn:k=3", "is:tau=0.2", "invgc", "dissim", "dsl:tau=0.1", "gc"]
DEFINED = {"none", "sinkhorn:tau=0.1", "csls:k=3", "nnn:k=3", "is:tau=0.2", "invgc", "dissim"}


def several() -> Problem:
    """30 queries, 20 items, two banks; some queries want several items, one wants none."""
    draw = np.random.default_rng(5)
    query = np.r_[np.arange(1, 30), 3, 3, 8]
    item = np.r_[draw.permutation(29) % 20, (draw.permutation(29) % 20)[:3]]
    pairs = sorted(set(zip(query.tolist(), item.tolist(), strict=True)))
    banks = {"query_bank": draw.normal(size=(25, 8)), "item_bank": draw.normal(size=(15, 8))}
    return factories.hubs(30, 20, 8, 4, relevance=Relevance.of(*np.array(pairs).T), **banks)


def unlabelled(scores: Any) -> Problem:
    return replace(factories.of_scores(scores, Relevance.of_items(np.zeros(len(scores)))), relevance=None)


def rows(results: Results, table: str, spec: str, direction: str) -> dict[str, Any]:
    columns = getattr(results, table)
    mine = (columns["spec"] == spec) & (columns["direction"] == direction)
    return {name: values[mine] for name, values in columns.items()}


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
@pytest.mark.parametrize("memory", [KEPT, STREAMED])
def test_masses_and_errors_equal_the_definition(memory: int, direction: str) -> None:
    problem = several()
    plan = Plan(memory=memory, tile=(7, 6))
    found = evaluate(problem, SPECS, hubness=True, tau=0.15, plan=plan)
    assert problem.relevance is not None
    raw = factories.defined(problem)
    wanted = np.zeros_like(raw)
    wanted[problem.relevance.query, problem.relevance.item] = 1
    if direction == "v2t":
        raw, wanted = raw.T, wanted.T
    wanted = np.divide(wanted, wanted.sum(1, keepdims=True), out=np.zeros_like(wanted), where=wanted.sum(1, keepdims=True) > 0)
    for spec in ["none", *SPECS]:
        items = rows(found, "items", spec, direction)
        run = next(run for run in found.runs if run.operator.spec == spec and run.direction == direction)
        if spec not in DEFINED:
            assert np.isnan(items["p"]).all() and not any(name.startswith("p.") for name in run.diagnostics)
            continue
        if spec == "invgc":
            continue  # its vectors are moved; its scores are compared below by the identity
        bias = np.nan_to_num(items["bias"])
        given_mass = softmax((raw + bias) / 0.15, axis=1)
        np.testing.assert_allclose(items["p"], given_mass.sum(0), rtol=1e-9)
        np.testing.assert_allclose(items["fp"], np.maximum(given_mass - wanted, 0).sum(0), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(items["fn"], np.maximum(wanted - given_mass, 0).sum(0), rtol=1e-7, atol=1e-9)
        share = len(raw) / raw.shape[1]
        assert run.diagnostics["p.mean_error"]["value"] == pytest.approx(np.abs(given_mass.sum(0) - share).mean())
        assert run.diagnostics["p.over"]["value"] == np.mean(given_mass.sum(0) > 2 * share)
        off = np.abs(given_mass.sum(0) - wanted.sum(0))
        assert run.diagnostics["p.wanted.mean_error"]["value"] == pytest.approx(off.mean())
        assert run.diagnostics["p.wanted.max_error"]["value"] == pytest.approx(off.max())
        assert run.diagnostics["p.wanted.std_error"]["value"] == pytest.approx(off.std())
    for spec in DEFINED:
        items = rows(found, "items", spec, direction)
        for ending in ("", "@1"):
            mass = items["p"] if not ending else items["occurrence@1"]
            # a query without a relevant item gives mass that nobody wants
            np.testing.assert_allclose(
                mass - items["wanted_mass"], items[f"fp{ending}"] - items[f"fn{ending}"], atol=1e-9
            )


def test_masses_of_the_bank_and_of_folds() -> None:
    problem = factories.hubs(40, 20, 8, 4, query_bank=np.random.default_rng(8).normal(size=(25, 8)))
    found = evaluate(problem, ["sinkhorn:tau=0.1,tol=1e-9"], hubness=True)
    run, raw = (
        next(r for r in found.runs if r.direction == "t2v" and r.operator.name == name) for name in ("sinkhorn", "none")
    )
    assert run.diagnostics["p.bank.mean_error"]["value"] < 1e-6 < raw.diagnostics["p.bank.mean_error"]["value"]
    assert run.diagnostics["p.mean_error"]["value"] > 1e-3
    assert problem.query_bank is not None
    bank = factories.defined(problem, "query_bank")
    items = rows(found, "items", run.operator.spec, "t2v")
    np.testing.assert_allclose(items["p_bank"], softmax((bank + items["bias"]) / 0.1, axis=1).sum(0), rtol=1e-9)

    folded = evaluate(factories.hubs(40, 20, 8, 4), ["is:tau=0.1"], hubness=True, folds=4)
    items = rows(folded, "items", "is:tau=0.1", "t2v")
    assert items["p"].sum() == pytest.approx(40) and "p_bank" not in items
    np.testing.assert_allclose(items["p"] - items["wanted_mass"], items["fp"] - items["fn"], atol=1e-9)


def test_without_labels_what_needs_none_is_there() -> None:
    unlabelled = replace(factories.hubs(40, 20, 8, 4), relevance=None)
    found = evaluate(unlabelled, ["csls:k=3"], hubness=True, tau=0.1)
    assert {"p", "occurrence@1", "occurrence@10"} <= set(found.items)
    assert not {"fp", "fn", "fp@1", "bad@1", "wanted_mass"} & set(found.items)
    assert not {"right", "beaten_by", "won"} & set(found.queries)
    assert not any(name.startswith("p.wanted") for run in found.runs for name in run.diagnostics)
    assert all("chance" in run.diagnostics["antihubs@10"] for run in found.runs)


def test_temperature_is_the_first_operators_and_otherwise_a_guess_that_is_told() -> None:
    problem = factories.hubs(40, 20, 8, 4)
    found = evaluate(problem, ["csls:k=3", "is:tau=0.3", "is:tau=0.2"], hubness=True)
    assert {run.diagnostics["p.over"]["tau"] for run in found.runs if run.protocol != "videos"} == {0.3}
    found = evaluate(problem, ["csls:k=3"], hubness=True)
    assert {run.diagnostics["p.over"]["tau"] for run in found.runs if run.protocol != "videos"} == {1 / 12}
    found = evaluate(replace(problem, logit_scale=None), ["csls:k=3"], hubness=True)
    assert {run.diagnostics["p.over"]["tau"] for run in found.runs if run.protocol != "videos"} == {0.01}
    assert any(text.startswith("probability masses: tau is not given") for text in found.warnings)


def test_the_gap_between_the_modalities() -> None:
    problem = factories.hubs(40, 20, 8, 4)
    assert problem.queries.vectors is not None and problem.items.vectors is not None
    found = evaluate(problem, ["csls:k=3"], hubness=True, tau=0.1)
    means = [
        (side / np.linalg.norm(side, axis=1, keepdims=True)).mean(0) for side in (problem.queries.vectors, problem.items.vectors)
    ]
    ours = {name: each["value"] for name, each in found.runs[0].diagnostics.items() if name.startswith("gap.")}
    sizes = [np.linalg.norm(means[0] - means[1]), *(np.linalg.norm(mean) for mean in means)]
    assert ours == pytest.approx(dict(zip(("gap.distance", "gap.queries", "gap.items"), sizes, strict=True)), rel=1e-6)
    assert not any(name.startswith("gap.") for name in evaluate(factories.as_scores(problem), hubness=True).runs[0].diagnostics)


# ------------------------------------------------------------------------------------------ who beats whom


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_false_positives_and_negatives_differ_by_what_is_off(n: int, m: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    relevant = draw.random((n, m)) < 0.4
    query, item = np.nonzero(relevant)
    share = np.divide(relevant, relevant.sum(1, keepdims=True), out=np.zeros((n, m)), where=relevant.any(1, keepdims=True))
    given_mass = softmax(3 * draw.normal(size=(n, m)), axis=1)
    found = errors(given_mass.sum(0), query, item, given_mass[query, item])
    np.testing.assert_allclose(found.positive, np.maximum(given_mass - share, 0).sum(0), atol=1e-12)
    np.testing.assert_allclose(found.negative, np.maximum(share - given_mass, 0).sum(0), atol=1e-12)
    first = given_mass.argmax(1)
    best = np.eye(m)[first]
    hard = first_places(first, query, item, m)
    np.testing.assert_allclose(hard.positive, np.maximum(best - share, 0).sum(0), atol=1e-12)
    np.testing.assert_allclose(hard.negative, np.maximum(share - best, 0).sum(0), atol=1e-12)
    k = draw.integers(1, m + 1)
    top = np.argsort(-given_mass, axis=1)[:, :k]
    bad = [sum(j in top[i] and not relevant[i, j] and relevant[i].any() for i in range(n)) for j in range(m)]
    assert wrong(top, query, item, m).tolist() == bad


def test_each_query_names_its_rival_and_what_gave_way() -> None:
    scores = np.array([[0.9, 0.1, 0.2, 0.0], [0.8, 0.7, 0.1, 0.0], [0.9, 0.8, 0.7, 0.0], [0.5, 0.1, 0.2, 0.9]])
    problem = factories.of_scores(scores)
    found = evaluate(problem, ["is:tau=0.1"], hubness=True, direction="t2v")
    names = list(problem.items.ids)
    raw = rows(found, "queries", "none", "t2v")
    assert raw["beaten_by"].tolist() == [None, names[0], names[0], None]
    assert raw["right"].tolist() == names
    assert raw["won"].tolist() == [0, 0, 0, 0]
    after = rows(found, "queries", "is:tau=0.1", "t2v")
    assert (after["won"] == raw["rank"] - after["rank"]).all() and after["won"].max() > 0
    for row in range(4):
        gone = after["gave_way"][row]
        still = raw["beaten_by"][row] in after["top"][row][: after["above"][row]]
        assert (gone is not None) == (after["won"][row] > 0 and not still)


def test_measures_of_masses() -> None:
    mass, target = np.array([0.0, 0.4, 1.0, 2.6]), np.ones(4)
    found = {name: each.function(mass, target) for name, each in of_masses().items()}
    pairs = np.abs(mass[:, None] - mass).sum() / (2 * 4 * mass.sum())
    assert found == pytest.approx(
        {
            "p.mean_error": 0.8,
            "p.max_error": 1.6,
            "p.std_error": np.std([1.0, 0.6, 0.0, 1.6]),
            "p.under": 0.5,
            "p.over": 0.25,
            "p.gini": pairs,
        }
    )
    share, held = lorenz(mass)
    np.testing.assert_allclose(share, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(held, [0, 0, 0.1, 0.35, 1])
    assert bins(mass, 1.0, (0.5, 1.0, 2.0)).tolist() == [0, 0, 2, 3]


# ------------------------------------------------------------------------------------------ chance


@pytest.mark.parametrize(("n", "m", "k"), [(300, 200, 1), (300, 200, 5), (300, 40, 10), (50, 400, 10), (64, 8, 8)])
def test_chance_is_that_of_a_binomial(n: int, m: int, k: int) -> None:
    usual = chance(n, m, k)
    assert usual["antihubs"][0] == pytest.approx((1 - k / m) ** n, abs=0.02)
    for counts in drawn(n, m, k, times=3):
        assert counts.sum() == n * k and counts.max() <= n
    for mean, low, high in usual.values():
        assert low <= mean <= high
    if k < m and n > 100 and m > 100:
        assert usual["skewness"][0] == pytest.approx(stats.binom(n, k / m).stats("s"), abs=0.06)
    if k == m:
        assert usual["gini"] == usual["hubs"] == (0, 0, 0) and usual["largest"] == (1, 1, 1)


def test_a_random_gallery_lies_within_chance() -> None:
    draw = np.random.default_rng(2)
    scores = draw.normal(size=(500, 300))
    found = evaluate(unlabelled(scores), hubness=True, tau=1.0)
    inside = [
        each["chance_low"] <= each["value"] <= each["chance_high"]
        for run in found.runs for name, each in run.diagnostics.items() if "chance" in each
    ]  # fmt: skip
    assert len(inside) == 42 and sum(inside) >= 35
    planted = scores.copy()
    planted[:, 7] += 2.5
    hub = evaluate(unlabelled(planted), hubness=True, tau=1.0, direction="t2v")
    skewness = hub.runs[0].diagnostics["skewness@10"]
    assert skewness["value"] > 3 * skewness["chance_high"]
    assert np.argmax(hub.items["occurrence@10"]) == np.argmax(hub.items["p"]) == 7

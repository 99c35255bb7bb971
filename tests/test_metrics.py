"""Metrics equal brute force over all tie orders, trec_eval, ir_measures and the published codes; nothing but order."""

import inspect
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import permutations
from typing import Any

import ir_measures
import naive
import numpy as np
import numpy.typing as npt
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from nclbench.errors import UsageError
from nclbench.evaluation import DEFAULT_METRICS, evaluate
from nclbench.metrics import TIES, Measured, _mean, measure, metrics, parse
from nclbench.metrics.blocks import Blocks
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.ranking.ranks import Request, rank
from nclbench.results import Results, Run
from nclbench.similarity.bases import Stored
from nclbench.similarity.view import View

Matrix = npt.NDArray[Any]
CUTS = (1, 2, 3, 5, 10)
MANY = tuple(f"{base}@{k}" for base in ("R", "recall", "nDCG") for k in CUTS) + naive.SINGLE
FIRST = ("R@1", "R@2", "R@3", "R@5", "R@10", "R@50", "Rsum", "MdR", "MnR", "MRR")
CLOSE = 1e-10  # of percents: 1e-12 of shares


def generated(cases: int) -> settings:
    return settings(max_examples=cases, deadline=None, derandomize=True, database=None)


def problem(S: Matrix, G: Matrix | Relevance) -> Problem:
    """Queries q0, q1, … and items v0, v1, … with these scores (Q, M), and gains (Q, M) or relevance."""
    query, item = (None, None) if isinstance(G, Relevance) else np.nonzero(G)
    relevance = G if isinstance(G, Relevance) else Relevance.of(query, item, G[query, item])
    sides = (tuple(f"{kind}{row}" for row in range(n)) for kind, n in zip("qv", S.shape, strict=True))
    return Problem(*map(Embeddings, sides), relevance, scores={("queries", "items"): np.asarray(S, dtype=float)})


def ranked(S: Matrix, G: Matrix, names: Sequence[str], ties: str = "expected") -> dict[str, Measured]:
    """From a score matrix through the real ranking."""
    relevance = problem(S, G).relevance
    (found,) = rank([Request(View(Stored(np.asarray(S, dtype=float), Plan(tile=(4, 3)))), relevance)])
    return measure(Blocks.of(found.query, found.above, found.tied, found.gain), [parse(name) for name in names], ties)


def only(results: Results, direction: str = "t2v", protocol: str | None = None) -> Run:
    runs = [run for run in results.runs if run.direction == direction and protocol in (None, run.protocol)]
    assert len(runs) == 1
    return runs[0]


def values(run: Run) -> dict[str, float]:
    return {name: value.value for name, value in run.metrics.items()}


def assert_equals_brute(found: Mapping[str, Any], S: Matrix, G: Matrix) -> None:
    """found: name -> Measured or Value; both carry value, optimistic and pessimistic."""
    for name, wanted in naive.brute(S, G, list(found)).items():
        each = found[name]
        averages = [naive.average(name, row) for row in wanted]
        assert (each.value, each.optimistic, each.pessimistic) == pytest.approx(averages, abs=CLOSE), name
        if isinstance(each, Measured):
            assert each.per_query == pytest.approx(wanted[0], abs=CLOSE), name


@st.composite
def tied(draw: st.DrawFn, grades: int = 3, items: int = 6, queries: int = 8) -> tuple[Matrix, Matrix]:
    """Scores (Q, M) of few levels, so with many ties, and gains (Q, M); some queries may have nothing relevant."""
    q, m = draw(st.integers(1, queries)), draw(st.integers(1, items))
    levels = draw(st.integers(0, 5))
    size = q * m
    scores = draw(st.lists(st.integers(0, levels), min_size=size, max_size=size))
    gains = draw(st.lists(st.sampled_from([0, 0, *range(1, grades + 1)]), min_size=size, max_size=size))
    gains[draw(st.integers(0, size - 1))] = 1
    return np.array(scores, dtype=float).reshape(q, m), np.array(gains, dtype=float).reshape(q, m)


@st.composite
def single(draw: st.DrawFn, items: int = 12, queries: int = 8) -> tuple[Matrix, Matrix]:
    """The same with exactly one relevant item a query."""
    S, _ = draw(tied(items=items, queries=queries))
    wanted = draw(st.lists(st.integers(0, S.shape[1] - 1), min_size=len(S), max_size=len(S)))
    return S, np.eye(S.shape[1])[wanted]


# --- brute force over every order of tied items -----------------------------------------------------------------------


@generated(1200)
@given(tied())
def test_expected_and_bounds_equal_all_tie_orders(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    assert_equals_brute(ranked(S, G, MANY), S, G)


@generated(400)
@given(tied(), st.sampled_from(["optimistic", "pessimistic"]))
def test_a_bound_as_tie_rule_is_that_bound(case: tuple[Matrix, Matrix], rule: str) -> None:
    S, G = case
    wanted = naive.brute(S, G, MANY)
    for name, found in ranked(S, G, MANY, rule).items():
        row = wanted[name][1 if rule == "optimistic" else 2]
        assert found.value == pytest.approx(naive.average(name, row), abs=CLOSE), name
        assert found.value == getattr(found, rule)
        assert found.per_query == pytest.approx(row, abs=CLOSE), name


@generated(250)
@given(tied())
def test_evaluate_equals_all_tie_orders_in_both_directions(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    S, G = S[:6], G[:6]
    if not G.any():
        G[0, 0] = 2
    results = evaluate(problem(S, G), metrics=MANY)
    assert_equals_brute(only(results).metrics, S, G)
    assert_equals_brute(only(results, "v2t", "captions").metrics, S.T, G.T)
    assert {value.n for value in only(results).metrics.values()} == {int(G.any(axis=1).sum())}


def test_large_blocks_equal_sampled_orders() -> None:
    """30 items, 5 levels, several graded relevant ones: 20,000 random orders, four standard errors."""
    draw = np.random.default_rng(5)
    S = draw.integers(0, 5, (6, 30)).astype(float)
    G = draw.choice([0.0, 0, 0, 1, 3], (6, 30))
    names = [f"{base}@{k}" for base in ("R", "recall", "nDCG") for k in (1, 3, 7, 20)] + ["MRR", "MnR", "mAP", "Rsum"]
    found = ranked(S, G, names)
    for row in range(6):
        shuffled = np.array([draw.permutation(30) for _ in range(20_000)])
        shown = shuffled[np.arange(20_000)[:, None], np.argsort(-S[row][shuffled], axis=1, kind="stable")]
        for name in names:
            each = naive.of_order(name, G[row][shown])
            slack = 4 * each.std() / np.sqrt(len(each)) + CLOSE
            assert abs(found[name].per_query[row] - each.mean()) <= slack, (name, row)


# --- other people's programs ------------------------------------------------------------------------------------------

TREC = {"R": "success", "recall": "recall", "nDCG": "ndcg_cut", "mAP": "map", "MRR": "recip_rank"}
TREC_NAMES = tuple(f"{base}@{k}" for base in ("R", "recall", "nDCG") for k in CUTS) + ("mAP", "MRR")
TREC_MEASURES = {f"{TREC[base]}.{','.join(map(str, CUTS))}" for base in ("R", "recall", "nDCG")} | {"map", "recip_rank"}


def trec(S: Matrix, G: Matrix, labels: Sequence[Sequence[int]]) -> dict[str, Matrix]:
    """name -> (Q', labellings), trec_eval's value of each query when item j is called by labels[l][j].

    Scores go in as small integers (trec_eval keeps float32); it breaks ties by name, descending.
    """
    levels = {score: place for place, score in enumerate(sorted(set(S.ravel().tolist())))}
    run, relevant = {}, {}
    for q in np.flatnonzero(G.any(axis=1)):
        for number, label in enumerate(labels):
            key = f"{q:04d}/{number:04d}"
            run[key] = {f"d{label[j]:03d}": float(levels[float(S[q, j])]) for j in range(S.shape[1])}
            relevant[key] = {f"d{label[j]:03d}": int(G[q, j]) for j in range(S.shape[1])}
    found = pytrec_eval.RelevanceEvaluator(relevant, TREC_MEASURES).evaluate(run)
    shape = (int(G.any(axis=1).sum()), len(labels))
    out = {}
    for name in TREC_NAMES:
        base, _, k = name.partition("@")
        field = f"{TREC[base]}_{k}" if k else TREC[base]
        out[name] = 100 * np.array([found[key][field] for key in sorted(found)]).reshape(shape)
    return out


@st.composite
def tie_free(draw: st.DrawFn) -> tuple[Matrix, Matrix]:
    _, G = draw(tied(items=14))
    return np.array([draw(st.permutations(range(G.shape[1]))) for _ in G], dtype=float), G


@generated(300)
@given(tie_free())
def test_without_ties_equals_trec_eval(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    wanted = trec(S, G, [range(S.shape[1])])
    for rule in TIES[:3]:
        for name, found in ranked(S, G, TREC_NAMES, rule).items():
            assert found.per_query == pytest.approx(wanted[name][:, 0], abs=CLOSE), (name, rule)
            assert found.value == pytest.approx(wanted[name].mean(), abs=CLOSE), (name, rule)
            assert found.value == pytest.approx(found.optimistic, abs=CLOSE) == pytest.approx(found.pessimistic)


@generated(120)
@given(tied(items=5, queries=4))
def test_under_ties_equals_the_mean_of_trec_eval_over_all_labellings(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    wanted = trec(S, G, list(permutations(range(S.shape[1]))))
    for name, found in ranked(S, G, TREC_NAMES).items():
        assert found.per_query == pytest.approx(wanted[name].mean(axis=1), abs=CLOSE), name
        assert found.optimistic == pytest.approx(wanted[name].max(axis=1).mean(), abs=CLOSE), name
        assert found.pessimistic == pytest.approx(wanted[name].min(axis=1).mean(), abs=CLOSE), name


@generated(25)
@given(tie_free())
def test_without_ties_equals_ir_measures(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    rows = np.flatnonzero(G.any(axis=1))
    relevant = {f"q{q}": {f"v{j}": int(g) for j, g in enumerate(G[q])} for q in rows}
    run = {f"q{q}": {f"v{j}": float(s) for j, s in enumerate(S[q])} for q in rows}
    theirs = (("R", "Success"), ("recall", "R"), ("nDCG", "nDCG"))
    measures = {f"{ours}@{k}": ir_measures.parse_measure(f"{name}@{k}") for ours, name in theirs for k in CUTS}
    measures |= {"mAP": ir_measures.AP, "MRR": ir_measures.RR}
    wanted = ir_measures.calc_aggregate(list(measures.values()), relevant, run)
    for name, found in ranked(S, G, list(measures)).items():
        assert found.value == pytest.approx(100 * wanted[measures[name]], abs=CLOSE), name


# --- the tie rules of published code ----------------------------------------------------------------------------------


@generated(300)
@given(single())
def test_midrank_and_clip4clip_equal_their_descriptions(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    for rule, plain in (("midrank", naive.midrank), ("clip4clip", naive.clip4clip)):
        for name, found in ranked(S, G, FIRST, rule).items():
            assert found.value == pytest.approx(plain(S, G, name), abs=CLOSE), (name, rule)


@generated(200)
@given(tied(grades=1, items=10))
def test_midrank_and_clip4clip_take_the_best_of_several_relevant(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    for rule, plain in (("midrank", naive.midrank), ("clip4clip", naive.clip4clip)):
        for name, found in ranked(S, G, FIRST, rule).items():
            assert found.value == pytest.approx(plain(S, G, name), abs=CLOSE), (name, rule)


@generated(100)
@given(single())
def test_midrank_of_one_relevant_item_is_its_mean_place_everywhere(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    found = ranked(S, G, ("mAP", "MRR", *(f"{base}@{k}" for base in ("R", "recall", "nDCG") for k in CUTS)), "midrank")
    assert found["mAP"].per_query == pytest.approx(found["MRR"].per_query, abs=CLOSE)
    for k in CUTS:
        assert found[f"recall@{k}"].per_query == pytest.approx(found[f"R@{k}"].per_query, abs=CLOSE)


@generated(100)
@given(tie_free())
def test_without_ties_all_rules_agree(case: tuple[Matrix, Matrix]) -> None:
    S, G = case
    expected = ranked(S, G, MANY)
    for rule in TIES[1:4]:
        for name, found in ranked(S, G, MANY, rule).items():
            assert found.per_query == pytest.approx(expected[name].per_query, abs=CLOSE), (name, rule)
    for name, found in ranked(S, G, FIRST[:5], "clip4clip").items():
        assert found.value == pytest.approx(expected[name].value, abs=CLOSE), name


@pytest.mark.parametrize("name", ["mAP", "nDCG@10", "recall@10"])
def test_clip4clip_refuses_metrics_of_several_relevant_items(name: str) -> None:
    case = problem(np.eye(3), np.eye(3))
    with pytest.raises(UsageError, match=f"{name} is not defined under --ties clip4clip"):
        evaluate(case, metrics=["R@1", name], ties="clip4clip")
    assert name not in only(evaluate(case, ties="clip4clip")).metrics
    with pytest.raises(UsageError, match="did you mean 'midrank'"):
        evaluate(case, ties="midrang")


# Made by seeded generator, scores in quarters; what the authors' own programs return for them (their ranks of the
# three-index variants depend on an unstable sort and are left out).
QUANTISED = """031010111410 103130321232 021123220441 413412214432 344103130322 314103311123
231424322432 241103314323 103241134314 223004021101 020131240230 030342410121"""
TWO_CAPTIONS = """203031233010 213131102131 132134220313 143333142210 041312102123 431331214412
340243411340 223243143104 112442312201 014343021420 330314011213 222320022412
021023132214 234314123110 213231123221 410033311333 432331210013 043142201122
121013214222 021010113324 123220313121 302412324100 233002214230 421331103122"""
PUBLISHED = [  # matrix, captions a video, rule, direction, protocol, R@1, R@5, R@10, MdR, MnR; from
    (QUANTISED, 1, "clip4clip", "t2v", "queries", (100 / 18, 41.66666666666666, 1450 / 18, 7, 20 / 3)),  # CLIP4Clip
    (QUANTISED, 1, "clip4clip", "v2t", "captions", (100 / 21, 38.09523809523809, 1600 / 21, 8.5, 51 / 7)),
    (QUANTISED, 1, "midrank", "t2v", "queries", (0, 41.66666666666666, 83.33333333333333, 7.5, 83 / 12)),  # CE, QB-Norm
    (QUANTISED, 1, "midrank", "v2t", "captions", (0, 41.66666666666666, 83.33333333333333, 8.75, 43 / 6)),
    (TWO_CAPTIONS, 2, "clip4clip", "t2v", "queries", (200 / 35, 1250 / 35, 2950 / 35, 7, 243 / 35)),  # CLIP-ViP
    (TWO_CAPTIONS, 2, "clip4clip", "v2t", "videos", (9.375, 43.75, 87.5, 6, 6.125)),  # CLIP4Clip
    (TWO_CAPTIONS, 2, "midrank", "t2v", "queries", (100 / 24, 1000 / 24, 2000 / 24, 7, 161 / 24)),  # CE, QB-Norm
    (TWO_CAPTIONS, 2, "midrank", "v2t", "captions", (0, 100 / 3, 50, 9.75, 10)),
]


@pytest.mark.parametrize(("text", "each", "rule", "direction", "protocol", "wanted"), PUBLISHED)
def test_published_programs(
    text: str, each: int, rule: str, direction: str, protocol: str, wanted: tuple[float, ...]
) -> None:
    S = np.array([[int(level) / 4 for level in row] for row in text.split()])
    case = problem(S, Relevance.of_items(np.arange(len(S)) // each))
    results = evaluate(case, metrics=["R@1", "R@5", "R@10", "MdR", "MnR"], ties=rule)
    assert list(values(only(results, direction, protocol)).values()) == pytest.approx(wanted, abs=1e-9)


# --- constant and doubled matrices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 17, 100, 1000])
def test_a_constant_matrix_scores_chance(n: int) -> None:
    cuts = sorted({k for k in (*range(1, 21), 49, 50, 99, 100, 333, 500, 999, 1000) if k <= n} | {n, n + 1})
    names = [f"R@{k}" for k in cuts] + ["MnR", "MdR"]
    order = np.random.default_rng(n).permutation(n)
    case = problem(np.full((n, n), 0.25), Relevance.of_items(order))
    run = only(evaluate(case, metrics=names, direction="t2v"))
    for k in cuts:
        found = run.metrics[f"R@{k}"]
        assert found.value == 100 * min(k, n) / n, k
        assert found.optimistic == 100 and found.pessimistic == (100 if k >= n else 0)
    assert values(run)["MnR"] == values(run)["MdR"] == (n + 1) / 2
    assert run.ties == {"queries": 0 if n == 1 else n, "items": n * (n - 1)}
    chance = {rule: only(evaluate(case, metrics=["R@1"], direction="t2v", ties=rule)).metrics["R@1"] for rule in TIES}
    assert chance["midrank"].value == (100 if n == 1 else 0)
    assert chance["clip4clip"].value == pytest.approx(100 / n, abs=1e-12)
    assert chance["optimistic"].value == 100 and chance["pessimistic"].value == (100 if n == 1 else 0)


def test_doubled_videos() -> None:
    """100 videos, each second one a copy of its neighbour; the pair of 41 queries stands first."""
    draw = np.random.default_rng(3)
    S = np.repeat(draw.permutation(5000).reshape(100, 50), 2, axis=1).astype(float)
    pair = np.arange(100) // 2 * 2
    S[np.arange(100)[:, None], pair[:, None] + [0, 1]] = -1.0
    S[:41][np.arange(41)[:, None], pair[:41, None] + [0, 1]] = 5000.0
    case = problem(S, np.eye(100))
    found = {rule: only(evaluate(case, metrics=["R@1", "R@2"], direction="t2v", ties=rule)) for rule in TIES}
    assert {rule: values(run)["R@1"] for rule, run in found.items()} == {
        "expected": 20.5, "optimistic": 41.0, "pessimistic": 0.0, "midrank": 0.0, "clip4clip": 20.5
    }  # fmt: skip
    assert {values(run)["R@2"] for run in found.values()} == {41.0}
    assert found["expected"].ties == {"queries": 100, "items": 100}


def test_clip4clip_can_leave_the_bounds_of_the_tie_orders() -> None:
    """It averages over places, not queries: one query tied with 9 items outweighs the other, which is first."""
    S = np.array([[1.0] + [0] * 9, [0.0] * 10])
    found = ranked(S, np.eye(10)[:2], ["R@1", "MdR", "MnR", "MRR"], "clip4clip")
    assert found["R@1"].value == pytest.approx(200 / 11) and found["R@1"].pessimistic == 50
    assert found["MdR"].value == 5 and found["MnR"].value == pytest.approx(56 / 11)
    assert found["MRR"].value == pytest.approx(100 / 11 * (1 + sum(1 / r for r in range(1, 11))))


# --- nothing but order ------------------------------------------------------------------------------------------------


@st.composite
def captions(draw: st.DrawFn, largest: int = 6) -> tuple[Matrix, list[int]]:
    """Scores (C, V) of few levels, and the video of each caption: unsorted, unequal numbers, some videos with none."""
    c, v = draw(st.integers(1, largest)), draw(st.integers(1, 5))
    levels = draw(st.integers(0, 5))
    scores = draw(st.lists(st.integers(0, levels), min_size=c * v, max_size=c * v))
    owner = draw(st.lists(st.integers(0, v - 1), min_size=c, max_size=c))
    return np.array(scores, dtype=float).reshape(c, v), owner


def everything(results: Results) -> dict[str, Any]:
    return {run.selector: (dict(run.metrics), dict(run.ties)) for run in results.runs}


@generated(60)
@given(tied(queries=6), st.sampled_from(TIES[:4]))
def test_only_the_order_of_scores_counts(case: tuple[Matrix, Matrix], rule: str) -> None:
    S, G = case
    before = everything(evaluate(problem(S, G), metrics=MANY, ties=rule))
    shifted = np.round(S * 2 + np.arange(len(S))[:, None] * 64) / 2  # a constant a row
    assert everything(evaluate(problem(S + 1000, G), metrics=MANY, ties=rule)) == before
    assert everything(evaluate(problem(S * 2.0**-40, G), metrics=MANY, ties=rule)) == before
    assert everything(evaluate(problem(S * 2.0**40, G), metrics=MANY, ties=rule)) == before
    assert everything(evaluate(problem(S**3 + S - 7, G), metrics=MANY, ties=rule)) == before
    assert everything(evaluate(problem(np.exp(S), G), metrics=MANY, ties=rule)) == before
    assert everything(evaluate(problem(shifted, G), metrics=MANY, ties=rule))["t2v"] == before["t2v"]


@generated(60)
@given(tied(queries=6), st.integers(0, 6), st.sampled_from(TIES[:4]))
def test_a_far_distractor_changes_nothing(case: tuple[Matrix, Matrix], place: int, rule: str) -> None:
    S, G = case
    before = everything(evaluate(problem(S, G), metrics=MANY, ties=rule, direction="t2v"))
    place = min(place, S.shape[1])
    S, G = np.insert(S, place, -9.0, axis=1), np.insert(G, place, 0.0, axis=1)
    assert everything(evaluate(problem(S, G), metrics=MANY, ties=rule, direction="t2v")) == before


@generated(60)
@given(single(), st.booleans())
def test_doubling_the_gallery_halves_expected_first_hits(case: tuple[Matrix, Matrix], beside: bool) -> None:
    S, G = case
    before = ranked(S, G, ["R@1"])
    S, G = np.hstack([S, S]), np.hstack([G, 0 * G])  # every item has a copy that is not relevant
    order = np.arange(S.shape[1]).reshape(2, -1).T.ravel() if beside else slice(None)
    after = ranked(S[:, order], G[:, order], ["R@1", "R@2"])
    assert after["R@1"].value == before["R@1"].value / 2
    assert after["R@2"].value == pytest.approx(before["R@1"].value, abs=CLOSE)
    assert after["R@1"].pessimistic == 0


@generated(60)
@given(tied(items=8), st.sampled_from(TIES[:4]), st.randoms(use_true_random=False))
def test_permutations_of_rows_columns_and_ids_give_the_same_bytes(
    case: tuple[Matrix, Matrix], rule: str, shuffle: Any
) -> None:
    S, G = case
    G = np.where(G == 3, 0.3, np.where(G == 2, 0.7, G))  # sums of such grades depend on the order of addition
    before = everything(evaluate(problem(S, G), metrics=MANY, ties=rule))
    for _ in range(3):
        rows, columns = (np.array(shuffle.sample(range(size), size)) for size in S.shape)
        after = everything(evaluate(problem(S[rows][:, columns], G[rows][:, columns]), metrics=MANY, ties=rule))
        assert repr(after) == repr(before)


@generated(40)
@given(captions(largest=9), st.sampled_from(TIES), st.randoms(use_true_random=False))
def test_permutations_of_captions_and_videos_give_the_same_bytes(
    case: tuple[Matrix, list[int]], rule: str, shuffle: Any
) -> None:
    S, owner = case
    before = everything(evaluate(problem(S, Relevance.of_items(owner)), ties=rule))
    rows, columns = (np.array(shuffle.sample(range(size), size)) for size in S.shape)
    moved = np.argsort(columns)[np.array(owner)[rows]]
    after = everything(evaluate(problem(S[rows][:, columns], Relevance.of_items(moved)), ties=rule))
    assert repr(after) == repr(before)


def test_a_hundred_queries_in_any_order_give_the_same_bytes() -> None:
    draw = np.random.default_rng(8)
    S, owner = draw.integers(0, 9, (100, 23)).astype(float), draw.integers(0, 23, 100)
    before = repr(everything(evaluate(problem(S, Relevance.of_items(owner)))))
    for _ in range(20):
        rows, columns = draw.permutation(100), draw.permutation(23)
        moved = Relevance.of_items(np.argsort(columns)[owner[rows]])
        assert repr(everything(evaluate(problem(S[rows][:, columns], moved)))) == before


# --- several captions a video -----------------------------------------------------------------------------------------


@generated(250)
@given(captions())
def test_both_v2t_protocols_equal_all_tie_orders(case: tuple[Matrix, list[int]]) -> None:
    S, owner = case
    results = evaluate(problem(S, Relevance.of_items(owner)), metrics=MANY)
    assert_equals_brute(only(results).metrics, S, np.eye(S.shape[1])[owner])
    assert_equals_brute(only(results, "v2t", "captions").metrics, *naive.captions_of_videos(S, owner))
    several = len(set(owner)) < len(owner)
    assert len(results.runs) == (3 if several else 2)
    if several:
        assert_equals_brute(only(results, "v2t", "videos").metrics, *naive.videos_of_videos(S, owner))


@pytest.mark.parametrize("rule", ["midrank", "clip4clip"])
@pytest.mark.parametrize("seed", range(10))
def test_published_tie_rules_under_both_v2t_protocols(rule: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    S = draw.integers(0, 7, (60, 14)).astype(float)
    owner = draw.choice([0, 1, 1, 2, 5, 5, 5, 7, 9, 11, 13], 60).tolist()
    results = evaluate(problem(S, Relevance.of_items(owner)), metrics=FIRST, ties=rule)
    plain = naive.midrank if rule == "midrank" else naive.clip4clip
    for direction, protocol, (scores, gains) in (
        ("t2v", "queries", (S, np.eye(14)[owner])),
        ("v2t", "captions", naive.captions_of_videos(S, owner)),
        ("v2t", "videos", naive.videos_of_videos(S, owner)),
    ):
        for name, found in values(only(results, direction, protocol)).items():
            assert found == pytest.approx(plain(scores, gains, name), abs=CLOSE), (direction, protocol, name)


@generated(80)
@given(captions(largest=9))
def test_rows_of_queries_and_items_come_back_in_input_order(case: tuple[Matrix, list[int]]) -> None:
    S, owner = case
    c, v = S.shape
    results = evaluate(problem(S, Relevance.of_items(owner)), metrics=["R@1"])
    texts, videos = [f"q{row}" for row in range(c)], [f"v{row}" for row in range(v)]

    def part(table: Mapping[str, Matrix], direction: str, protocol: str) -> dict[str, list[Any]]:
        mine = (table["direction"] == direction) & (table["protocol"] == protocol)
        return {name: column[mine].tolist() for name, column in table.items()}

    def agrees(rows: Mapping[str, list[Any]], ids: list[str], scores: Matrix, gains: Matrix, asking: list[int]) -> None:
        assert rows["id"] == ids
        place = {query: number for number, query in enumerate(asking)}
        brute = naive.brute(scores, gains, ["MnR"])["MnR"]
        for row in range(len(ids)):
            got = [rows[name][row] for name in ("rank", "rank_optimistic", "rank_pessimistic")]
            if row not in place:
                assert np.isnan(got).all() and rows["above"][row] == rows["tied"][row] == rows["relevant"][row] == -1
                continue
            s, g = scores[place[row]], gains[place[row]]
            best = s[g > 0].max()
            assert got == pytest.approx(brute[:, place[row]])
            assert rows["above"][row] == (s > best).sum() and rows["tied"][row] == (s == best).sum() - 1
            assert rows["relevant"][row] == g.sum()

    asked = sorted(set(owner))
    rows = part(results.queries, "t2v", "queries")
    agrees(rows, texts, S, np.eye(v)[owner], list(range(c)))
    assert rows["top"] == [[videos[j] for j in np.argsort(-s, kind="stable")[:10]] for s in S]
    rows = part(results.queries, "v2t", "captions")
    agrees(rows, videos, *naive.captions_of_videos(S, owner), asked)
    for column, shown in zip(S.T, rows["top"], strict=True):
        assert [column[texts.index(name)] for name in shown] == sorted(column, reverse=True)[:10]
        assert len(set(shown)) == len(shown) == min(c, 10)
    if len(asked) < c:
        agrees(part(results.queries, "v2t", "videos"), videos, *naive.videos_of_videos(S, owner), asked)

    rows = part(results.items, "t2v", "queries")
    assert rows["id"] == videos and rows["wanted"] == np.bincount(owner, minlength=v).tolist()
    for k in (1, 5, 10):
        shown = [j for s in S for j in np.argsort(-s, kind="stable")[:k]]
        assert rows[f"occurrence@{k}"] == np.bincount(shown, minlength=v).tolist()
    rows, tops = part(results.items, "v2t", "captions"), part(results.queries, "v2t", "captions")["top"]
    assert rows["id"] == texts and rows["wanted"] == [1] * c
    for k in (1, 5, 10):
        assert rows[f"occurrence@{k}"] == [sum(name in shown[:k] for shown in tops) for name in texts]


@pytest.mark.parametrize("ties", TIES)
def test_one_relevant_item_a_query_is_no_special_case(ties: str) -> None:
    rng = np.random.default_rng(7)
    query, above, tied = np.flatnonzero(rng.random(60) < 0.7), *rng.integers(0, 9, (2, 60))
    above, tied, gain = above[: len(query)], tied[: len(query)] // 3, rng.random(len(query)) + 0.1
    quick = Blocks.of(query, above, tied, gain)
    plain = Blocks(np.arange(len(query)), above, tied + 1, gain, query)
    assert "order_in_block" in vars(quick) and "order_in_block" not in vars(plain)
    names = [parse(name) for name in MANY if ties != "clip4clip" or not parse(name).metric.multiple]
    wanted = measure(plain, names, ties)
    for name, found in measure(quick, names, ties).items():
        np.testing.assert_array_equal(found.per_query, wanted[name].per_query)
        same = wanted[name]
        assert (found.value, found.optimistic, found.pessimistic) == (same.value, same.optimistic, same.pessimistic), name
    for name, _ in inspect.getmembers(Blocks, lambda member: isinstance(member, cached_property)):
        mine, others = np.asarray(getattr(quick, name)), np.asarray(getattr(plain, name))
        np.testing.assert_array_equal(mine, others, err_msg=name)
        assert mine.dtype == others.dtype, name


def test_queries_without_a_relevant_item_are_left_out_of_the_mean() -> None:
    S = np.array([[1.0, 0], [1, 0], [0, 1]])
    G = np.array([[1.0, 0], [0, 0], [1, 0]])
    results = evaluate(problem(S, G), metrics=["R@1", "MnR"], direction="t2v")
    assert values(only(results)) == {"R@1": 50.0, "MnR": 1.5} and only(results).metrics["R@1"].n == 2
    assert results.queries["relevant"].tolist() == [1, -1, 1]


def test_inputs_are_unchanged() -> None:
    case = problem(np.arange(12.0).reshape(4, 3) % 5, Relevance.of([2, 0, 1, 3], [1, 1, 0, 2], [1.0, 2, 3, 1]))
    assert case.relevance is not None
    arrays = [case.scores["queries", "items"], case.relevance.query, case.relevance.item, case.relevance.gain]
    before = [array.tobytes() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    for rule in TIES:
        evaluate(case, ties=rule)
    assert [array.tobytes() for array in arrays] == before


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("R@1", "R@1"), ("r@10", "R@10"), ("hit@5", "R@5"), ("HIT@5", "R@5"), ("hit_rate@5", "R@5"),
        ("success@3", "R@3"), ("recall@10", "recall@10"), ("Recall@10", "recall@10"), ("MdR", "MdR"),
        ("medr", "MdR"), ("MedR", "MdR"), ("mnr", "MnR"), ("MeanR", "MnR"), ("mrr", "MRR"), ("MAP", "mAP"),
        ("map", "mAP"), ("ndcg@10", "nDCG@10"), ("NDCG@7", "nDCG@7"), ("rsum", "Rsum"), (" R@1 ", "R@1"),
        ("R@007", "R@7"),
    ],
)  # fmt: skip
def test_names_and_aliases(text: str, shown: str) -> None:
    named = parse(text)
    assert str(named) == shown and parse(str(named)) == named


def test_a_hit_and_a_share_are_told_apart() -> None:
    assert parse("R@10") != parse("recall@10")
    case = problem(np.array([[2.0, 1, 0]]), np.array([[1.0, 0, 1]]))
    assert values(only(evaluate(case, metrics=["R@1", "recall@1"]))) == {"R@1": 100.0, "recall@1": 50.0}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("precision@1", "unknown metric"), ("nDGC@10", "did you mean 'nDCG@10'"), ("MddR", "did you mean 'MdR'"),
        ("recal@10", "did you mean 'recall@10'"), ("Rsumm", "did you mean 'Rsum'"), ("", "unknown metric"),
        ("@1", "unknown metric"), ("R@1,R@5", "unknown metric"), ("R@1.5", "unknown metric"),
        ("R@-1", "unknown metric"), ("R@ 1", "unknown metric"), ("R@one", "unknown metric"),
        ("R 1", "unknown metric"), ("R@1\nR@5", "unknown metric"),
        ("R", "write R@10"), ("recall", "write recall@10"), ("nDCG", "write nDCG@10"), ("hit", "write R@10"),
        ("MdR@1", "write MdR"), ("mAP@10", "write mAP"), ("Rsum@1", "write Rsum"), ("MRR@10", "write MRR"),
        ("R@0", "write R@10"), ("nDCG@0", "write nDCG@10"), ("R@00", "write R@10"), ("nDCG@000", "write nDCG@10"),
        ("recall@\u0660", "recall@10"),
    ],
)  # fmt: skip
def test_unreadable_names_are_refused_in_one_line(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert hint in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        evaluate(problem(np.eye(2), np.eye(2)), metrics=["R@1", text])


@pytest.mark.parametrize("k", [5, 10**6, 999_999_999])
@pytest.mark.parametrize("base", ["R", "recall", "nDCG"])
def test_a_huge_cutoff_is_the_whole_gallery(base: str, k: int) -> None:
    case = (np.array([[0.0, 1, 2, 2]]), np.array([[1.0, 0, 0, 2]]))
    whole = ranked(*case, [f"{base}@4"])[f"{base}@4"].value
    assert ranked(*case, [f"{base}@{k}"])[f"{base}@{k}"].value == pytest.approx(whole)


@pytest.mark.parametrize("digits", [10, 19, 40, 400, 5000])
def test_a_cutoff_beyond_any_gallery_is_refused(digits: int) -> None:
    with pytest.raises(UsageError, match="takes a k of at most 999999999"):
        parse("recall@" + "9" * digits)


def test_all_standard_metrics_are_registered() -> None:
    assert {parse(name).metric.name for name in DEFAULT_METRICS} == set(metrics())
    assert sorted(metrics()) == sorted(["MRR", "MdR", "MnR", "R", "Rsum", "mAP", "nDCG", "recall"])
    for name, each in metrics().items():
        assert each.name == name and each.summary and each.source and each.unit in ("percent", "rank")
    asked = ["R@5", "MdR", "r@5", "nDCG@3"]
    run = only(evaluate(problem(np.eye(3), np.eye(3)), metrics=asked), "t2v")
    assert list(run.metrics) == ["R@5", "MdR", "nDCG@3"]


def test_means_are_rounded_once() -> None:
    """In any order of the queries, of any type of values."""
    draw = np.random.default_rng(0)
    for values in (
        draw.integers(0, 10**6, 10**4).astype(np.float32),
        np.r_[2.0**53, np.ones(9), -(2.0**53)],
        draw.integers(0, 9, 1000),
        draw.random(1000),
    ):
        exact = float(sum(map(Fraction, values.tolist()))) / len(values)
        assert _mean(values) == _mean(values[::-1]) == exact

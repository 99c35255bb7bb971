"""Laws that hold for every registered operator, and the defined score that they rest on."""

import math
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import KEPT, LAWFUL, STREAMED, Found

from nclbench import Results, evaluate
from nclbench.errors import NclbenchError, NotAvailable
from nclbench.operators import operators
from nclbench.plan import SUMS, Plan
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.protocols import Protocols
from nclbench.ranking import choosing, counting
from nclbench.ranking.ranks import Request, rank
from nclbench.registry import show
from nclbench.scorers import scorers
from nclbench.similarity import reducers
from nclbench.similarity.bases import Embedded
from nclbench.similarity.maps import column_bias
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.similarity.views import Views
from nclbench.sinkhorn import kernel, potentials

TILES = [(7, 5), (64, 97), (1, 1000), (33, 1), (10**6, 10**6)]
DENSE = Plan(memory=KEPT)
FLOAT_CASES = [name for name in LAWFUL if not name.startswith(("ties", "constant"))]

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def problem_of(case: str) -> Problem:
    return LAWFUL[case]()


@cache
def dense(case: str) -> dict[tuple[str, str, str], Found]:
    return factories.integers(problem_of(case), factories.specs(), DENSE)


SHIFTED = ["none", "is", "dis", "sinkhorn", "sinkhorn:iters=2", "csls", "nnn:k=9", "dn", "mp", "dualis", "dbsn"]


@pytest.mark.parametrize("constant", [1024.0, -512.0])
def test_a_constant_added_to_all_scores_changes_no_ranking(constant: float) -> None:
    """Where the formula says so; scores on a grid, so that the sum is exact, and some that tie."""
    plain = factories.as_scores(factories.hubs(61, 61, 13, query_bank=factories.hubs(70, 61, 13, seed=5).queries.vectors,
                                               item_bank=factories.hubs(40, 61, 13, seed=6).queries.vectors))  # fmt: skip
    grid = {pair: np.round(matrix * 2.0**20) / 2.0**20 for pair, matrix in plain.scores.items()}
    grid["queries", "items"][:, 7] = grid["queries", "items"][:, 9]
    specs = [f"{name}:tau=0.01" if name in ("is", "dis", "sinkhorn", "dbsn") else name for name in SHIFTED]
    specs += ["gc", "sinkhorn:tau=0.002,iters=3", "is:tau=0.05,fit=test"]
    found = [
        factories.integers(replace(plain, scores={pair: matrix + add for pair, matrix in grid.items()}), specs, DENSE)
        for add in (0.0, constant)
    ]
    for key, one in found[0].items():
        other = found[1][key]
        assert one.ranking is not None and other.ranking is not None, key
        if key[2] != "gc":  # its scores break ties between ranks in units of their own
            np.testing.assert_array_equal(one.ranking.above, other.ranking.above, err_msg=str(key))
            np.testing.assert_array_equal(one.ranking.tied, other.ranking.tied, err_msg=str(key))


# ------------------------------------------------------------------------------- dense = streamed = any tiling


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("case", LAWFUL)
def test_streamed_under_any_tiling_gives_the_dense_integers(case: str, tile: tuple[int, int]) -> None:
    found = factories.integers(problem_of(case), factories.specs(), Plan(tile=tile, memory=STREAMED))
    assert factories.differences(dense(case), found) == []


@pytest.mark.parametrize("case", ["repeated", "captions", "ties-scores-32"])
def test_kept_scores_under_any_tiling_give_the_dense_integers(case: str) -> None:
    for tile in TILES[:3]:
        found = factories.integers(problem_of(case), factories.specs(), Plan(tile=tile, memory=KEPT))
        assert factories.differences(dense(case), found) == []


def test_the_law_covers_what_it_says() -> None:
    """Ties, repeated rows, both v2t protocols, both paths of Sinkhorn, and every operator."""
    assert set(operators.names()) - {"biases"} <= {spec.partition(":")[0] for spec in factories.specs()}
    for case in ("repeated", "ties-dot", "captions", "ties-scores-32", "captions-scores-32"):
        raw = dense(case)["t2v", "queries", "none"].ranking
        assert raw is not None and (raw.tied > 0).mean() > 0.15, case
    assert ("v2t", "videos", "sinkhorn") in dense("captions") and ("v2t", "captions", "sinkhorn") in dense("captions")
    assert all(each.ranking is not None for each in dense("banks").values())
    assert any(each.why for each in dense("captions").values())
    plain = problem_of("repeated")
    paths = {
        operators.parse("sinkhorn").learn(Views(Bases(plain, Plan(memory=memory)))).convergence.path
        for memory in (KEPT, STREAMED)
    }
    assert paths == {"kept kernel", "streamed kernel"}


@pytest.mark.parametrize("case", ["repeated", "captions", "banks-scores-64"])
def test_evaluate_gives_the_same_bytes_under_any_tiling(case: str) -> None:
    specs = [spec for spec in factories.specs() if spec != "none"]
    first = evaluate(problem_of(case), specs, plan=DENSE)
    for tile in ((7, 5), (1, 1000)):
        other = evaluate(problem_of(case), specs, plan=Plan(tile=tile, memory=STREAMED))
        assert [run.metrics for run in other.runs] == [run.metrics for run in first.runs]
        for name in ("above", "tied", "rank", "rank_optimistic", "rank_pessimistic", "id"):
            np.testing.assert_array_equal(other.queries[name], first.queries[name])
        assert other.queries["top"].tolist() == first.queries["top"].tolist()
        np.testing.assert_array_equal(other.items["occurrence@10"], first.items["occurrence@10"])


def _reducers(scores: Any) -> dict[str, Any]:
    n, m = scores.shape
    query = torch.arange(n).repeat_interleave(3)
    item = torch.from_numpy(np.random.default_rng(0).integers(0, m, size=3 * n))
    exact = torch.from_numpy(scores)
    bias, mass = torch.linspace(-1, 1, m, dtype=SUMS), torch.full((n,), 1 / n, dtype=SUMS)
    return {
        "counts": counting.CountAbove(query, item, exact[query, item], lambda q, i: exact[q, i], 0.0, 0.0),
        "leaders": choosing.Leaders(6),
        "reaches": counting.Reaches(bias * 40 + 100, None, lambda q, i: exact[q, i], 0.5, by_column=True),
        "reaches of some": counting.Reaches(mass * 4000, bias > 0, lambda q, i: exact[q, i], 0.5),
        "largest": reducers.Largest(7),
        "mean of the largest": reducers.TopMean(60),
        "moments": reducers.Moments(),
        "log-sum-exp": reducers.LogSumExp(3.0, bias),
        "mass": reducers.SoftmaxMass(3.0, bias, mass),
    }


@pytest.mark.parametrize("name", list(_reducers(np.zeros((3, 3)))))
def test_reducers_are_monoids(name: str) -> None:
    """Tiles shared out between three states, one of them empty, merged in any bracketing."""
    scores = np.random.default_rng(1).permutation(40 * 50).reshape(40, 50) / 7.0
    reducer, plan = _reducers(scores)[name], Plan()
    columns = [slice(0, 50)] if reducer.whole_rows else [slice(0, 17), slice(17, 24), slice(24, 50)]
    tiles = [(rows, across) for rows in (slice(0, 9), slice(9, 40)) for across in columns]
    whole = reducer.step(reducer.init(scores.shape, plan), torch.from_numpy(scores), slice(0, 40), slice(0, 50))
    dealt = []
    for share in (tiles[::2], [], tiles[1::2]):
        state = reducer.init(scores.shape, plan)
        for rows, across in share:
            state = reducer.step(state, torch.from_numpy(scores[rows, across]), rows, across)
        dealt.append(state)
    a, b, c = ([part.clone() for part in state] for state in dealt)
    merge = reducer.merge
    for found in (merge(merge(a, b), c), merge(a, merge(b, c)), merge(merge(c, a), b), merge(b, merge(c, a))):
        for part, expected in zip(found, whole, strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-13, atol=1e-13)


# ---------------------------------------------------------------------------------- integers are what they say


@pytest.mark.parametrize("case", LAWFUL)
def test_counts_equal_comparing_every_pair(case: str) -> None:
    """Raw and bias operators of both directions against plain numpy on the defined scores."""
    problem = Protocols.of(problem_of(case)).problem
    scores = factories.defined(problem)
    largest = Bases(problem, Plan()).base("queries", "items").largest
    for (direction, protocol, spec), found in dense(case).items():
        if found.ranking is None or not (spec == "none" or found.shift):
            continue
        seen = scores if direction == "t2v" else scores.T
        if found.bias is not None:
            seen = seen + found.bias
        if protocol == "videos":
            seen = _best_of_each(seen, problem)
        tolerance = 0.0
        if found.bias is not None:
            tolerance = 2.0**-36 * (largest + np.abs(found.bias).max())
        above, tied = factories.counted(seen, found.ranking.query, found.ranking.item, tolerance)
        np.testing.assert_array_equal(found.ranking.above, above, err_msg=f"{direction} {protocol} {spec}")
        np.testing.assert_array_equal(found.ranking.tied, tied, err_msg=f"{direction} {protocol} {spec}")


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_scores_and_temperature_scale_together(factor: float) -> None:
    """No absolute number decides what a tie is: logits rank as cosines do."""
    for case in ("repeated-scores-64", "hubs-scores-64"):
        plain = problem_of(case)
        scaled = replace(plain, scores={pair: factor * matrix for pair, matrix in plain.scores.items()})
        for name in ("sinkhorn", "is"):
            one, other = (
                factories.integers(task, [f"{name}:tau={tau!r}"], Plan())
                for task, tau in ((plain, 0.05), (scaled, 0.05 * factor))
            )
            pairs = zip(one.values(), other.values(), strict=True)
            for left, right in pairs:
                for what, values in left.integers().items():
                    np.testing.assert_array_equal(values, right.integers()[what], err_msg=f"{name} {what}")


def _best_of_each(seen: Any, problem: Problem) -> Any:
    """(M, N) -> (M, G): the best caption of every video that has one."""
    owner = problem.relevance.item
    return np.stack([seen[:, owner == video].max(axis=1) for video in np.unique(owner)], axis=1)


@pytest.mark.parametrize("case", LAWFUL)
def test_the_best_items_equal_a_full_sort(case: str) -> None:
    problem = Protocols.of(problem_of(case)).problem
    scores = factories.defined(problem)
    for reverse in (False, True):
        ranking = dense(case)["v2t" if reverse else "t2v", "captions" if reverse else "queries", "none"].ranking
        seen = scores.T if reverse else scores
        np.testing.assert_array_equal(ranking.top, factories.leading(seen, min(10, seen.shape[1])))


@pytest.mark.parametrize("k", [1, 3, 10, 30])
@pytest.mark.parametrize("tile", [(7, 5), (64, 97), (1000, 1000)], ids=str)
def test_the_best_items_of_wide_ties(k: int, tile: tuple[int, int]) -> None:
    """160 items with about nine different scores, and k far inside, at the edge of, and beyond a block."""
    for seed, scorer in ((0, "dot"), (1, "cosine")):
        problem = factories.ties(n=40, m=160, d=3, seed=seed, scorer=scorer)
        for case in (problem, factories.as_scores(problem), factories.as_scores(problem, np.float32)):
            view = Views(Bases(case, Plan(tile=tile, memory=STREAMED))).view("queries", "items")
            (found,) = rank([Request(view, None, k)])
            np.testing.assert_array_equal(found.top, factories.leading(factories.defined(case), k))


@pytest.mark.parametrize("size", [1.0, 1e6])
def test_the_best_items_where_scores_cancel(size: float) -> None:
    """Every score is 0 but for rounding, so that even float64 tiles say nothing: only the definition knows."""
    draw = np.random.default_rng(9)
    queries = size * np.ones((20, 300)) * draw.uniform(1, 2, size=(20, 1))
    half = size * draw.normal(size=150)
    items = np.stack([draw.permutation(np.concatenate([half, -half])) for _ in range(90)])
    problem = factories.of_vectors(queries.astype(np.float32), items.astype(np.float32), scorer="dot")
    scores = factories.defined(problem)
    assert len(np.unique(scores)) > 5
    above, tied = factories.counted(scores, problem.relevance.query, problem.relevance.item)
    for tile in ((7, 5), (64, 97), (1000, 1000)):
        view = Views(Bases(problem, Plan(tile=tile, memory=STREAMED))).view("queries", "items")
        (found,) = rank([Request(view, problem.relevance, 10)])
        np.testing.assert_array_equal(found.top, factories.leading(scores, 10))
        np.testing.assert_array_equal(found.above, above)
        np.testing.assert_array_equal(found.tied, tied)


def test_neighbours_closer_than_single_precision_are_told_apart() -> None:
    """Items that differ from one another by one step of float32 in one feature, in a matrix and as vectors."""
    items = np.tile(np.linspace(0.2, 0.9, 7, dtype=np.float32), (60, 1))
    items[:, 3] = np.nextafter(items[:, 3], np.float32(2)) + np.arange(60, dtype=np.float32) * np.float32(2**-24)
    queries = np.random.default_rng(1).normal(size=(60, 7)).astype(np.float32)
    from_vectors = factories.of_vectors(queries, items, scorer="dot")
    stored = 0.5 + np.random.default_rng(2).permutation(3600).reshape(60, 60) * 2.0**-53
    for problem in (from_vectors, factories.of_scores(stored)):
        found = factories.integers(problem, ["none"], Plan(tile=(16, 16)))["t2v", "queries", "none"].ranking
        scores = factories.defined(problem)
        above, tied = factories.counted(scores, found.query, found.item)
        np.testing.assert_array_equal(found.above, above)
        np.testing.assert_array_equal(found.tied, tied)
        np.testing.assert_array_equal(found.top, factories.leading(scores, 10))
    assert found.tied.max() == 0


# ------------------------------------------------------------------------------------- order, sides, scale, bytes


def _by_id(results: Results) -> dict[tuple[str, ...], tuple[Any, ...]]:
    table = results.queries
    keys = zip(*(table[name] for name in ("direction", "protocol", "spec", "id")), strict=True)
    names = ("above", "tied", "relevant", "rank", "rank_optimistic", "rank_pessimistic")
    return dict(zip(keys, zip(*(table[name].tolist() for name in names), strict=True), strict=True))


def _nan_as_none(rows: dict[Any, tuple[Any, ...]]) -> dict[Any, tuple[Any, ...]]:
    return {key: tuple(None if value != value else value for value in row) for key, row in rows.items()}


@pytest.mark.parametrize("case", LAWFUL)
def test_the_order_of_queries_and_items_does_not_matter(case: str) -> None:
    problem, draw = problem_of(case), np.random.default_rng(7)
    specs = [spec for spec in factories.specs() if spec != "none"]
    first = evaluate(problem, specs, plan=DENSE)
    metrics = {(run.direction, run.protocol, run.operator.spec): run.metrics for run in first.runs}
    n, m = len(problem.queries), len(problem.items)
    for queries, items in ((draw.permutation(n), None), (None, draw.permutation(m))):
        other = evaluate(factories.permuted(problem, queries, items), specs, plan=Plan(tile=(64, 97)))
        assert _nan_as_none(_by_id(other)) == _nan_as_none(_by_id(first))
        assert {(run.direction, run.protocol, run.operator.spec): run.metrics for run in other.runs} == metrics
        bias = [dict(zip(zip(r.items["direction"], r.items["spec"], r.items["id"], strict=True), r.items["bias"],
                         strict=True)) for r in (first, other)]  # fmt: skip
        assert bias[0].keys() == bias[1].keys()
        np.testing.assert_allclose([bias[1][key] for key in bias[0]], [*bias[0].values()], rtol=0, atol=1e-10)


def test_instances_stand_in_the_order_of_the_input() -> None:
    problem = problem_of("captions")
    found = evaluate(problem, ["sinkhorn"], plan=DENSE)
    for table, name in ((found.queries, "t2v"), (found.items, "v2t")):
        for spec in ("none", "sinkhorn"):
            here = (table["direction"] == name) & (table["spec"] == spec)
            assert tuple(table["id"][here]) == problem.queries.ids
    here = (found.queries["direction"] == "t2v") & (found.queries["spec"] == "none")
    above, tied = factories.counted(factories.defined(problem), problem.relevance.query, problem.relevance.item)
    np.testing.assert_array_equal(found.queries["above"][here], above)
    np.testing.assert_array_equal(found.queries["tied"][here], tied)


TURNED = ["hubs", "repeated", "repeated-scores-64", "banks", "banks-scores-64", "constant"]


@pytest.mark.parametrize("case", TURNED)
def test_the_problem_from_the_other_side_swaps_the_directions(case: str) -> None:
    problem = problem_of(case)
    other = factories.integers(problem.reversed(), factories.specs(), Plan(tile=(64, 97), memory=STREAMED))
    for (direction, _, spec), found in dense(case).items():
        name, protocol = ("v2t", "captions") if direction == "t2v" else ("t2v", "queries")
        mirrored = other[name, protocol, spec]
        assert (mirrored.ranking is None) == (found.ranking is None)
        if found.ranking is not None:
            assert factories.differences({0: replace(mirrored, bias=None)}, {0: replace(found, bias=None)}) == []
        if found.bias is not None:
            np.testing.assert_allclose(mirrored.bias, found.bias, rtol=0, atol=1e-10)


def _of_doubles(side: Embeddings | None) -> Embeddings | None:
    """As float64, whose memory torch may share, with weights."""
    if side is None:
        return None
    vectors = None if side.vectors is None else side.vectors.astype(np.float64)
    return replace(side, vectors=vectors, weight=np.linspace(1, 2, len(side)))


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("spec", factories.specs())
def test_the_stamps_say_what_an_operator_looked_at(spec: str, memory: int) -> None:
    """What the bias of the items depends on is found by changing it: the test side that asks, and its bank."""
    plain = problem_of("banks")
    for reverse in (False, True):
        found = {}
        for role in ("", *factories.ROLES):
            problem = plain if not role else replace(plain, **{role: _moved(plain.role(role))})
            views = Views(Bases(problem, Plan(memory=memory)), reverse)
            with suppress(NotAvailable):
                found[role] = operators.parse(spec).learn(views), views
        if not found or found[""][0].map is None or found[""][0].map.item_bias is None:
            continue
        fitted, views = found[""]
        changed = {
            role
            for role in factories.ROLES
            if not np.allclose(found[role][0].map.bias_values, fitted.map.bias_values, rtol=0, atol=1e-7)
        }
        asking, asked = ("items", "queries") if reverse else ("queries", "items")
        names = {asking: "test-queries", asked: "gallery", "item_bank": "item-bank", "query_bank": "query-bank"}
        # every bias depends on the gallery; it is named where nothing else was looked at
        looked = [names[role] for role in changed - {asked}] or ["gallery"]
        assert views.transductive == (asking in changed), (spec, reverse)
        assert views.fitted_on == "+".join(sorted(looked)), (spec, reverse)


def _moved(side: Embeddings) -> Embeddings:
    return replace(side, vectors=side.vectors[::-1] + np.float32(0.3))


@pytest.mark.parametrize("case", LAWFUL)
@pytest.mark.parametrize("memory", [KEPT, STREAMED])
def test_inputs_are_left_as_they_were(case: str, memory: int) -> None:
    plain = LAWFUL[case]()
    if memory == KEPT:
        plain = replace(plain, **{role: _of_doubles(plain.role(role)) for role in factories.ROLES})
    before = {name: array.tobytes() for name, array in factories.arrays(plain)}
    first = factories.integers(plain, factories.specs(), Plan(tile=(16, 16), memory=memory))
    assert {name: array.tobytes() for name, array in factories.arrays(plain)} == before
    for _, array in factories.arrays(plain):
        array.flags.writeable = False
    locked = factories.integers(plain, factories.specs(), Plan(tile=(16, 16), memory=memory))
    assert factories.differences(first, locked) == []
    evaluate(plain, ["sinkhorn"], plan=Plan(memory=memory))


def test_other_layouts_of_the_same_numbers_change_nothing() -> None:
    """Fortran order, strides and float64 copies of float32 numbers."""
    plain = factories.repeated()
    wide = np.repeat(plain.items.vectors, 2, axis=1)[:, ::2]
    fortran = np.asfortranarray(plain.queries.vectors)
    other = factories.of_vectors(fortran.astype(np.float64), wide)
    assert not wide.flags.c_contiguous
    found = factories.integers(other, factories.specs(), DENSE)
    assert factories.differences(dense("repeated"), found) == []
    ready = factories.as_scores(plain)
    fortran = replace(ready, scores={pair: np.asfortranarray(matrix) for pair, matrix in ready.scores.items()})
    found = factories.integers(fortran, factories.specs(), DENSE)
    assert factories.differences(dense("repeated-scores-64"), found) == []


@pytest.mark.parametrize("name", [*operators.names(), *(s for many in factories.MORE_SPECS.values() for s in many)])
def test_specs_round_trip(name: str) -> None:
    operator = operators.parse(factories.REQUIRED.get(name, name))
    assert operators.parse(show(operator)) == operator
    assert hash(operator) == hash(operators.parse(show(operator)))
    with pytest.raises(NclbenchError):
        operators.parse(f"{operator.name}:no_such_parameter=1")


@pytest.mark.parametrize("case", ["repeated", "captions", "ties-cosine", "banks"])
def test_lengths_of_vectors_do_not_matter_to_cosine(case: str) -> None:
    """Powers of two change no bit of the normalised rows, from 1e-30 to 1e30."""
    plain, draw = problem_of(case), np.random.default_rng(3)
    sides = {}
    for role in factories.ROLES:
        side = plain.role(role)
        if side is not None:
            power = draw.integers(-99, 100, size=(len(side), 1))
            sides[role] = replace(side, vectors=side.vectors.astype(np.float32) * (2.0**power).astype(np.float32))
    scaled = replace(plain, **sides)
    assert np.abs(scaled.queries.vectors).min(where=scaled.queries.vectors != 0, initial=1) < 1e-25
    assert np.abs(scaled.queries.vectors).max() > 1e25
    found = factories.integers(scaled, factories.specs(), DENSE)
    assert factories.differences(dense(case), found) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiny_and_huge_rows_give_the_reference_result(dtype: Any) -> None:
    plain = factories.hubs()
    length = np.array([1e-30, 1.0, 1e30, 3e37, 3e-37])[np.arange(61) % 5][:, None]
    if dtype is np.float64:
        length = length**8
    queries, items = ((side.vectors.astype(dtype) / 9 * length).astype(dtype) for side in (plain.queries, plain.items))
    problem = factories.of_vectors(queries, items)
    found = factories.integers(problem, ["none"], DENSE)["t2v", "queries", "none"].ranking
    scores = factories.defined(problem)
    assert np.isfinite(scores).all() and np.abs(scores - factories.defined(plain)).max() < 1e-6
    above, tied = factories.counted(scores, found.query, found.item)
    np.testing.assert_array_equal(found.above, above)
    np.testing.assert_array_equal(found.tied, tied)
    np.testing.assert_array_equal(found.top, factories.leading(scores, 10))


@pytest.mark.parametrize("n", [1, 2, 17, 24])
def test_a_constant_problem_says_chance(n: int) -> None:
    for problem in (factories.constant(n), factories.as_scores(factories.constant(n))):
        for run in evaluate(problem, ["sinkhorn", "sinkhorn:iters=3"]).runs:
            for k in (1, 5, 10):
                assert run.metrics[f"R@{k}"].value == pytest.approx(min(100.0, 100 * k / n), abs=1e-12)
            assert run.metrics["R@1"].optimistic == 100
            assert run.metrics["R@1"].pessimistic == (100 if n == 1 else 0)


# -------------------------------------------------------------------------------------------- the defined score


def _hard(d: int, seed: int = 0, n: int = 60, m: int = 70) -> Embedded:
    """Rows whose products cancel to almost nothing, beside easy ones, through the cosine scorer."""
    draw = np.random.default_rng(seed)
    queries = draw.normal(size=(n, d)) * 10.0 ** draw.uniform(-3, 0, size=(n, d))
    items = draw.normal(size=(m, d)) * 10.0 ** draw.uniform(-3, 0, size=(m, d))
    sign = np.where(np.arange(d) % 2, 1.0, -1.0)
    items[: n // 2] = np.abs(queries[: n // 2])[:, np.arange(d) ^ 1 if d % 2 == 0 else np.arange(d)] * sign
    queries[: n // 2] = np.abs(queries[: n // 2])
    items[n // 2 : n // 2 + 9] = items[:9]
    cosine = scorers.parse("cosine")
    plan = Plan()
    return Embedded(*(cosine.prepare(part.astype(np.float32), plan) for part in (queries, items)), cosine, plan)


def _all_pairs(base: Any) -> tuple[torch.Tensor, torch.Tensor]:
    n, m = base.shape
    return torch.arange(n).repeat_interleave(m), torch.arange(m).repeat(n)


@pytest.mark.parametrize("d", [3, 512, 1000])
def test_the_defined_score_is_the_sum_of_products(d: int) -> None:
    base = _hard(d)
    query, item = _all_pairs(base)
    exact = base.exact(query, item).numpy()
    assert exact.dtype == np.float64
    q, v = base.queries.double().numpy(), base.items.double().numpy()
    for number, (row, column) in enumerate(zip(query.tolist(), item.tolist(), strict=True)):
        products = q[row] * v[column]
        assert abs(exact[number] - math.fsum(products)) <= 1e-15 * math.fsum(np.abs(products))
    smallest = np.abs(exact).min()
    assert d == 3 or smallest < 1e-6  # there is real cancellation in this


@pytest.mark.parametrize("d", [3, 24, 512, 1000])
def test_the_defined_score_is_the_definition_to_the_bit(d: int) -> None:
    base = _hard(d)
    naive = np.stack([factories.folded(row * base.items.double().numpy()) for row in base.queries.double().numpy()])
    np.testing.assert_array_equal(base.exact(*_all_pairs(base)).numpy().reshape(base.shape), naive)


@pytest.mark.parametrize("d", [13, 512, 1000])
def test_vectors_are_prepared_by_the_definition_to_the_bit(d: int) -> None:
    rows = np.random.default_rng(d).normal(size=(5000, d)).astype(np.float32)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for scorer in ("cosine", "dot"):
            np.testing.assert_array_equal(
                scorers.parse(scorer).prepare(rows, Plan()).numpy(), factories.prepared(rows, scorer)
            )


@pytest.mark.parametrize("d", [13, 512, 1000])
def test_the_defined_score_does_not_depend_on_how_it_is_asked_for(d: int) -> None:
    """Batches, order, threads, repeated pairs (which are scored once when many are asked for)."""
    base = _hard(d)
    query, item = _all_pairs(base)
    whole = base.exact(query, item)
    shuffle = torch.from_numpy(np.random.default_rng(1).permutation(len(query)))
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert torch.equal(base.exact(query, item), whole)
        assert torch.equal(base.exact(query[shuffle], item[shuffle]), whole[shuffle])
        for size in (1, 7, 64, 1365):
            few = slice(100, 100 + 3 * size)
            parts = [base.exact(query[few][k : k + size], item[few][k : k + size]) for k in range(0, 3 * size, size)]
            assert torch.equal(torch.cat(parts), whole[few])
    times = (1 << 16) // len(query) + 1
    many = base.exact(query.repeat(times), item.repeat(times))
    assert len(many) > 1 << 16 and torch.equal(many, whole.repeat(times))
    turned = Embedded(base.items, base.queries, base.scorer, base.plan)
    assert torch.equal(turned.exact(item, query), whole)


@pytest.mark.parametrize("d", [13, 512, 1000])
@pytest.mark.parametrize("scorer", ["cosine", "dot"])
def test_error_bounds_every_tile(d: int, scorer: str) -> None:
    for seed in range(3):
        hard = _hard(d, seed)
        scale = 1.0 if scorer == "cosine" else 300.0
        base = Embedded(hard.queries * scale, hard.items, scorers.parse(scorer), hard.plan)
        exact = base.exact(*_all_pairs(base)).view(base.shape)
        for size in (1, 7, 60, 1000):
            for start in range(0, base.shape[0], size):
                rows = slice(start, min(start + size, base.shape[0]))
                off = (base.tile(rows, slice(0, base.shape[1])).double() - exact[rows]).abs().max()
                assert 0 < off <= base.error
        fine = base.fine(slice(0, base.shape[0]), slice(0, base.shape[1]))
        assert (fine - exact).abs().max() <= 1e-13 * base.largest
        assert exact.abs().max() <= base.largest
        assert base.error < 2e-7 * d * base.largest  # a bound that says nothing would pass all the above


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("reverse", [False, True])
def test_error_bounds_every_tile_under_a_bias(size: float, reverse: bool) -> None:
    draw = np.random.default_rng(5)
    for d in (13, 512):
        base = _hard(d)
        n, m = reversed(base.shape) if reverse else base.shape
        bias = torch.from_numpy(draw.normal(size=m) * size).to(SUMS)
        view = View(base, reverse, column_bias(bias))
        query = torch.arange(n).repeat_interleave(m)
        exact = view.exact(query, torch.arange(m).repeat(n)).view(n, m)
        plain = View(base, reverse).exact(query, torch.arange(m).repeat(n)).view(n, m)
        np.testing.assert_array_equal(exact, plain + (bias - bias.mean()))
        whole = slice(0, base.shape[0]), slice(0, base.shape[1])
        seen, rows, columns = view.see(base.tile(*whole), *whole)
        assert (rows.stop, columns.stop) == (n, m)
        assert (seen.double() - exact).abs().max() <= view.error
        assert view.error < 1e-6 * (size * 5 + d)


def test_counts_at_the_edge_of_the_bound() -> None:
    """Cancelling scores with exact copies: nearly every pair is inside the bound, and the definition must decide."""
    base = _hard(512, n=60, m=60)
    plain = factories.of_vectors(base.queries.numpy(), base.items.numpy(), scorer="dot")
    query, item = np.divmod(np.arange(3600), 60)
    pairs = Relevance.of(query[::7], item[::7])
    scores = factories.defined(plain)
    above, tied = factories.counted(scores, pairs.query, pairs.item)
    for tile in TILES:
        view = Views(Bases(plain, Plan(tile=tile))).view("queries", "items")
        (found,) = rank([Request(view, pairs, 5)])
        np.testing.assert_array_equal(found.above, above)
        np.testing.assert_array_equal(found.tied, tied)
        np.testing.assert_array_equal(found.top, factories.leading(scores, 5))
    assert (tied > 0).any()


def test_a_device_without_memory_gets_smaller_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card cannot be had here: tiles above a size fail as they would there."""
    task = factories.hubs(70, 50, 13)
    made: list[int] = []

    def scarce(limit: int) -> None:
        plain = Embedded.tile

        def tile(self: Embedded, rows: Any, columns: Any) -> torch.Tensor:
            found = plain(self, rows, columns)
            made.append(found.numel())
            if found.numel() > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return found

        monkeypatch.setattr(Embedded, "tile", tile)

    wanted = factories.integers(task, ["none", "csls:k=3"], Plan(tile=(64, 64)))
    scarce(300)
    assert factories.differences(wanted, factories.integers(task, ["none", "csls:k=3"], Plan(tile=(64, 64)))) == []
    assert max(made) > 300 and any(150 < size <= 300 for size in made)
    scarce(0)
    with pytest.raises(torch.OutOfMemoryError):
        factories.integers(task, ["none"], Plan(tile=(64, 64)))


def test_a_kernel_that_a_device_cannot_hold_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    task, plain = factories.hubs(70, 50, 13), kernel.Kernel._finished
    view = View(Bases(task, Plan(memory=KEPT)).base("queries", "items"))
    wanted = potentials.sinkhorn(view, 0.1, iters=3)

    def scarce(self: kernel.Kernel, logits: torch.Tensor) -> torch.Tensor:
        if self.keep:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, logits)

    monkeypatch.setattr(kernel.Kernel, "_finished", scarce)
    found = potentials.sinkhorn(view, 0.1, iters=3)
    assert (wanted.path, found.path) == ("kept kernel", "streamed kernel") and torch.equal(found.bias, wanted.bias)

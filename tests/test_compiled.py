"""Loops compiled by numba count and choose what torch does, and nothing is decided otherwise with them."""

import subprocess
import sys
from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import Matrix

from nclbench import compiled
from nclbench.compiled import between as betweens
from nclbench.compiled import counts, leading
from nclbench.compiled import crossing as crossings
from nclbench.compiled.between import between
from nclbench.compiled.counts import count
from nclbench.compiled.crossing import Bars, crossing
from nclbench.compiled.leading import lead
from nclbench.compiled.products import products, units
from nclbench.plan import SUMS, Plan
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.ranking.leaders import candidates
from nclbench.scorers import dot
from nclbench.scorers.dot import Cosine, tree_sum
from nclbench.similarity.grid import tiles as tiles_of
from nclbench.similarity.pairs import Bases
from nclbench.similarity.reducers import LogSumExp
from nclbench.similarity.view import View

CASES = {
    "repeated": factories.repeated,
    "ties": factories.ties,
    "ties of scores": lambda: factories.as_scores(factories.ties(), np.float32),
    "captions": factories.captions,
    "banks": factories.with_banks,
    "words and frames": factories.with_tokens,
    "graded": factories.graded,
}


def draw(n: int, m: int, dtype: Any, seed: int = 0) -> Matrix:
    """Scores with many ties and some infinite ones."""
    scores = np.random.default_rng(seed).normal(size=(n, m)).round(1)
    scores[0, :3], scores[-1, -1] = -np.inf, np.inf
    return scores.astype(dtype)


def tiles(scores: Matrix) -> list[Matrix]:
    """The same scores in rows, in columns, as part of something wider, and with gaps."""
    wide = np.zeros((scores.shape[0] + 2, 2 * scores.shape[1] + 3), dtype=scores.dtype)
    wide[1:-1, 2 : 2 + scores.shape[1]] = scores
    gaps = np.repeat(np.repeat(scores, 2, axis=0), 3, axis=1)[::2, ::3]
    part = slice(1, -1), slice(2, 2 + scores.shape[1])
    return [scores, np.asfortranarray(scores), wide[part], wide.T.copy().T[part], gaps]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (70, 1), (40, 333), (7, 128)], ids=str)
def test_count_is_what_comparisons_count(shape: tuple[int, int], dtype: Any) -> None:
    scores = draw(*shape, dtype)
    rng = np.random.default_rng(1)
    for rows in (np.arange(shape[0]), np.arange(shape[0] // 2, shape[0]), np.sort(rng.integers(0, shape[0], 3 * shape[0]))):
        item = rng.integers(-5, shape[1] + 5, size=len(rows))  # own columns, and some of other tiles
        over = rng.normal(size=len(rows)).round(1).astype(dtype)
        under = (over - dtype(0.2)).astype(dtype)
        others = (np.arange(shape[1]) != item[:, None])
        sure = ((scores[rows] > over[:, None]) & others).sum(1)
        likely = ((scores[rows] >= under[:, None]) & others).sum(1)
        for tile in tiles(scores):
            found = np.full(len(rows), 5)
            near = count(tile, (100, 1000), rows + 100, item + 1000, over, under, found)
            np.testing.assert_array_equal(found - 5, sure)
            np.testing.assert_array_equal(near, np.flatnonzero(likely > sure))


@pytest.mark.parametrize("longest", [10, 32_767])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (70, 1), (41, 333), (8, 128), (5, 9000), (9000, 6)], ids=str)
def test_crossing_is_what_comparisons_count_in_rows_and_columns(
    shape: tuple[int, int], dtype: Any, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossings, "_HALF", longest)
    scores = draw(*shape, dtype)
    rng = np.random.default_rng(1)
    sides = []
    for axis, length in enumerate(shape):
        over = rng.normal(size=length).round(1).astype(dtype)
        own = rng.integers(-5, shape[1 - axis] + 5, size=length)  # some in other tiles
        sides.append((over, (over - dtype(0.2)).astype(dtype), own, rng.normal(size=length).round(1).astype(dtype)))
    for adding in (False, True):
        for tile in tiles(scores):
            bars = [Bars(over, under, own, np.full(len(over), 5), sides[1 - axis][3] if adding else None)
                    for axis, (over, under, own, _) in enumerate(sides)]  # fmt: skip
            near = crossing(tile, *bars)
            for axis, (over, under, own, _) in enumerate(sides):
                lines = scores if axis == 0 else scores.T
                lines = lines + sides[1 - axis][3] if adding else lines
                others = np.arange(lines.shape[1]) != own[:, None]
                sure = ((lines > over[:, None]) & others).sum(1)
                likely = ((lines >= under[:, None]) & others).sum(1)
                np.testing.assert_array_equal(bars[axis].sure - 5, sure)
                np.testing.assert_array_equal(near[axis], np.flatnonzero(likely > sure))


@pytest.mark.parametrize("shape", [(70_001, 2), (3, 70_001)], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_full_counts_do_not_run_over(shape: tuple[int, int], order: Any) -> None:
    tile = np.ones(shape, np.float32, order=order)
    rows, columns = (
        Bars(np.zeros(n, np.float32), np.zeros(n, np.float32), np.full(n, -1), np.zeros(n, np.int64)) for n in shape
    )
    near = crossing(tile, rows, columns)
    assert (rows.sure == shape[1]).all() and (columns.sure == shape[0]).all() and not len(near[0]) and not len(near[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (70, 9), (40, 333)], ids=str)
def test_lead_keeps_the_largest(shape: tuple[int, int], dtype: Any) -> None:
    scores = draw(*shape, dtype)
    for k in (1, 4, 16):
        wanted = -np.sort(-np.pad(scores.astype(float), ((0, 0), (0, k)), constant_values=-np.inf), axis=1)[:, :k]
        for tile in tiles(scores):
            best, where = np.full((shape[0], k), -np.inf), np.full((shape[0], k), -1)
            for start in range(0, shape[1], 100):
                lead(tile[:, start : start + 100], start + 7, best, where)
            np.testing.assert_array_equal(best, wanted)
            rows, places = np.nonzero(where >= 0)
            columns = where[rows, places] - 7
            np.testing.assert_array_equal(scores[rows, columns], best[rows, places])
            assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
            assert (where >= 0).sum() == np.minimum((scores > -np.inf).sum(1), k).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (70, 1), (40, 333), (7, 128)], ids=str)
def test_scores_between_bars_are_those_that_comparisons_find(shape: tuple[int, int], dtype: Any) -> None:
    scores = draw(*shape, dtype)
    rng = np.random.default_rng(5)
    scores[rng.random(shape) < 0.02] = np.nan
    added = rng.normal(size=shape[1]).round(1).astype(dtype)
    several = np.sort(rng.integers(0, shape[0], 9)), np.zeros(0, np.int64), np.arange(shape[0] // 2, shape[0], 3)
    for rows in (np.arange(shape[0]), np.array(sorted({0, shape[0] - 1})), *several):
        over = rng.normal(size=len(rows)).round(1).astype(dtype)
        for width in (0, 0.2, np.inf):  # the last: everything up to a bar, more than there is room for at first
            under = (over - dtype(width)).astype(dtype)
            over[1::7] = np.nan  # no bar: a threshold that overflowed
            for more in (None, added):
                seen = torch.from_numpy(scores[rows] if more is None else scores[rows] + more)
                high, low = (torch.from_numpy(bar)[:, None] for bar in (over, under))
                wanted = set(map(tuple, ((seen >= low) & ~(seen > high)).nonzero().tolist()))
                for tile in tiles(scores):
                    place, column = between(tile, rows, over, under, more)
                    assert len(place) == len(wanted)
                    assert set(zip(place.tolist(), column.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("width", [1, 2, 3, 64, 100, 513])
def test_products_have_the_bits_of_the_definition(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    left, right = (torch.from_numpy(rng.normal(size=(40, width)).astype(np.float32)) for _ in range(2))
    left[3], right[3] = left[3] * 1e-30, right[3] * 1e-15
    row, other = torch.from_numpy(rng.integers(40, size=(2, 90)))
    wanted = tree_sum(left.to(SUMS)[row] * right[other])
    assert torch.equal(torch.from_numpy(products(left.numpy(), right.numpy(), row.numpy(), other.numpy())), wanted)
    assert torch.equal(Cosine().chosen(left, right, row, other), wanted)
    monkeypatch.setattr(compiled, "loaded", lambda: True)
    monkeypatch.setattr(Cosine, "pairs", None)
    assert torch.equal(Cosine().chosen(left, right, row, other), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ">f4"], ids=str)
@pytest.mark.parametrize("width", [1, 3, 64, 513])
def test_units_have_the_bits_of_the_definition(width: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(3).normal(size=(50, width)).astype(dtype)
    if vectors.dtype.itemsize > 2:
        vectors[3], vectors[4], vectors[5, 1:] = vectors[3] * 1e-30, vectors[4] * 1e30, 0
    wanted, used = Cosine().prepare(vectors, Plan()), []
    monkeypatch.setattr(compiled, "loaded", lambda: True)
    monkeypatch.setattr(dot, "units", lambda given: (used.append(1), units(given))[1])
    assert torch.equal(Cosine().prepare(vectors, Plan()), wanted)
    assert torch.equal(Cosine().prepare(vectors[::2, ::-1][:, ::-1], Plan()), wanted[::2])
    assert len(used) == (2 if dtype in (np.float32, np.float64) else 0)


@pytest.mark.parametrize("case", CASES)
def test_every_operator_has_the_same_integers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = CASES[case]()
    plain = factories.integers(problem, factories.specs(), Plan())
    used = []
    monkeypatch.setattr(compiled, "loaded", lambda: True)
    for module in (betweens, counts, crossings, leading):
        monkeypatch.setattr(module, "loop", lambda function: (used.append(function.__name__), compiled.loop(function))[1])
    for tile in ((1024, 1024), (7, 5)):
        assert factories.differences(plain, factories.integers(problem, factories.specs(), Plan(tile=tile))) == []
    one_to_one = {"_cross"} if case in ("repeated", "ties", "ties of scores") else set()
    unsure = {"_along", "_across_all"} if case not in ("banks", "graded") else set()
    assert {"_count_rows", "_lead_rows"} | one_to_one | unsure <= set(used)


def test_tiles_are_wider_for_what_is_compiled_and_certified_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(Bases(factories.hubs(40, 40), Plan(tile=(10, 5))).base("queries", "items"))
    best, summed = (view, candidates(view, 3)), (view, LogSumExp(1.0, torch.zeros(40, dtype=SUMS)))

    def shapes(*jobs: Any) -> set[tuple[int, int]]:
        return {(rows.stop - rows.start, columns.stop - columns.start) for strip in tiles_of(jobs) for rows, columns in strip}

    assert shapes(best) == shapes(best, summed) == {(10, 5)}
    monkeypatch.setattr(compiled, "loaded", lambda: True)
    assert shapes(best) == {(10, 10)} and shapes(best, summed) == {(10, 5)}


@pytest.mark.parametrize("spec", ["csls:k=1", "dsl:tau=0.05"])
def test_scores_that_overflow_under_an_operator_have_the_same_ranks(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.full((40, 40), -1.7e308)
    scores[:, :3] = 1.0
    sides = (Embeddings(tuple(f"{side}{row}" for row in range(40)), None) for side in "qi")
    problem = Problem(*sides, Relevance.of_items(np.arange(40)), scores={("queries", "items"): scores})
    plain = factories.integers(problem, [spec], Plan())
    monkeypatch.setattr(compiled, "loaded", lambda: True)
    differences = factories.differences(plain, factories.integers(problem, [spec], Plan()))
    assert [each for each in differences if "t2v" in each] == []  # those of v2t are no numbers, and have no order


def test_what_is_small_loads_no_compiler_and_what_is_large_does() -> None:
    code = (
        "import sys; from nclbench import compiled\n"
        "print(compiled.worthwhile(10**6), 'numba' in sys.modules, compiled.worthwhile(10**9))\n"
        "import numba; print(compiled.worthwhile(1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "True"]
    missing = "import sys; sys.modules['numba'] = None; from nclbench import compiled; print(compiled.worthwhile(10**12))"
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_whoever_counts_megabytes_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Plan().compiles(1 << 28) and Plan(memory=1 << 30).compiles(1 << 28)
    assert not Plan().compiles((1 << 28) - 1) and not Plan(memory=1 << 29).compiles(1 << 40)
    assert not Plan(device="cuda").compiles(1 << 40)
    monkeypatch.setattr(compiled, "loaded", lambda: True)
    assert Plan(memory=1).compiles(1)

"""Tiles of float16 operands: their bounds hold, and no integer depends on them. On a processor the same operands are
multiplied in float32, which rounds less than a tensor core may; those who have a device find its tests in test_device.py."""

from functools import cache
from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import KEPT, LAWFUL, STREAMED, Found

from nclbench.machine.threads import plainly
from nclbench.plan import HALF, SCORES, SUMS, Plan
from nclbench.problem import Problem, Relevance
from nclbench.ranking import counting
from nclbench.ranking.choosing import Leaders
from nclbench.ranking.ranks import Request, rank
from nclbench.scorers.dot import Cosine, Dot
from nclbench.similarity import halves
from nclbench.similarity.bases import Embedded
from nclbench.similarity.compounds import Beside
from nclbench.similarity.halves import Halves, Side, growth
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.similarity.views import Views

SPECS = ["none", "csls:k=3", "is:tau=0.05", "sinkhorn:tau=0.1,iters=3", "dsl:tau=0.1", "dis:tau=0.1,k=2", "dbsn:tau=0.1,iters=2"]

pytestmark = pytest.mark.usefixtures("one_thread")


def lengths(n: int = 50, d: int = 24, ratio: float = 6.0) -> Problem:
    """Under dot, from short to `ratio` times longer vectors; repeated items tie."""
    draw = np.random.default_rng(5)
    items = draw.normal(size=(n, d)) * np.exp(draw.uniform(0, np.log(ratio), size=(n, 1)))
    items[n // 2 : n // 2 + 8] = items[:8]
    queries = (items + draw.normal(size=items.shape)) * np.exp(draw.uniform(0, np.log(ratio), size=(n, 1)))
    return factories.of_vectors(queries.astype(np.float32), items.astype(np.float32), scorer="dot")


def entries(size: float, d: int = 24) -> Problem:
    """Entries about this large, some a million times smaller, some 0, many of them equal."""
    draw = np.random.default_rng(6)
    items = draw.normal(size=(40, d)) * size
    items[:, ::5] *= 1e-6
    items[::3, ::7] = 0.0
    queries = items[draw.permutation(40)] + draw.normal(size=(40, d)) * size
    items[20:25] = items[:5]
    return factories.of_vectors(queries.astype(np.float32), items.astype(np.float32), scorer="dot")


def close(n: int = 48, d: int = 40) -> Problem:
    """Items that float16 cannot tell apart, among them some that are equal: nearly every pair must be scored."""
    draw = np.random.default_rng(7)
    items = (draw.normal(size=d) + 1e-4 * draw.normal(size=(n, d))).astype(np.float32)
    items[::6] = items[1]
    return factories.of_vectors((items + 0.3 * draw.normal(size=(n, d))).astype(np.float32), items)


CASES = {
    **{name: make for name, make in LAWFUL.items() if "scores" not in name},
    "hubs-wide": lambda: factories.hubs(90, 70, 64, seed=3),
    "lengths": lengths,
    "lengths-far": lambda: lengths(ratio=1e5),
    "close": close,
    **{f"entries-{size:g}": lambda size=size: entries(size) for size in (1e-41, 1e-20, 1e-4, 1e12)},
}


@cache
def problem_of(case: str) -> Problem:
    return CASES[case]()


@cache
def plain(case: str) -> dict[tuple[str, str, str], Found]:
    return factories.integers(problem_of(case), specs_of(case), Plan(memory=KEPT))


def specs_of(case: str) -> list[str]:
    """At a temperature of 0.1 the smallest scores are all the same but for rounding of the fit."""
    return SPECS[:2] if case in ("entries-1e-41", "entries-1e-20") else SPECS


@pytest.mark.parametrize(("tile", "memory"), [((1024, 1024), KEPT), ((7, 5), STREAMED)], ids=["dense", "streamed"])
@pytest.mark.parametrize("case", CASES)
def test_no_integer_depends_on_the_operands(case: str, tile: tuple[int, int], memory: int) -> None:
    """Ranks, ties and the ten best, both directions, raw and through operators with a map of every kind."""
    found = factories.integers(problem_of(case), specs_of(case), Plan(tile=tile, memory=memory, half=True))
    assert factories.differences(plain(case), found) == []


def test_the_laws_are_about_halves() -> None:
    """The tiles that were ranked by are other numbers, in every case but those that refuse them, and many pairs tie."""
    refused = set()
    for case in CASES:
        base = Bases(problem_of(case), Plan(half=True)).base("queries", "items")
        whole = slice(0, base.shape[0]), slice(0, base.shape[1])
        if base.roughness == base.error:
            refused.add(case)
            assert torch.equal(base.rough(*whole), base.tile(*whole))
        elif not case.startswith("ties-dot"):  # whose few digits are exact
            assert not torch.equal(base.rough(*whole), base.tile(*whole)), case
    assert refused == {"tokens", "tokens-banks", "lengths-far", "entries-1e-41", "entries-1e-20"}
    for case in ("close", "lengths", "entries-0.0001"):
        raw = plain(case)["t2v", "queries", "none"].ranking
        assert raw is not None and (raw.tied > 0).mean() > 0.1, case


@pytest.mark.parametrize("k", [1, 10])
def test_the_best_of_wide_ties(k: int) -> None:
    problem = factories.ties(n=40, m=160, d=3, scorer="cosine")
    view = Views(Bases(problem, Plan(tile=(64, 97), half=True))).view("queries", "items")
    (found,) = rank([Request(view, problem.relevance, k)])
    scores = factories.defined(problem)
    np.testing.assert_array_equal(found.top, factories.leading(scores, k))
    above, tied = factories.counted(scores, problem.relevance.query, problem.relevance.item)
    np.testing.assert_array_equal(found.above, above)
    np.testing.assert_array_equal(found.tied, tied)


# ---------------------------------------------------------------------------------------------------------- bounds


def worst(d: int, split: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Every entry loses as much as rounding may take, in one direction, and the other side is what adds that up."""
    step = 2.0**-11 - 2.0**-23 if not split else 2.0**-11 + 2.0**-12 - 2.0**-22
    queries = torch.full((3, d), 1.0 + step, dtype=SCORES)
    items = torch.ones((3, d), dtype=SCORES)
    return queries, items


def off(found: Halves, queries: torch.Tensor, items: torch.Tensor) -> float:
    exact = queries.to(SUMS) @ items.to(SUMS).T
    return float((found.tile(slice(None), slice(None)).to(SUMS) - exact).abs().max())


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("d", [3, 13, 512, 1000])
def test_the_bound_holds_for_every_entry(d: int, split: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "_LOOSE", float("inf"))
    draw = torch.Generator().manual_seed(d)
    some = [torch.randn((70, d), generator=draw) for _ in range(2)]
    uniform = [torch.rand((70, d), generator=draw) for _ in range(2)]
    wide = [torch.randn((70, d), generator=draw) * 10.0 ** torch.randint(-9, 1, (1, d), generator=draw) for _ in range(2)]
    for scale in (1e-15, 1.0, 3e12):
        for queries, items in (some, uniform, wide, worst(d, split)):
            q, v = queries * scale, items * 7.0
            found = Halves.of(q, v, split)
            assert found is not None and found.left.dtype == HALF
            assert off(found, q, v) <= found.error
            # and it is no wider than what a tensor core is allowed on top of rounding
            lengths = float(q.norm(dim=1).max() * v.norm(dim=1).max())
            assert found.error <= (1.1 * growth(3 * d if split else d) + (2.0**-20 if split else 2.0**-9.9)) * lengths + 1e-37


def test_the_bound_is_reached() -> None:
    """One ten times smaller would be wrong: where rounding does its worst, the error is more than half of the bound."""
    queries, items = worst(64, split=False)
    found = Halves.of(queries, items)
    assert found is not None and 0.5 * found.error < off(found, queries, items) <= found.error


def test_a_smaller_bound_makes_wrong_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the certificate is for: with a thousandth of it ranks of close items come out wrong."""
    problem = problem_of("close")
    honest = Halves.of.__func__  # type: ignore[attr-defined]

    def bold(cls: Any, *given: Any) -> Any:
        found = honest(cls, *given)
        return Halves(found.left, found.right, found.scale, found.error / 1000)

    monkeypatch.setattr(Halves, "of", classmethod(bold))
    found = factories.integers(problem, ["none"], Plan(half=True))
    assert factories.differences({key: plain("close")[key] for key in found}, found) != []


def test_two_halves_are_nearly_single_precision() -> None:
    draw = torch.Generator().manual_seed(1)
    queries, items = (Cosine().prepare(torch.randn((200, 512), generator=draw).numpy(), Plan()) for _ in range(2))
    one, two = Halves.of(queries, items), Halves.of(queries, items, split=True)
    assert one is not None and two is not None
    assert off(two, queries, items) < 5e-7 < 5e-5 < off(one, queries, items)
    assert two.left.shape == (200, 3 * 512) and one.left.shape == (200, 512)


def test_nothing_overflows_and_little_is_subnormal() -> None:
    draw = torch.Generator().manual_seed(2)
    for size in (1e-30, 1e-12, 1e-3, 65000.0, 1e15):
        vectors = torch.randn((30, 20), generator=draw) * size
        side = Side.of(vectors, split=False)
        assert torch.isfinite(side.high).all() and side.high.abs().max() <= 2.0**15
        if size > 1e-20:
            assert side.high.abs().max() >= 2.0**14 and side.lost < 2.0**-11 * side.length
    assert Side.of(torch.zeros((4, 3)), split=True).lost == 0.0


def test_what_cannot_be_decided_is_left_to_single_precision() -> None:
    draw = torch.Generator().manual_seed(3)
    vectors = torch.randn((30, 20), generator=draw)
    long = vectors.clone()
    long[0] *= 1e4
    assert Halves.of(vectors, vectors) is not None and Halves.of(long, vectors) is None
    assert Embedded(long, vectors, Dot(), Plan(half=True)).roughness == Dot().error(long, vectors, Dot().largest(long, vectors))


# ------------------------------------------------------------------------------------------------------- the price


def test_few_scores_are_decided_again() -> None:
    """About as many as the bound is wide beside the spread of scores: 1 in 1000 of ordinary cosines."""
    problem = factories.hubs(1500, 1500, 256, noise=4.0)
    again: list[int] = []

    def count(half: bool) -> float:
        again.clear()
        view = Views(Bases(problem, Plan(half=half))).view("queries", "items")
        query, item = (torch.from_numpy(part) for part in (problem.relevance.query, problem.relevance.item))

        def exact(q: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            again.append(len(q))
            return view.exact(q, v)

        view.reduce(counting.CountAbove(query, item, view.exact(query, item), exact, view.roughness, view.tolerance))
        return sum(again) / (1500 * 1500)

    assert count(half=False) < 3e-4
    assert 3e-5 < count(half=True) < 5e-3


def test_only_what_is_settled_sees_rough_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits and counts by the tiles' own values get better ones, and a pass for both makes one kind."""
    made: list[str] = []
    for name in ("tile", "rough", "fine"):
        whole = getattr(Embedded, name)
        monkeypatch.setattr(Embedded, name, lambda *given, whole=whole, name=name: (made.append(name), whole(*given))[1])
    from nclbench.similarity.reducers import Below, Moments

    problem = factories.hubs(30, 30, 16)
    view = View(Bases(problem, Plan(half=True)).base("queries", "items"))
    leaders = Leaders(4)

    class Silent:
        """Of a package that was written before reducers said so."""

        def __getattr__(self, name: str) -> Any:
            if name == "settles":
                raise AttributeError(name)
            return getattr(Below(0.0), name)

    for reducers, kinds in (([leaders], {"rough"}), ([Below(0.0)], {"tile"}), ([Silent()], {"tile"}),
                            ([Below(0.0), leaders], {"tile"}),
                            ([Moments(), leaders], {"fine", "rough"})):  # fmt: skip
        made.clear()
        view.reduce(*reducers)
        assert set(made) == kinds


def test_columns_side_by_side_are_as_rough_as_their_tiles() -> None:
    """`Beside` makes no rough tiles, so that its bound need not be theirs."""
    base = Bases(factories.hubs(30, 40, 16), Plan(half=True)).base("queries", "items")
    both = Beside(View(base), View(base))
    assert both.roughness == both.error == base.error < base.roughness
    assert torch.equal(both.rough(slice(0, 9), slice(20, 60)), both.tile(slice(0, 9), slice(20, 60)))


def test_scores_that_are_kept_are_ranked_from() -> None:
    problem = factories.hubs(60, 60, 16)
    for memory in (KEPT, STREAMED):
        one, other = (
            rank([Request(Views(Bases(problem, Plan(half=half, memory=memory), keep=True)).view("queries", "items"),
                          Relevance.of_items(np.arange(60)), 5)])[0]
            for half in (False, True)
        )  # fmt: skip
        np.testing.assert_array_equal(one.above, other.above)
        np.testing.assert_array_equal(one.top, other.top)


# ---------------------------------------------------------------------------------------- what a device is asked


def test_a_card_that_is_named_is_the_present_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from nclbench import plan

    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(plan, "_multiplies_halves", lambda device: True)
    assert [plan.choose(name).device for name in ("cuda", "cuda:1", "cuda:0")] == ["cuda", "cuda:1", "cuda:0"]
    assert chosen == [1, 0]


def test_a_product_that_is_added_in_float16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from nclbench import plan

    for kind, taken in ((SCORES, True), (HALF, False)):
        with monkeypatch.context() as device:
            device.setattr(torch, "mm", lambda a, b, out_dtype, kind=kind: (a.float() @ b.float()).to(kind).to(out_dtype))
            assert plan._multiplies_halves("cpu") == taken


def test_modes_of_the_caller_are_off_on_a_device_too() -> None:
    torch.set_autocast_enabled("cuda", True)
    try:
        with plainly():
            assert not torch.is_autocast_enabled("cuda")
        assert torch.is_autocast_enabled("cuda")
    finally:
        torch.set_autocast_enabled("cuda", False)


def test_a_device_is_asked_for_float32_results() -> None:
    """torch's own rules for shapes and types, without a device: the call is one that it knows."""
    left, right = (torch.empty((n, 24), dtype=HALF, device="meta") for n in (5, 7))
    found = torch.mm(left, right.T, out_dtype=SCORES)
    assert (found.dtype, tuple(found.shape)) == (SCORES, (5, 7))
    with pytest.raises(RuntimeError):
        torch.mm(left, right.T, out_dtype=SUMS)


def test_where_the_product_is_refused_single_precision_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from nclbench import plan

    assert not plan._multiplies_halves("cpu")  # torch has it on CUDA alone
    monkeypatch.setattr(plan, "_device", lambda name: "cuda")
    monkeypatch.setattr(plan, "_multiplies_halves", lambda device: False)
    refused = plan.choose("cuda")
    assert not refused.half and not refused.packed and refused.tile == (8192, 8192)
    monkeypatch.setattr(plan, "_multiplies_halves", lambda device: True)
    assert plan.choose("cuda").half and not plan.choose("cuda").fused
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    matmul = torch.backends.cuda.matmul
    assert not matmul.allow_fp16_reduced_precision_reduction and not getattr(matmul, "allow_fp16_accumulation", False)
    assert plan.describe(refused)["products"] == "float32"
    assert plan.describe(plan.choose("cuda"))["products"] == "float16 where vectors allow, certified"
    assert "products" not in plan.describe(Plan())

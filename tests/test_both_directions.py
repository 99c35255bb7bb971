"""What both directions are asked is found at once, by the same looks, and is what each finds alone, to the bit."""

from typing import Any

import factories
import numpy as np
import pytest
import torch

from nclbench import evaluate
from nclbench.fusion import fuse
from nclbench.plan import Plan
from nclbench.similarity.bases import Embedded, Stored
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn import balance, kernel, precision, strips
from nclbench.sinkhorn.potentials import sinkhorn

SHAPES = [(67, 45), (45, 67), (50, 50)]
ROOM, NOTHING = 1 << 30, 1
SPECS = [
    "sinkhorn:tau=0.02,iters=6",
    "sinkhorn:tau=0.02,iters=6,start=query",
    "sinkhorn:tau=0.05,iters=0,start=query",
    "sinkhorn:tau=0.02",
    "sinkhorn:tau=0.01,tol=0.01",
]


@pytest.fixture(params=["single", "double"])
def _precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """Several strips and blocks; single: as large problems are done."""
    if request.param == "single":
        for name in ("EXACT", "LOPSIDED"):
            monkeypatch.setattr(precision, name, 0)
    for name, value in {"ONE": 0, "STRIP": 400, "BLOCK": 90, "PART": 60}.items():
        monkeypatch.setattr(strips, name, value)
    torch.set_num_threads(2)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many asks each look at a kernel, and each scaling of one (0), had."""
    seen: list[int] = []
    passes, scale = kernel.Kernel._passes, kernel.Kernel._scale
    monkeypatch.setattr(kernel.Kernel, "_passes", lambda self, asks: (seen.append(len(asks)), passes(self, asks))[1])
    monkeypatch.setattr(kernel.Kernel, "_scale", lambda self, bias: (seen.append(0), scale(self, bias))[1])
    return seen


@pytest.mark.usefixtures("_precision")
@pytest.mark.parametrize("span", [None, 1.0])
@pytest.mark.parametrize("memory", [ROOM, NOTHING])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_direction_is_as_alone(
    shape: tuple[int, int], memory: int, span: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """span: also where weights may span so little that the kernel must be scaled anew, and directions go their own ways."""
    for kind in precision.SPAN if span else ():
        monkeypatch.setitem(precision.SPAN, kind, span)
    task = factories.hubs(*shape, 14, 4, noise=2.0)
    both = evaluate(task, SPECS, metrics=["R@1", "MnR"], plan=Plan(memory=memory))
    for direction in ("t2v", "v2t"):
        for spec in SPECS:  # by itself, so that nothing is left by another either
            alone = evaluate(task, spec, direction=direction, metrics=["R@1", "MnR"], plan=Plan(memory=memory))
            np.testing.assert_array_equal(bias(both, direction, spec), bias(alone, direction, spec))
            mine, other = (
                [(run.metrics, run.operator, run.convergence) for run in found.runs if (run.direction, run.operator.spec) == key]
                for found, key in ((both, (direction, spec)), (alone, (direction, spec)))
            )
            assert len(mine) > 0 and mine == other


def fused(task: Any) -> Any:
    return fuse([(0.25, task), (0.75, factories.as_scores(task, np.float32))])


@pytest.mark.usefixtures("_precision")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", [lambda task: task, lambda task: factories.as_scores(task, np.float32), fused])
def test_plain_iterates_of_both_share_every_look(shape: tuple[int, int], kind: Any, looks: list[int]) -> None:
    task = kind(factories.hubs(*shape, 14, 4, noise=2.0))
    evaluate(task, "sinkhorn:tau=0.05,iters=5")
    assert looks == [0, *[2] * 7]  # what the rows draw, and six passes; six, and one for the error
    looks.clear()
    evaluate(task, "sinkhorn:tau=0.05,iters=5", direction="v2t")
    assert looks == [0, *[1] * 7]


@pytest.mark.usefixtures("_precision")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_solution_serves_both_directions(shape: tuple[int, int], looks: list[int]) -> None:
    task = factories.hubs(*shape, 14, 4, noise=2.0)
    assert shape[0] != shape[1] or View(Embedded(*vectors(task))).lean != 0
    found = evaluate(task, "sinkhorn:tau=0.05")
    steps = [run.convergence.iterations for run in found.runs if run.convergence]
    # one look for each step and one more, one that finds the other direction's error
    assert steps[0] == steps[1] > 2 and looks == [0, *[1] * (steps[0] + 2)]


def bias(found: Any, direction: str, spec: str) -> Any:
    items = found.items
    values = items["bias"][(items["direction"] == direction) & (items["spec"] == spec)]
    assert len(values) >= 45 and np.isfinite(values).all()
    return values


def cosines(n: int, m: int) -> Any:
    queries, items, _, _ = vectors(factories.hubs(n, m, 14, 4, noise=2.0))
    return queries.double().numpy() @ items.double().numpy().T


def softmax(logits: Any) -> Any:
    found = np.exp(logits - logits.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def vectors(task: Any) -> tuple[Any, ...]:
    base: Any = Bases(task, Plan()).base("queries", "items")
    return base.queries, base.items, base.scorer, base.plan


@pytest.mark.parametrize("exchanged", [False, True])
def test_where_sides_are_as_long_the_data_say_which_is_accelerated(exchanged: bool) -> None:
    queries, items, scorer, plan = vectors(factories.hubs(50, 50, 14, 4, noise=2.0))
    sides = (items, queries) if exchanged else (queries, items)
    view = View(Embedded(*sides, scorer, plan))
    a, b = ((one.double() @ other.double().T).sum(1).square().sum() for one, other in (sides, sides[::-1]))
    assert view.lean == pytest.approx(float((a - b) / (a + b)), rel=1e-3) and view.reversed().lean == -view.lean
    same = View(Embedded(queries, queries.clone(), scorer, plan))
    assert same.lean == 0
    shuffled = View(Embedded(sides[0][torch.randperm(50)], sides[1][torch.randperm(50)], scorer, plan))
    assert shuffled.lean == pytest.approx(view.lean, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tau", [0.05, 0.01])
def test_both_solutions_are_within_the_tolerance_whatever_the_weights(shape: tuple[int, int], tau: float) -> None:
    """mean |p / c - 1| counts items alike: with unequal weights the other direction's may be above, and is then brought below."""
    scores = cosines(*shape)
    draw = np.random.default_rng(5)
    weights = [np.exp(2.0 * draw.normal(size=length)) for length in shape]
    r, c = (weight / weight.sum() for weight in weights)
    more = 0
    for tol in (1e-2, 1e-4, 1e-7):
        for s, rows, columns, reverse in ((scores, r, c, False), (scores.T, c, r, True)):
            view = View(Stored(np.ascontiguousarray(scores), Plan()), reverse=reverse)
            found = sinkhorn(view, tau, tol=tol, row_mass=torch.from_numpy(rows), column_mass=torch.from_numpy(columns))
            p = rows @ softmax(s / tau + found.bias.numpy())
            assert np.abs(p / columns - 1).mean() == pytest.approx(found.marginal_error, rel=1e-4, abs=1e-13)
            assert found.converged and found.marginal_error <= tol
            np.testing.assert_allclose(found.mass.numpy(), p / columns, rtol=1e-9)
            more += found.iterations
    assert more > 0


def test_the_other_direction_that_is_still_above_the_tolerance_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the first answer were far off: the columns are brought nearer, and the answer is no worse for it."""
    plain, told = balance.asked_of_rows, []

    def doubted(*given: Any) -> Any:
        found = plain(*given)
        told.append(found.marginal_error)
        object.__setattr__(found, "converged", found.converged and len(told) > 3)
        return found

    monkeypatch.setattr(balance, "asked_of_rows", doubted)
    view = View(Stored(cosines(67, 45), Plan()), reverse=True)
    found = sinkhorn(view, 0.02, tol=1e-4)
    assert len(told) == 4 and found.converged and told[-1] < told[0] / 4 and found.marginal_error == told[-1]
    told.clear()
    short = sinkhorn(view, 0.02, tol=1e-4, max_iters=3)
    assert len(told) == 1 and not short.converged and short.iterations == 3


@pytest.mark.usefixtures("_precision")
@pytest.mark.parametrize("tau", [0.05, 0.002])
def test_what_rows_draw_is_the_same_from_the_kernel_and_from_the_scores(tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cold, what rows draw spans more than a kernel in single precision holds: then the scores are looked at."""
    looked, plain = [], kernel.Kernel._looked
    monkeypatch.setattr(kernel.Kernel, "_looked", lambda self, weights: (looked.append(1), plain(self, weights))[1])
    scores = cosines(67, 45)
    scores *= np.linspace(0.2, 1, 67)[:, None]
    weights = np.exp(np.random.default_rng(2).normal(size=67))
    logits = scores / tau + np.log(weights)[:, None]
    wanted = np.log(np.exp(logits - logits.max(0)).sum(0)) + logits.max(0)
    kind = precision.of(67, 45)
    answers = []
    for memory in (ROOM, NOTHING):
        stored = Stored(scores.astype(np.float32 if kind == torch.float32 else np.float64), Plan(memory=memory))
        made = kernel.Kernel.of(View(stored), tau, torch.full((67,), 1 / 67, dtype=torch.float64))
        assert made is not None
        answers.append(made.passed(kernel.Drawn(torch.from_numpy(weights))).log_mass)
        np.testing.assert_allclose(answers[-1].numpy(), wanted, rtol=0, atol=1e-11 if kind == torch.float64 else 2e-7 / tau)
    assert torch.equal(*answers)
    assert len(looked) == (2 if tau < 0.01 and kind == torch.float32 else 0)


def test_what_is_too_cold_is_done_in_logarithms_in_both_directions() -> None:
    queries = np.random.default_rng(0).normal(size=(2100, 3)).astype(np.float32)
    view = View(Stored(queries @ queries[:2050].T, Plan()))
    asked = {"iters": 2, "start": "gallery"}
    for each in (view, view.reversed()):
        found = sinkhorn(each, 1e-3, **asked)  # type: ignore[arg-type]
        assert found.path == "log domain" and found.error == 0
        logits = (queries @ queries[:2050].T).astype(np.float64) / 1e-3
        logits = logits.T if each.reverse else logits
        bias = -_log_sum(logits, 0)
        for _ in range(2):
            rows = -_log_sum(logits + bias, 1)
            bias = -_log_sum(logits + rows[:, None], 0)
        ours = found.bias.numpy()
        np.testing.assert_allclose(ours - ours.mean(), bias - bias.mean(), rtol=0, atol=1e-8)


def _log_sum(logits: Any, axis: int) -> Any:
    top = logits.max(axis, keepdims=True)
    return np.log(np.exp(logits - top).sum(axis)) + top.squeeze(axis)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("asked", [{"iters": 300}, {"iters": 300, "start": "query"}, {"tol": 1e-4}], ids=str)
def test_equal_items_of_unequal_weights_differ_by_their_targets(
    asked: dict[str, Any], reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision, where what is truly equal is made equal: attraction is, biases are not."""
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    queries, items, scorer, plan = vectors(factories.hubs(40, 30, 14, 4, noise=2.0))
    queries[1], items[3] = queries[0], items[2]
    view = View(Embedded(queries, items, scorer, plan), reverse=reverse)
    weights = [torch.ones(length, dtype=torch.float64) for length in (40, 30)]
    weights[0][1], weights[1][3] = 3.0, 5.0
    rows, columns = reversed(weights) if reverse else weights
    found = sinkhorn(view, 0.05, row_mass=rows, column_mass=columns, **asked)
    a, b, ratio = (0, 1, 3.0) if reverse else (2, 3, 5.0)
    assert float(found.bias[b] - found.bias[a]) == pytest.approx(np.log(ratio), abs=1e-9)
    s = (items.double() @ queries.double().T if reverse else queries.double() @ items.double().T).numpy()
    p = (rows / rows.sum()).numpy() @ softmax(s / 0.05 + found.bias.numpy())
    error = np.abs(p / (columns / columns.sum()).numpy() - 1).mean()
    assert found.converged and error == pytest.approx(found.marginal_error, rel=0.05, abs=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_tolerance_below_what_numbers_can_tell_ends(reverse: bool) -> None:
    for n, m in ((2, 3), (2, 5), (3, 9)):
        for seed in range(5):
            view = View(Stored(np.random.default_rng(seed).normal(size=(n, m)), Plan()), reverse=reverse)
            found = sinkhorn(view, 0.5, tol=1e-17, max_iters=40)
            assert found.iterations <= 40 and found.marginal_error < 1e-12


def test_where_directions_part_the_first_goes_on_and_progress_never_goes_back(
    looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    task, kept = factories.hubs(67, 45, 14, 4, noise=2.0), kernel.Kernel.together
    evaluate(task, "sinkhorn:tau=0.05,iters=9", plan=Plan(report=lambda stage, done, total: told.append(done)))
    assert told[:10] == list(range(10)) and looks == [0, *[2] * 11]
    looks.clear()

    def parting(self: kernel.Kernel, asks: Any) -> Any:
        return None if len(looks) == 6 and len(asks) > 1 else kept(self, asks)

    monkeypatch.setattr(kernel.Kernel, "together", parting)
    told.clear()
    found = evaluate(task, "sinkhorn:tau=0.05,iters=9", plan=Plan(report=lambda stage, done, total: told.append(done)))
    # the first from where it stood; the other from the beginning
    assert looks == [0, *[2] * 5, *[1] * 6, *[1] * 11] and told[:10] == list(range(10))
    monkeypatch.setattr(kernel.Kernel, "together", kept)
    assert [run.metrics for run in found.runs] == [run.metrics for run in evaluate(task, "sinkhorn:tau=0.05,iters=9").runs]


def test_what_rows_draw_of_a_kernel_in_float16_is_as_near_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows draw a column of which float16 loses every entry but one."""
    n, m = 20_000, 60
    logits = np.full((n, m), -40.0, np.float32)
    logits[np.arange(1, n), np.random.default_rng(0).integers(1, m, n - 1)] = 0
    logits[:, 0] = -28.6
    logits[0] = -40.0
    logits[0, 0] = -17.5
    answers = []
    for limit, plan in ((1 << 40, Plan()), (0, Plan(packed=True, memory=2 * n * m + 10))):
        for name in ("EXACT", "LOPSIDED"):
            monkeypatch.setattr(precision, name, limit)
        answers.append(sinkhorn(View(Stored(logits.copy(), plan)), 1.0, iters=0))
    exact, packed = answers
    assert (exact.path, packed.path, exact.error) == ("kept kernel", "kept kernel, half", 0)
    apart = packed.bias - exact.bias
    assert float(apart.max() - apart.min()) < packed.error

"""Sinkhorn equals POT, UCoFiA's loop and the golden values of published code, at every temperature, on both paths."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import numpy.typing as npt
import ot
import pytest
import torch
from factories import KEPT, STREAMED
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from nclbench import Results, evaluate
from nclbench.bench.data import Data
from nclbench.bench.stages import Stages
from nclbench.errors import ConvergenceError, NotAvailable, UsageError
from nclbench.operators import operators
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.results import Run, Value
from nclbench.scorers import scorers
from nclbench.similarity.bases import Embedded, Stored
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.similarity.views import Views
from nclbench.sinkhorn import kernel, precision, strips
from nclbench.sinkhorn.potentials import sinkhorn
from nclbench.sinkhorn.tasks import Potentials

Matrix = npt.NDArray[Any]
GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
SHAPES = [(40, 40), (60, 25), (25, 60)]

pytestmark = pytest.mark.usefixtures("one_thread")


def cosines(n: int, m: int, seed: int = 4, d: int = 14) -> Matrix:
    return factories.defined(factories.hubs(n, m, d, seed, noise=2.0))


def fit(
    scores: Matrix, tau: float, memory: int = STREAMED, tile: tuple[int, int] = (16, 16), **more: Any
) -> Potentials:
    masses = {key: torch.from_numpy(more.pop(key)) for key in ("row_mass", "column_mass") if key in more}
    return sinkhorn(View(Stored(scores, Plan(memory=memory, tile=tile))), tau, **more, **masses)


def centred(values: Any) -> Matrix:
    values = np.asarray(values, dtype=float).ravel()
    return values - values.mean()


def plan_of(scores: Matrix, tau: float, bias: Any, row_mass: Matrix | None = None) -> Matrix:
    """(N, M) the coupling with its rows normalised, by the definition."""
    n = len(scores)
    r = np.full(n, 1 / n) if row_mass is None else row_mass / row_mass.sum()
    logits = scores / tau + np.asarray(bias)
    return np.exp(logits - logsumexp(logits, axis=1, keepdims=True)) * r[:, None]


def shares(n: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).uniform(0.2, 3.0, size=n)


def masses(n: int, m: int, given: bool) -> tuple[Matrix, Matrix, dict[str, Matrix]]:
    """Both marginals, summing to one, and what to pass so that they are used (of another scale)."""
    if not given:
        return np.full(n, 1 / n), np.full(m, 1 / m), {}
    r, c = shares(n, 1), shares(m, 2)
    return r / r.sum(), c / c.sum(), {"row_mass": r, "column_mass": c}


# ------------------------------------------------------------------------------------------------- against POT


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("tau", [0.1, 0.05, 0.02])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_converged_plan_is_pots(shape: tuple[int, int], tau: float, given: bool, memory: int) -> None:
    scores = cosines(*shape)
    r, c, more = masses(*shape, given)
    # the cost of POT is a distance; its first argument is the side that is normalised last
    theirs = ot.bregman.sinkhorn_log(c, r, -scores.T, tau, numItermax=20_000, stopThr=1e-13, warn=False).T
    ours = {}
    for start in ("gallery", "query"):
        found = fit(scores, tau, memory, start=start, tol=1e-12, max_iters=20_000, **more)
        assert found.converged and found.marginal_error <= 1e-12
        assert found.path == ("streamed kernel" if memory == STREAMED else "kept kernel")
        ours[start] = plan_of(scores, tau, found.bias, r)
        assert np.abs(ours[start] - theirs).max() < 1e-9 / shape[0]
        np.testing.assert_allclose(ours[start].sum(axis=0), c, rtol=1e-10)
        np.testing.assert_allclose(found.mass, 1, rtol=0, atol=1e-9)
    if tau >= 0.05:  # plain exponentials
        plain = ot.sinkhorn(c, r, -scores.T, tau, method="sinkhorn", numItermax=20_000, stopThr=1e-13, warn=False).T
        assert np.abs(ours["gallery"] - plain).max() < 1e-9 / shape[0]


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("tau", [0.1, 0.05, 0.02])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_start_query_makes_the_iterates_of_pot(shape: tuple[int, int], tau: float, given: bool, memory: int) -> None:
    scores = cosines(*shape)
    r, c, more = masses(*shape, given)
    for iters in (1, 2, 3, 7):
        _, log = ot.bregman.sinkhorn_log(c, r, -scores.T, tau, numItermax=iters, stopThr=0, log=True, warn=False)
        found = fit(scores, tau, memory, start="query", iters=iters, **more)
        assert found.iterations == iters
        np.testing.assert_allclose(centred(found.bias), centred(log["log_u"]), rtol=0, atol=1e-9)
        _, log = ot.sinkhorn(c, r, -scores.T, tau, numItermax=iters, stopThr=0, log=True, warn=False)
        np.testing.assert_allclose(centred(found.bias), centred(np.log(log["u"])), rtol=0, atol=1e-9)


def test_weights_of_the_input_are_the_marginals() -> None:
    plain = factories.hubs(40, 30, noise=1.0, logit_scale=10.0)
    weights = shares(40, 3), shares(30, 4)
    problem = replace(plain, queries=replace(plain.queries, weight=weights[0]),
                      items=replace(plain.items, weight=weights[1]))  # fmt: skip
    scores = factories.defined(problem)
    operator = operators.parse("sinkhorn:fit=test,tol=1e-11,max_iters=20000")
    for reverse in (False, True):
        found = operator.learn(Views(Bases(problem, Plan()), reverse))
        seen, (r, c) = (scores.T, weights[::-1]) if reverse else (scores, weights)
        r, c = r / r.sum(), c / c.sum()
        theirs = ot.bregman.sinkhorn_log(c, r, -seen.T, 0.1, numItermax=20_000, stopThr=1e-13, warn=False).T
        assert np.abs(plan_of(seen, 0.1, found.map.bias_values / 0.1, r) - theirs).max() < 1e-9 / len(seen)
        assert found.params["marginals"] == "given:queries+items"
    assert operators.parse("sinkhorn").learn(Views(Bases(plain, Plan()))).params["marginals"] == "uniform"


def test_a_banks_weights_are_the_marginals_of_a_fit_on_it() -> None:
    plain = factories.with_banks()
    weight = shares(len(plain.query_bank), 3)
    problem = replace(plain, query_bank=replace(plain.query_bank, weight=weight),
                      queries=replace(plain.queries, weight=shares(len(plain.queries), 5)))  # fmt: skip
    found = operators.parse("sinkhorn:tau=0.1,tol=1e-11,max_iters=20000").learn(Views(Bases(problem, Plan())))
    scores, m = factories.defined(problem, "query_bank", "items"), len(problem.items)
    r, c = weight / weight.sum(), np.full(m, 1 / m)
    theirs = ot.bregman.sinkhorn_log(c, r, -scores.T, 0.1, numItermax=20_000, stopThr=1e-13, warn=False).T
    assert np.abs(plan_of(scores, 0.1, found.map.bias_values / 0.1, r) - theirs).max() < 1e-9 / len(scores)
    assert found.params["marginals"] == "given:query_bank"


def test_labels_are_never_marginals() -> None:
    """Unequal numbers of captions must not reach the fit: that would give the answers away."""
    problem = factories.captions()
    m = len(problem.items)
    others = replace(problem, relevance=Relevance.of_items(np.arange(len(problem.queries)) % m))
    for spec in factories.specs():
        biases = []
        for each in (problem, others, replace(problem, relevance=None)):
            try:
                fitted = operators.parse(spec).learn(Views(Bases(each, Plan())))
            except NotAvailable:
                continue
            biases.append(None if fitted.map is None else fitted.map.bias_values)
        assert all(np.array_equal(each, biases[0]) for each in biases[1:])


# ---------------------------------------------------------------------------------------- against UCoFiA and IS


def ucofia(logits: Matrix, iters: int, r: Matrix | float = 1.0, c: Matrix | float = 1.0) -> Matrix:
    """The loop as UCoFiA's code runs it, in logarithms: gallery, then (query, gallery). Its sums are to be one."""
    start = np.broadcast_to(np.log(r), len(logits))
    bias = np.log(c) - logsumexp(logits + start[:, None], axis=0)
    for _ in range(iters):
        mine = np.log(r) - logsumexp(logits + bias, axis=1)
        bias = np.log(c) - logsumexp(logits + mine[:, None], axis=0)
    return bias


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_start_gallery_makes_the_iterates_of_ucofia(shape: tuple[int, int], memory: int) -> None:
    scores = cosines(*shape)
    for tau in (0.1, 0.02):
        for iters in (0, 1, 4, 9):
            found = fit(scores, tau, memory, iters=iters)
            np.testing.assert_allclose(centred(found.bias), centred(ucofia(scores / tau, iters)), rtol=0, atol=1e-10)
            r, c, more = masses(*shape, True)
            found = fit(scores, tau, memory, iters=iters, **more)
            expected = ucofia(scores / tau, iters, r, c)
            np.testing.assert_allclose(centred(found.bias), centred(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_iteration_is_inverted_softmax(shape: tuple[int, int]) -> None:
    """Smith et al. 2017: softmax over the queries instead of the items ranks a query's items."""
    scores, tau = cosines(*shape), 0.05
    found = fit(scores, tau, iters=0)
    inverted = scores / tau - logsumexp(scores / tau, axis=0)
    adjusted = scores / tau + found.bias.numpy()
    np.testing.assert_allclose(adjusted - inverted, (adjusted - inverted)[0, 0], rtol=0, atol=1e-10)


# ------------------------------------------------------------------------------------------------ golden values


def golden() -> tuple[Any, Any]:
    if not (GOLDEN / "golden_A.npz").exists():
        pytest.skip("the golden values of published code are not beside this checkout (shared/golden)")
    return np.load(GOLDEN / "golden_A.npz"), np.load(GOLDEN / "inputs_A.npz")


def golden_bias(inputs: Any, spec: str, memory: int) -> Matrix:
    problem = factories.of_scores(
        inputs["sim"].astype(float), Relevance.of_items(inputs["gt"]), query_bank=inputs["bank_q_g"].astype(float)
    )
    fitted = operators.parse(spec).learn(Views(Bases(problem, Plan(memory=memory))))
    return fitted.map.bias_values


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("tau", ["0.01", "0.05"])
def test_golden_dbsn(tau: str, memory: int) -> None:
    values, inputs = golden()
    for iters, close in ((3, 1e-12), (5, 1e-12), (10, 1e-12), (1000, 1e-7)):  # POT itself stops early in the last
        theirs = values[f"dbsn:A/SN_test/iter{iters}_tau{tau}/minus_tau_log_u_gallery"]
        ours = golden_bias(inputs, f"sinkhorn:tau={tau},iters={iters},start=query,fit=test", memory)
        np.testing.assert_allclose(centred(ours), centred(-theirs), rtol=0, atol=close)
    for key, spec in ((f"SN_bank/iter10_tau{tau}", "iters=10,start=query"), (f"IS_bank/tau{tau}", "iters=0")):
        theirs = values[f"dbsn:A/{key}/gallery_bias"]
        ours = golden_bias(inputs, f"sinkhorn:tau={tau},{spec},fit=bank", memory)
        np.testing.assert_allclose(centred(ours), centred(-theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("scale", [1, 20, 100])
def test_golden_ucofia(scale: int, memory: int) -> None:
    values, inputs = golden()
    for where, iters in (("bank", 1), ("bank", 4), ("bank", 50), ("test", 4)):
        theirs = values[f"ucofia_dicosa:A/{where}/scale{scale}_iters{iters}_float64/video_bias"]
        ours = scale * golden_bias(inputs, f"sinkhorn:tau={1 / scale!r},iters={iters},fit={where}", memory)
        np.testing.assert_allclose(centred(ours), centred(theirs), rtol=0, atol=1e-11)


# ------------------------------------------------------------------------------------------ paths, range, limits


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """As large problems are done: scores and kernel in single precision, several strips, blocks and threads."""
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    for name, value in {"ONE": 0, "STRIP": 200, "BLOCK": 90, "PART": 60}.items():
        monkeypatch.setattr(strips, name, value)
    torch.set_num_threads(3)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize(("tau", "nats"), [(0.1, 1e-5), (0.02, 1e-5), (0.005, 1e-4), (0.001, 1e-3)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_single_precision_makes_the_same_iterates(shape: tuple[int, int], tau: float, nats: float) -> None:
    vectors = factories.hubs(*shape, 14, 4, noise=2.0)
    assert vectors.queries.vectors is not None and vectors.items.vectors is not None
    stored = factories.defined(vectors).astype(np.float32)
    prepared = (scorers.parse("cosine").prepare(side.vectors, Plan()) for side in (vectors.queries, vectors.items))
    embedded = Embedded(*prepared, scorers.parse("cosine"), Plan(memory=STREAMED))
    for iters in (0, 1, 4, 20):
        expected = centred(ucofia(factories.defined(vectors) / tau, iters))
        for view in (View(Stored(stored, Plan(memory=KEPT))), View(embedded)):
            found = sinkhorn(view, tau, iters=iters)
            assert found.path in ("kept kernel", "streamed kernel")
            assert np.abs(centred(found.bias) - expected).max() < nats
            assert np.abs(centred(found.bias) - expected).max() < found.error


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2048, 2048), torch.float64),
        ((2049, 2049), torch.float32),
        ((10_000, 5000), torch.float64),
        ((5000, 10_000), torch.float64),
        ((9000, 5000), torch.float32),
        ((30_000, 10_000), torch.float32),
    ],
)
def test_precision_depends_on_the_shape_alone(shape: tuple[int, int], kind: torch.dtype) -> None:
    assert precision.of(*shape) == kind


def test_ties_are_as_wide_as_the_error_of_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several captions a video, cold, ranked for each video: it takes all the mass of its captions, whose scores converge.

    Bounds over tie orders contain what float64 finds; without the error of the fit they would not.
    """
    task = factories.hubs(2000, 100, 14, 4, noise=1.0)

    def found() -> tuple[Run, Value]:
        runs = evaluate(task, ["sinkhorn:tau=0.01,iters=4"], direction="v2t", metrics="R@1").runs
        (run,) = [each for each in runs if each.operator.name == "sinkhorn" and each.protocol == "captions"]
        return run, run.metrics["R@1"]

    (fine, exact) = found()
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    (coarse, rounded) = found()
    assert fine.options["tie_tolerance"] < 1e-10 and 1e-6 < coarse.options["tie_tolerance"] < 1e-5
    assert rounded.pessimistic <= exact.pessimistic <= exact.optimistic <= rounded.optimistic
    monkeypatch.setattr(precision, "ROUNDED", 0.0)
    narrow = found()[1]
    assert not narrow.pessimistic <= exact.value <= narrow.optimistic


@pytest.mark.parametrize("tau", [0.02])
def test_single_precision_is_as_far_from_float64_as_it_says(tau: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rounding does to slow directions adds up with the steps: in 300 of them, to more than all else."""
    plan = Plan()
    view = Stages(Data.make(1500, 512, plan)).from_matrix()
    for steps in (2, 300):
        monkeypatch.setattr(precision, "EXACT", 1 << 22)
        fine = sinkhorn(view, tau, iters=steps)
        monkeypatch.setattr(precision, "EXACT", 0)
        coarse = sinkhorn(view, tau, iters=steps)
        far = float((coarse.bias - fine.bias).abs().max())
        assert fine.error == 0 and far < coarse.error < 200 * far
    assert far > coarse.error - steps * precision.ROUNDED


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("tau", [0.05, 0.01, 0.002])
def test_kept_and_streamed_have_the_same_bits(tau: float, reverse: bool) -> None:
    task = factories.hubs(67, 45, 14, 4, noise=2.0)
    found = []
    for memory, threads in ((KEPT, 3), (STREAMED, 3), (KEPT, 1)):
        torch.set_num_threads(threads)
        view = View(Bases(task, Plan(memory=memory)).base("queries", "items"), reverse)
        found.append([sinkhorn(view, tau, **more) for more in ({"iters": 6}, {"tol": 1e-4, "max_iters": 40})])
    for kept, streamed, alone in zip(*found, strict=True):
        assert torch.equal(kept.bias, streamed.bias) and kept.iterations == streamed.iterations
        np.testing.assert_allclose(alone.bias, kept.bias, rtol=0, atol=1e-12)
    # what is accelerated would make much of a last bit
    assert torch.equal(found[2][1].bias, found[0][1].bias)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("reverse", [False, True])
def test_repeated_items_keep_one_bias_and_order_hardly_matters_in_single_precision(reverse: bool) -> None:
    task = factories.hubs(67, 45, 14, 4, noise=2.0)
    side = task.queries if reverse else task.items
    assert side.vectors is not None
    draw = np.random.default_rng(3)
    like = draw.permutation(np.r_[np.arange(len(side)), np.arange(0, len(side), 2)])  # (M + M/2,) whose vector each has
    ids = tuple(map(str, range(len(like))))
    bias = {}
    for name, order in (("plain", np.arange(len(like))), ("mixed", draw.permutation(len(like)))):
        mixed = Embeddings(ids, side.vectors[like[order]])
        changed = replace(task, **{"queries" if reverse else "items": mixed}, relevance=None)
        view = View(Bases(changed, Plan(memory=STREAMED)).base("queries", "items"), reverse)
        for way, more in (("iters", {"iters": 5}), ("tol", {"tol": 1e-4, "max_iters": 40})):
            found = sinkhorn(view, 0.02, **more).bias.numpy()
            bias[name, way] = found[np.argsort(order)] - found.mean()
            for number in range(0, len(side), 2):
                twins = found[like[order] == number]
                assert len(twins) == 2 and twins[0] == pytest.approx(twins[1], abs=1e-12)
    # plain iterates keep an error of rounding as small as it was; accelerated ones are as far apart as the tolerance lets them
    np.testing.assert_allclose(bias["plain", "iters"], bias["mixed", "iters"], rtol=0, atol=2e-5)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("memory", [KEPT, STREAMED])
def test_scalings_are_taken_into_the_kernel_before_they_hide_small_entries(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items of very unequal mass under single precision: without it the smallest entries would be lost."""
    absorbed = []
    plain = kernel.Kernel._scale
    monkeypatch.setattr(kernel.Kernel, "_scale", lambda self, bias, *more: (absorbed.append(bool(bias.any())), plain(self, bias)))
    scores = cosines(40, 30).astype(np.float32)
    wanted = np.exp(-np.arange(30) * 3.0)
    found = fit(scores, 0.004, memory, iters=8, start="query", column_mass=wanted)
    monkeypatch.setattr(precision, "EXACT", 1 << 30)
    monkeypatch.setattr(precision, "LOPSIDED", 1 << 30)
    expected = fit(scores.astype(np.float64), 0.004, memory, iters=8, start="query", column_mass=wanted)
    assert any(absorbed) and found.path != "log domain"
    np.testing.assert_allclose(centred(found.bias), centred(expected.bias), rtol=0, atol=1e-4)


def turned(scores: Matrix, tau: float, memory: int = STREAMED, **more: Any) -> Potentials:
    """As `fit`, of the same scores stored the other way round and seen from their columns."""
    masses = {key: torch.from_numpy(more.pop(key)) for key in ("row_mass", "column_mass") if key in more}
    stored = Stored(np.ascontiguousarray(scores.T), Plan(memory=memory))
    return sinkhorn(View(stored, reverse=True), tau, **more, **masses)


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_plain_iterates_are_the_same_from_the_other_directions_kernel(
    shape: tuple[int, int], given: bool, memory: int
) -> None:
    scores, more = cosines(*shape), masses(*shape, given)[2]
    for tau in (0.5, 0.02):
        for start in ("gallery", "query"):
            for iters in (0, 1, 2, 7):
                expected = fit(scores, tau, memory, start=start, iters=iters, **more)
                found = turned(scores, tau, memory, start=start, iters=iters, **more)
                assert (found.iterations, found.path) == (iters, expected.path)
                np.testing.assert_allclose(centred(found.bias), centred(expected.bias), rtol=0, atol=1e-11)
                np.testing.assert_allclose(found.mass, expected.mass, rtol=1e-11)
                assert found.marginal_error == pytest.approx(expected.marginal_error, rel=1e-9, abs=1e-13)
                assert found.converged == expected.converged


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize(("tau", "nats"), [(0.02, 1e-5), (0.004, 1e-4), (0.001, 1e-3)])
def test_the_other_directions_kernel_serves_in_single_precision(
    tau: float, nats: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, uneven = cosines(40, 30).astype(np.float32), np.exp(-np.arange(30) * 3.0)
    cases = [{"iters": iters, **more} for iters in (0, 3, 8) for more in ({}, {"start": "query"}, {"column_mass": uneven})]
    found = [turned(scores, tau, memory, **case) for case in cases for memory in (KEPT, STREAMED)]
    monkeypatch.setattr(precision, "EXACT", 1 << 30)
    monkeypatch.setattr(precision, "LOPSIDED", 1 << 30)
    for number, case in enumerate(cases):
        kept, streamed = found[2 * number : 2 * number + 2]
        assert torch.equal(kept.bias, streamed.bias) and kept.path != "log domain"
        expected = fit(scores.astype(np.float64), tau, **case)
        np.testing.assert_allclose(centred(kept.bias), centred(expected.bias), rtol=0, atol=nats)


def test_acceleration_reaches_the_same_potentials_in_fewer_passes() -> None:
    scores = cosines(60, 60)
    plain = fit(scores, 0.02, iters=3000)
    faster = fit(scores, 0.02, tol=1e-10, max_iters=3000)
    assert plain.marginal_error < 1e-9 and faster.iterations < 300
    np.testing.assert_allclose(centred(faster.bias), centred(plain.bias), rtol=0, atol=1e-6)




@pytest.mark.parametrize("tau", [0.5, 0.05, 0.011])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_paths_agree(shape: tuple[int, int], tau: float) -> None:
    scores = cosines(*shape)
    for more in ({"iters": 5}, {"tol": 1e-6, "max_iters": 300}, {"iters": 3, "start": "query"}):
        for given in ({}, masses(*shape, True)[2]):
            kept, streamed = (fit(scores, tau, memory, **more, **given) for memory in (KEPT, STREAMED))
            assert (kept.path, streamed.path) == ("kept kernel", "streamed kernel")
            assert kept.iterations == streamed.iterations
            assert torch.equal(kept.bias, streamed.bias) and torch.equal(kept.mass, streamed.mass)
            assert kept.marginal_error == streamed.marginal_error


@pytest.mark.usefixtures("single")
def test_what_single_precision_cannot_hold_is_done_in_logarithms() -> None:
    scores = cosines(30, 30)
    assert fit(scores, 0.001, KEPT, iters=2).path == "kept kernel"
    assert fit(scores, 0.0005, KEPT, iters=2).path == "log domain"
    np.testing.assert_allclose(
        centred(fit(scores, 0.0005, KEPT, iters=4).bias), centred(ucofia(scores / 0.0005, 4)), rtol=0, atol=1e-9
    )


def whole_range(n: int, m: int) -> Matrix:
    """Cosines over the whole of [-1, 1], an item that nobody likes, one that all like, a query that likes nothing."""
    scores = np.random.default_rng(0).uniform(-1, 1, size=(n, m))
    scores[:, 3], scores[:, 4], scores[5] = -1, 1, -1
    return scores


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("tau", [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0])
def test_finite_at_every_temperature(tau: float, memory: int) -> None:
    for shape in ((150, 150), (150, 40), (40, 150)):
        scores = whole_range(*shape)
        for more in ({"iters": 0}, {"iters": 10}, {"iters": 10, "start": "query"}, {"tol": 1e-4, "max_iters": 60}):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = fit(scores, tau, memory, tile=(64, 97), **more)
            assert torch.isfinite(found.bias).all() and torch.isfinite(found.mass).all()
            assert np.isfinite(found.marginal_error)
            if more == {"iters": 10}:
                expected = ucofia(scores / tau, 10)
                np.testing.assert_allclose(centred(found.bias), centred(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_at_the_coldest_for_items_that_no_query_reaches(dtype: Any) -> None:
    """Shares of exp(-20000) cannot be summed as numbers; their logarithms can, in every strip of rows."""
    scores = np.full((90, 30), -1, dtype=dtype)
    scores[:, 0] = 1
    for gap in (20_000, 760, 744, 735, 700, 640, 300):  # 735: the sum is still a number, but has lost its digits
        for tile in ((7, 5), (64, 64)):
            found = fit(scores, 2 / gap, STREAMED, tile=tile, iters=1, start="query")
            np.testing.assert_allclose(found.bias[1:] - found.bias[0], gap, rtol=1e-12)
            np.testing.assert_allclose(found.mass, 1, rtol=1e-9)


def test_the_cold_limit_is_the_assignment() -> None:
    for seed in range(3):
        scores = np.random.default_rng(seed).uniform(-1, 1, size=(40, 40))
        best = scores[linear_sum_assignment(scores, maximize=True)].mean()
        found = fit(scores, 1e-3, tol=1e-3, max_iters=20_000, tile=(1000, 1000))
        reached = (plan_of(scores, 1e-3, found.bias) * scores).sum()
        assert found.converged and abs(reached - best) < 1e-3 * best


# ---------------------------------------------------------------------------------------------- what is promised


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_summed_probabilities_are_right_at_convergence(shape: tuple[int, int], memory: int) -> None:
    scores = cosines(*shape)
    found = fit(scores, 0.05, memory, tol=1e-9, max_iters=100_000)
    p = plan_of(scores, 0.05, found.bias).sum(axis=0) * shape[1]
    np.testing.assert_allclose(p, 1, rtol=0, atol=1e-7)
    assert abs(plan_of(scores, 0.05, np.zeros(shape[1])).sum(axis=0) * shape[1] - 1).mean() > 0.1


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("start", ["gallery", "query"])
def test_marginal_error_is_what_its_definition_says(start: str, given: bool, memory: int) -> None:
    scores, tau = cosines(31, 44), 0.03
    r, c, more = masses(31, 44, given)
    for iters in (0, 1, 6):
        found = fit(scores, tau, memory, start=start, iters=iters, **more)
        ratio = plan_of(scores, tau, found.bias, r).sum(axis=0) / c
        np.testing.assert_allclose(found.mass, ratio, rtol=1e-10)
        assert found.marginal_error == pytest.approx(np.abs(ratio - 1).mean(), rel=1e-9)
        assert found.marginal_error > 1e-3


def test_the_tolerance_is_the_marginal_error_and_no_iteration_is_spent_beyond_it() -> None:
    scores = cosines(50, 50)
    found = fit(scores, 0.05, tol=1e-3)
    assert found.converged and found.marginal_error <= 1e-3 and 1 < found.iterations < 1000
    before = fit(scores, 0.05, tol=1e-3, max_iters=found.iterations - 1)
    assert before.marginal_error > 1e-3 and not before.converged
    assert torch.equal(fit(scores, 0.05, tol=2e-5, max_iters=found.iterations).bias, found.bias)
    assert fit(scores, 0.05, tol=1e-12, max_iters=3).iterations == 3
    assert not fit(scores, 0.05, tol=1e-12, max_iters=3).converged


def test_shifts_of_the_scores() -> None:
    """A number added to all scores or to those of a query changes nothing; one added to an item is taken off again."""
    scores, draw = cosines(30, 35), np.random.default_rng(2)
    for memory in (KEPT, STREAMED):
        for start in ("gallery", "query"):
            plain = centred(fit(scores, 0.05, memory, iters=4, start=start).bias)
            for shift in (5.0, -0.7):
                found = fit(scores + shift, 0.05, memory, iters=4, start=start)
                np.testing.assert_allclose(centred(found.bias), plain, rtol=0, atol=1e-10)
        rows, columns = draw.uniform(-0.5, 0.5, size=(30, 1)), draw.uniform(-0.5, 0.5, size=35)
        plain = fit(scores, 0.05, memory, tol=1e-10, max_iters=50_000)
        found = fit(scores + rows, 0.05, memory, tol=1e-10, max_iters=50_000)
        np.testing.assert_allclose(centred(found.bias), centred(plain.bias), rtol=0, atol=1e-7)
        found = fit(scores + columns, 0.05, memory, tol=1e-10, max_iters=50_000)
        np.testing.assert_allclose(centred(found.bias.numpy() + columns / 0.05), centred(plain.bias), rtol=0, atol=1e-7)


def test_scores_and_temperature_only_count_together() -> None:
    scores = cosines(30, 35)
    plain, scaled = fit(scores, 0.05, iters=4), fit(64 * scores, 64 * 0.05, iters=4)
    np.testing.assert_allclose(scaled.bias, plain.bias, rtol=0, atol=1e-11)


def test_the_bias_is_tau_times_the_potential() -> None:
    problem = factories.hubs(30, 30, noise=1.0)
    fitted = operators.parse("sinkhorn:tau=0.07,iters=2").learn(Views(Bases(problem, Plan())))
    found = fit(factories.defined(problem), 0.07, iters=2)
    np.testing.assert_allclose(fitted.map.bias_values, 0.07 * centred(found.bias), rtol=0, atol=1e-10)


def test_a_constant_matrix_stays_constant() -> None:
    for memory in (KEPT, STREAMED):
        for value in (0.3, 0.0, -1.0):
            found = fit(np.full((20, 33), value), 0.01, memory, iters=4, tile=(7, 5))
            assert np.ptp(found.bias.numpy()) < 1e-12 and found.converged
    problem = factories.of_scores(np.full((33, 33), 0.25))
    for run in evaluate(problem, ["sinkhorn:tau=0.001", "sinkhorn:iters=7"]).runs:
        for k in (1, 5, 10):
            assert run.metrics[f"R@{k}"].value == pytest.approx(100 * k / 33, abs=1e-10)


# --------------------------------------------------------------------------- what it was fitted on, and what is said


def run_of(results: Results, direction: str, name: str = "sinkhorn") -> Run:
    (run,) = [each for each in results.runs if each.direction == direction and each.operator.name == name]
    return run


def biases(results: Results, direction: str) -> Matrix:
    table = results.items
    here = (table["direction"] == direction) & (table["spec"] != "none")
    return table["bias"][here]


def other_queries(problem: Problem) -> Problem:
    side = problem.queries
    return replace(problem, queries=replace(side, vectors=side.vectors[::-1] + np.float32(0.3)))


def test_a_fit_on_the_bank_sees_nothing_but_the_bank() -> None:
    problem = factories.with_banks()
    for spec in ("sinkhorn:fit=bank", "sinkhorn"):
        found, other = (evaluate(each, [spec], plan=Plan()) for each in (problem, other_queries(problem)))
        np.testing.assert_array_equal(biases(found, "t2v"), biases(other, "t2v"))
        expected = fit(factories.defined(problem, "query_bank", "items"), 1 / 12)
        np.testing.assert_allclose(biases(found, "t2v"), centred(expected.bias) / 12, rtol=0, atol=1e-10)
        expected = fit(factories.defined(problem, "queries", "item_bank").T, 1 / 12)
        np.testing.assert_allclose(biases(found, "v2t"), centred(expected.bias) / 12, rtol=0, atol=1e-10)
        for direction, bank in (("t2v", "query-bank"), ("v2t", "item-bank")):
            run = run_of(found, direction)
            assert (run.operator.fitted_on, run.operator.transductive) == (bank, False)
            size = {"query-bank": 83, "item-bank": 71}[bank]
            assert f"fit:{bank}({size})|transductive:no" in run.signature
    found, other = (evaluate(each, ["sinkhorn:fit=test"]) for each in (problem, other_queries(problem)))
    assert not np.allclose(biases(found, "t2v"), biases(other, "t2v"), rtol=0, atol=1e-3)


def test_a_fit_on_the_test_queries_is_stamped() -> None:
    for memory in (KEPT, STREAMED):
        for problem in (factories.with_banks(), factories.as_scores(factories.with_banks())):
            found = evaluate(problem, ["sinkhorn:fit=test"], plan=Plan(memory=memory))
            for direction in ("t2v", "v2t"):
                run = run_of(found, direction)
                assert (run.operator.fitted_on, run.operator.transductive) == ("test-queries", True)
                assert "fit:test-queries|transductive:yes" in run.signature
                raw = run_of(found, direction, "none")
                assert (raw.operator.fitted_on, raw.operator.transductive) == ("nothing", False)


def test_auto_chooses_for_each_direction() -> None:
    problem = factories.with_banks()
    for bank, stamps in (
        ("query_bank", ("query-bank", "test-queries")),
        ("item_bank", ("test-queries", "item-bank")),
        (None, ("test-queries", "test-queries")),
    ):
        only = replace(problem, **{name: None for name in ("query_bank", "item_bank") if name != bank})
        found = evaluate(only, ["sinkhorn"])
        for direction, stamp in zip(("t2v", "v2t"), stamps, strict=True):
            run = run_of(found, direction)
            assert (run.operator.fitted_on, run.operator.transductive) == (stamp, stamp == "test-queries")


def test_a_bank_that_is_not_there_gives_no_number() -> None:
    problem = replace(factories.with_banks(), item_bank=None)
    found = evaluate(problem, ["sinkhorn:fit=bank"])
    assert run_of(found, "t2v").operator.unavailable is None and run_of(found, "t2v").metrics
    run = run_of(found, "v2t")
    assert "item bank" in run.operator.unavailable and not run.metrics and not run.ties and run.convergence is None
    assert not run.operator.transductive
    assert any("item bank" in text for text in found.warnings)
    assert not ((found.queries["direction"] == "v2t") & (found.queries["spec"] != "none")).any()
    with pytest.raises(NotAvailable, match="item bank"):
        evaluate(problem, ["sinkhorn:fit=bank"], strict=True)
    with pytest.raises(NotAvailable, match="query bank"):
        evaluate(replace(problem, query_bank=None), ["sinkhorn:fit=bank"], strict=True, direction="t2v")


@pytest.mark.parametrize(
    "parameters",
    [
        "tau=0", "tau=-0.01", "tau=1e-9", "tau=1e9", "tol=0", "tol=1", "tol=-1e-3", "tol=0.1,iters=3", "iters=-1",
        "max_iters=0", "start=uniform", "fit=train", "iters=2.5", "tau=warm", "tau=nan",
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(parameters: str) -> None:
    with pytest.raises(UsageError):
        operators.parse(f"sinkhorn:{parameters}")


def test_what_did_not_converge_says_so() -> None:
    problem = factories.hubs(logit_scale=50.0)
    found = evaluate(problem, ["sinkhorn:max_iters=2"], direction="t2v")
    run = run_of(found, "t2v")
    assert (run.convergence.converged, run.convergence.iterations) == (False, 2)
    assert run.convergence.marginal_error > 1e-3 and run.metrics
    assert any("stopped after 2 iterations" in text for text in found.warnings)
    assert any("not yet normalised" in text for text in found.warnings)
    with pytest.raises(ConvergenceError, match="did not converge") as caught:
        evaluate(problem, ["sinkhorn:max_iters=2"], strict=True)
    assert caught.value.exit_code == 5
    done = evaluate(problem, ["sinkhorn:tau=0.1"], strict=True)
    assert run_of(done, "t2v").convergence.converged
    assert not any("iterations" in text or "normalised" in text for text in done.warnings)
    papers = evaluate(problem, ["sinkhorn:iters=2"], direction="t2v")
    assert run_of(papers, "t2v").operator.params["iters"] == 2
    assert any("not yet normalised" in text for text in papers.warnings)


def test_the_temperature_is_given_or_the_models_or_a_named_guess() -> None:
    for given, scale, tau, noted in (("tau=0.2", 50.0, 0.2, False), ("", 50.0, 0.02, False), ("", None, 0.01, True)):
        problem = factories.hubs(logit_scale=scale)
        found = evaluate(problem, [f"sinkhorn:{given}".rstrip(":")], direction="t2v")
        assert run_of(found, "t2v").operator.params["tau"] == tau
        assert any("tau is not given" in text for text in found.warnings) == noted


def test_it_does_what_it_is_for() -> None:
    """Planted hubs take most first places; after Sinkhorn they do not, and recall rises."""
    problem = factories.hubs(200, 200, 24, noise=1.2, logit_scale=20.0)
    found = evaluate(problem, ["sinkhorn"])
    for direction in ("t2v", "v2t"):
        raw, after = (run_of(found, direction, name).metrics["R@1"].value for name in ("none", "sinkhorn"))
        assert after > raw + 3
        first = found.items["direction"] == direction
        worst = [found.items["occurrence@10"][first & (found.items["spec"] == s)].max() for s in ("none", "sinkhorn")]
        assert worst[1] < 0.7 * worst[0]

"""Operators against their formula in plain numpy and against the outputs of the authors' own code."""

from pathlib import Path

import numpy as np
import pytest

from nclbench.operators import operators
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance, generated_ids
from nclbench.similarity.pairs import Bases
from nclbench.similarity.views import Views

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def problem_of(scores: np.ndarray, bank: np.ndarray | None, item_of: np.ndarray) -> Problem:
    n, m = scores.shape
    given = {("queries", "items"): scores}
    side = None
    if bank is not None:
        given["query_bank", "items"] = bank
        side = Embeddings(generated_ids("bank", len(bank)))
    return Problem(
        Embeddings(generated_ids("q", n)),
        Embeddings(generated_ids("v", m)),
        Relevance.of_items(item_of),
        query_bank=side,
        scores=given,
    )


def adjusted(problem: Problem, spec: str) -> np.ndarray:
    """(N, M) adjusted scores of every pair by the definition."""
    views = Views(Bases(problem, Plan()))
    fitted = operators.parse(spec).learn(views)
    view = views.through(fitted.map, fitted.moved)
    n, m = view.shape
    rows, columns = np.divmod(np.arange(n * m), m)
    return view.exact(views.plan.indices(rows), views.plan.indices(columns)).numpy().reshape(n, m)


def same_rows(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Equal up to one constant a query: only differences within a row rank anything."""
    gap = (ours - ours[:, :1]) - (theirs - theirs[:, :1])
    assert np.abs(gap).max() <= tolerance


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    if not (GOLDEN / "golden_A.npz").exists():
        pytest.skip("the shared golden values are not here")
    with np.load(GOLDEN / "golden_A.npz") as values:
        return {key: values[key] for key in values.files if values[key].dtype.kind in "fi"}


@pytest.fixture(scope="module")
def case_a(golden: dict[str, np.ndarray]) -> Problem:
    with np.load(GOLDEN / "inputs_A.npz") as given:
        return problem_of(given["sim"].astype(float), given["bank_q_g"].astype(float), given["gt"].astype(np.int64))


@pytest.mark.parametrize("beta", [20.0, 100.0])
def test_inverted_softmax_equals_the_authors(case_a: Problem, golden: dict[str, np.ndarray], beta: float) -> None:
    theirs = np.log(golden[f"dbnorm:A/IS_beta{beta:g}"]) / beta
    same_rows(adjusted(case_a, f"is:tau={1 / beta!r},fit=bank"), theirs, 1e-9)


@pytest.mark.parametrize("beta", [10, 30])
def test_inverted_softmax_over_the_test_queries_equals_muse(case_a: Problem, golden: dict[str, np.ndarray], beta: int) -> None:
    ours = adjusted(case_a, f"is:tau={1 / beta!r},fit=test")
    theirs = golden[f"muse:A/invsm_beta_{beta}/scores"]
    same_rows(ours, np.log(theirs) / beta, 1e-6)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_csls_equals_muse(case_a: Problem, golden: dict[str, np.ndarray], k: int) -> None:
    ours = adjusted(case_a, f"csls:k={k},fit=test")
    np.testing.assert_allclose(ours, golden[f"muse:A/csls_knn_{k}/scores"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("k", "alpha"), [(1, 0.5), (16, 0.75), (128, 0.75), (256, 0.5)])
def test_nnn_equals_the_authors(case_a: Problem, golden: dict[str, np.ndarray], k: int, alpha: float) -> None:
    ours = adjusted(case_a, f"nnn:k={k},alpha={alpha}")
    same_rows(ours, golden[f"nnn:A/nnn/k{k}_alpha{alpha}/scores"].astype(float), 1e-5)


def test_formulas_in_plain_numpy() -> None:
    draw = np.random.default_rng(5)
    scores, bank = draw.uniform(-1, 1, (30, 17)), draw.uniform(-1, 1, (50, 17))
    task = problem_of(scores, bank, np.arange(30) % 17)
    tau = 0.07
    same_rows(adjusted(task, f"is:tau={tau}"), scores - tau * np.log(np.exp(bank / tau).sum(0)), 1e-12)
    top = np.sort(bank, axis=0)[::-1]
    same_rows(adjusted(task, "nnn:k=9,alpha=0.6"), scores - 0.6 * top[:9].mean(0), 1e-12)
    rows = np.sort(scores, axis=1)[:, ::-1][:, :4].mean(1, keepdims=True)
    np.testing.assert_allclose(adjusted(task, "csls:k=4"), 2 * scores - rows - top[:4].mean(0), atol=1e-12)


def test_inverted_softmax_is_sinkhorn_without_iterations() -> None:
    draw = np.random.default_rng(6)
    task = problem_of(draw.uniform(-1, 1, (25, 40)), draw.uniform(-1, 1, (60, 40)), np.arange(25))
    for fit in ("bank", "test"):
        one = adjusted(task, f"is:tau=0.03,fit={fit}")
        same_rows(one, adjusted(task, f"sinkhorn:tau=0.03,iters=0,fit={fit}"), 1e-12)


def test_what_they_saw_is_recorded() -> None:
    draw = np.random.default_rng(7)
    task = problem_of(draw.uniform(-1, 1, (9, 8)), draw.uniform(-1, 1, (20, 8)), np.arange(9) % 8)
    for spec, fitted_on, transductive in (
        ("is:fit=bank", "query-bank", False),
        ("is:fit=test", "test-queries", True),
        ("nnn:k=3", "query-bank", False),
        ("csls:fit=test", "test-queries", True),
        ("csls:fit=bank", "query-bank", False),
    ):
        views = Views(Bases(task, Plan()))
        operators.parse(spec).learn(views)
        assert (views.fitted_on, views.transductive) == (fitted_on, transductive), spec


def test_a_bank_that_is_too_small_gives_no_number() -> None:
    from nclbench import evaluate

    draw = np.random.default_rng(8)
    task = problem_of(draw.uniform(-1, 1, (9, 8)), draw.uniform(-1, 1, (20, 8)), np.arange(9) % 8)
    runs = evaluate(task, ["nnn:k=21"]).runs
    assert "larger than the bank of 20" in str(runs[1].operator.unavailable)
    assert runs[1].metrics == {}

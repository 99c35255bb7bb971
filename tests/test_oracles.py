"""Operators against other packages: POT for Sinkhorn, scipy for mutual proximity, gensim for globally corrected retrieval.

kiez is not installed: it needs numpy below 2. Its outputs are among the golden values (`test_golden.py`).
"""

import warnings

import numpy as np
import ot
import pytest
import torch
from factories import hubs, of_scores, with_banks
from scipy import stats
from test_formulas import drawn
from test_golden import Matrix, adjusted, discordant, same_rows

from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance

pytestmark = pytest.mark.usefixtures("one_thread")


def pot(queries: Matrix, tau: float, iters: int, items: Matrix | None = None) -> Matrix:
    """POT's potential of the second side (columns) in units of the scores. queries: (N, M) scores; items: (M,) shares."""
    n, m = queries.shape
    shares = np.full(m, 1 / m) if items is None else items / items.sum()
    # DBSN's call: the cost is 1 - s, the gallery comes first and is normalised last
    _, log = ot.bregman.sinkhorn_log(
        shares, np.full(n, 1 / n), 1 - queries.T, tau, numItermax=iters, stopThr=0, log=True, warn=False
    )
    found: Matrix = tau * log["log_u"]
    return found


@pytest.mark.parametrize("memory", [1, 1 << 30])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", ["wide", "tall"])
def test_dual_bank_sinkhorn_is_pot_on_gallery_and_bank_together(size: str, reverse: bool, memory: int) -> None:
    problem = drawn(size, "cosines")
    seen = problem.reversed() if reverse else problem
    S, P, Q = (seen.scores[pair] for pair in (("queries", "items"), ("query_bank", "items"), ("query_bank", "item_bank")))
    plan = Plan(memory=memory, tile=(7, 11))
    for tau in (0.5, 0.05, 0.01):
        for iters in (1, 4, 10):
            bias = pot(np.hstack([P, Q]), tau, iters)[: S.shape[1]]
            ours = adjusted(problem, f"dbsn:tau={tau},iters={iters},start=query", reverse, plan)
            same_rows(ours, S + bias, 1e-9)
    # converged, the start is forgotten
    bias = pot(np.hstack([P, Q]), 0.2, 5000)[: S.shape[1]]
    for start in ("gallery", "query"):
        ours = adjusted(problem, f"dbsn:tau=0.2,tol=1e-12,max_iters=5000,start={start}", reverse, plan)
        same_rows(ours, S + bias, 1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_dual_bank_sinkhorn_from_embeddings_is_pot(reverse: bool) -> None:
    problem = with_banks()
    seen = problem.reversed() if reverse else problem
    q, v, b, g = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (seen.role(role).vectors.astype(float) for role in ("queries", "items", "query_bank", "item_bank"))
    )
    bias = pot(b @ np.vstack([v, g]).T, 0.05, 7)[: len(v)]
    same_rows(adjusted(problem, "dbsn:tau=0.05,iters=7,start=query", reverse), q @ v.T + bias, 1e-5)


@pytest.mark.parametrize("fit", ["bank", "test"])
def test_sinkhorn_on_a_bank_is_pot(fit: str) -> None:
    problem = drawn("wide", "cosines")
    for reverse in (False, True):
        seen = problem.reversed() if reverse else problem
        S = seen.scores["queries", "items"]
        learnt_from = seen.scores["query_bank", "items"] if fit == "bank" else S
        for tau, iters in ((0.3, 3), (0.01, 10)):
            ours = adjusted(problem, f"sinkhorn:tau={tau},iters={iters},start=query,fit={fit}", reverse)
            same_rows(ours, S + pot(learnt_from, tau, iters), 1e-9)


@pytest.mark.parametrize("fit", ["bank", "test"])
@pytest.mark.parametrize("k", [0, 8])
def test_mutual_proximity_is_scipys_normal(k: int, fit: str) -> None:
    problem = drawn("wide", "cosines")
    for reverse in (False, True):
        given = problem.reversed().scores if reverse else problem.scores
        D = 1 - given["queries", "items"]
        near_i = np.sort(D, axis=1)[:, : k or None]
        near_j = np.sort(1 - given["query_bank" if fit == "bank" else "queries", "items"], axis=0)[: k or None]
        of_i = stats.norm(near_i.mean(1, keepdims=True), near_i.std(1, keepdims=True))
        of_j = stats.norm(near_j.mean(0), near_j.std(0))
        ours = adjusted(problem, f"mp:k={k},fit={fit}", reverse)
        np.testing.assert_allclose(ours, -np.log(-(of_i.logsf(D) + of_j.logsf(D))), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(np.exp(-np.exp(-ours)), of_i.sf(D) * of_j.sf(D), rtol=1e-9, atol=1e-15)


def test_mutual_proximity_keeps_both_tails() -> None:
    """Forty deviations out, 1 - p and p are 1 in float64; their order is kept all the same."""
    x = np.random.default_rng(0).normal(0, 1e-3, (60, 40))
    x[0, :6] = [0.2, 0.3, 0.4, -0.2, -0.3, -0.4]
    ours = adjusted(of_scores(x, Relevance.of_items(np.arange(60) % 40)), "mp:fit=test")
    assert np.isfinite(ours).all()
    wrong, compared = discordant(ours[:1, :6], x[:1, :6], 0)
    assert wrong == 0 and compared == 1


def gensim_order(problem: Problem) -> Matrix:
    """(N, M) items of every query from best to worst, as gensim translates words; queries are words, W is the identity."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from gensim.models.keyedvectors import KeyedVectors
        from gensim.models.translation_matrix import TranslationMatrix

    def words(role: str) -> KeyedVectors:
        side = problem.role(role)
        found = KeyedVectors(side.vectors.shape[1])
        found.add_vectors(list(side.ids), side.vectors)
        return found

    asked, answered = words("queries"), words("items")
    model = TranslationMatrix(asked, answered)
    model.translation_matrix = np.eye(asked.vector_size)
    n, m = len(problem.queries), len(problem.items)
    said = model.translate(
        list(problem.queries.ids), topn=m, gc=1, sample_num=n, source_lang_vec=asked, target_lang_vec=answered
    )
    place = {name: number for number, name in enumerate(problem.items.ids)}
    return np.array([[place[name] for name in said[query]] for query in problem.queries.ids])


@pytest.mark.parametrize(("n", "m"), [(30, 30), (52, 17), (15, 64)])
def test_globally_corrected_is_gensims(n: int, m: int) -> None:
    problem = hubs(n, m, 9, noise=1.5)
    for reverse in (False, True):
        seen = problem.reversed() if reverse else problem
        for tile in ((1024, 1024), (7, 5)):
            ours = adjusted(problem, "gc", reverse, Plan(tile=tile))
            np.testing.assert_array_equal(np.argsort(-ours, axis=1, kind="stable"), gensim_order(seen))
        raw = adjusted(problem, "none", reverse)
        assert (np.argsort(-raw, axis=1) != gensim_order(seen)).mean() > 0.1


def test_inverted_softmax_and_dual_softmax_are_torchs_softmax() -> None:
    problem = drawn("tall", "positive")
    S = torch.from_numpy(problem.scores["queries", "items"])
    inverted = torch.softmax(S / 0.05, dim=0)
    same_rows(adjusted(problem, "is:tau=0.05,fit=test"), 0.05 * inverted.log().numpy(), 1e-12)
    for spec, dim in (("dsl:tau=0.05,fit=test", 0), ("dsl:tau=0.05,over=items", 1)):
        product = S * torch.softmax(S / 0.05, dim=dim)
        wrong, compared = discordant(adjusted(problem, spec), product.numpy(), 1e-12)
        assert wrong == 0 and compared > 0.99

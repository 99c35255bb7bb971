"""`--bank folds=5`: a query's rank is that of a run in which the other folds are its bank."""

from dataclasses import replace

import factories
import numpy as np
import pytest
from factories import embeddings

from nclbench import Problem, Relevance, evaluate
from nclbench.errors import UsageError
from nclbench.folds import shares

SPECS = ["is:tau=0.1", "sinkhorn:tau=0.2,iters=3", "nnn:k=4", "csls:k=3", "dis:tau=0.1", "dsl:tau=0.3", "ls:k=3", "dn"]


def one_to_one(n: int = 43) -> Problem:
    return factories.hubs(n, n, 9, seed=3, noise=1.5)


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
@pytest.mark.parametrize("stored", [False, True], ids=["embeddings", "scores"])
def test_each_fold_is_ranked_with_the_others_as_its_bank(direction: str, stored: bool) -> None:
    plain = one_to_one()
    task = factories.as_scores(plain) if stored else plain
    found = evaluate(task, SPECS, direction=direction, folds=3, metrics="R@1")
    order = np.argsort(np.argsort(plain.queries.ids if direction == "t2v" else plain.items.ids))
    asking = plain.queries if direction == "t2v" else plain.items
    answering = plain.items if direction == "t2v" else plain.queries
    assert asking.vectors is not None and answering.vectors is not None
    for fold in range(3):
        mine, others = np.flatnonzero(order % 3 == fold), np.flatnonzero(order % 3 != fold)
        alone = factories.of_vectors(
            asking.vectors[mine], answering.vectors, Relevance.of_items(mine), query_bank=asking.vectors[others]
        )
        expected = evaluate(alone, SPECS, direction="t2v", metrics="R@1", reference=False)
        for number, spec in enumerate(run.operator.spec for run in expected.runs):
            want = expected.queries["above"][number * len(mine) : (number + 1) * len(mine)]
            got = found.queries["above"][found.queries["spec"] == spec][mine]
            np.testing.assert_array_equal(got, want, err_msg=f"{spec}, fold {fold}")


def test_rows_are_stamped_and_the_raw_row_is_not() -> None:
    runs = {run.operator.spec: run for run in evaluate(one_to_one(), [*SPECS, "gc", "is:fit=test"], folds=5).runs}
    for spec in ("sinkhorn:tau=0.2,iters=3", "nnn:k=4"):
        assert runs[spec].operator.fitted_on == "test-folds(5)" and not runs[spec].operator.transductive
        assert "fit:test-folds(5)|transductive:no" in runs[spec].signature
    assert runs["none"].operator.fitted_on == "nothing"
    for spec in ("gc", "is:fit=test"):
        assert runs[spec].operator.fitted_on == "test-queries" and runs[spec].operator.transductive


def test_folds_do_not_depend_on_the_order_of_the_rows() -> None:
    plain = one_to_one()
    draw = np.random.default_rng(0)
    mixed = factories.permuted(plain, draw.permutation(43), draw.permutation(43))
    one, other = (evaluate(task, SPECS, folds=4, metrics=["R@1", "MnR"]).runs for task in (plain, mixed))
    assert [(run.operator.spec, run.metrics) for run in one] == [(run.operator.spec, run.metrics) for run in other]


def test_several_captions_and_both_protocols() -> None:
    found = evaluate(factories.captions(), ["is:tau=0.1"], folds=5, metrics=["R@1", "MnR"])
    assert {run.protocol for run in found.runs} == {"queries", "captions", "videos"}
    assert all(value.n == (97 if run.direction == "t2v" else 23) for run in found.runs for value in run.metrics.values())


def test_a_bank_of_its_own_gives_way_to_the_folds() -> None:
    plain = one_to_one()
    bank = embeddings("qb", np.random.default_rng(1).normal(size=(7, 9)).astype(np.float32))
    one, other = (evaluate(task, ["is:tau=0.1"], folds=5).runs[1] for task in (plain, replace(plain, query_bank=bank)))
    assert one.metrics == other.metrics


def test_captions_of_one_video_stay_together_however_they_are_called() -> None:
    plain = factories.captions()
    count = len(plain.queries)
    names = {"spread": [f"{row % 7}/{row}" for row in range(count)], "joined": [f"q{row:04d}" for row in range(count)]}
    assert plain.relevance is not None
    for ids in names.values():
        task = replace(plain, queries=replace(plain.queries, ids=tuple(ids)))
        for rows, others in shares(task, "query_bank", 5):
            video = plain.relevance.item
            assert not set(video[rows]) & set(video[others])


def test_what_cannot_be_folded_says_so() -> None:
    with pytest.raises(UsageError, match="folds is 1"):
        evaluate(one_to_one(), ["is"], folds=1)
    runs = evaluate(one_to_one(), ["is"], folds=50, metrics="R@1", direction="t2v").runs
    assert runs[0].metrics and "folds=50 of only 43 groups" in str(runs[1].operator.unavailable)


def test_a_fold_that_cannot_be_fitted_takes_the_row() -> None:
    """An item that the bank holds is moved onto nothing, in the folds that have it."""
    plain = one_to_one()
    assert plain.queries.vectors is not None and plain.items.vectors is not None
    queries = plain.queries.vectors.copy()
    queries[0] = plain.items.vectors[3]
    task = replace(plain, queries=replace(plain.queries, vectors=queries), item_bank=embeddings("b", plain.items.vectors[3:4]))
    run = evaluate(task, ["invgc:pool=0.01"], folds=3, direction="t2v", reference=False).runs[0]
    assert run.metrics == {} and "moved onto nothing" in str(run.operator.unavailable)

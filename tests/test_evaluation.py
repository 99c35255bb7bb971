"""What stands beside the numbers of a run: signature, resolved parameters, notes; and arrays of any kind as input."""

from dataclasses import replace

import factories
import numpy as np
import pytest

from nclbench import Embeddings, Problem, Relevance, Results, evaluate
from nclbench.errors import ConvergenceError, UsageError
from nclbench.report import render


def fields(signature: str) -> dict[str, str]:
    return dict(part.split(":", 1) for part in signature.split("|") if ":" in part)


def test_the_signature_counts_what_was_averaged_and_ranked() -> None:
    runs = evaluate(factories.captions(m=23), metrics="R@1", direction="v2t").runs
    captions = len(factories.captions(m=23).queries)
    found = {run.protocol: fields(run.signature) for run in runs}
    assert (found["captions"]["q"], found["captions"]["g"]) == ("23", str(captions))
    assert (found["videos"]["q"], found["videos"]["g"]) == ("23", "23")
    assert found["videos"]["scorer"] == "cosine"


def test_a_row_without_a_number_still_says_of_what() -> None:
    run = evaluate(factories.hubs(30, 40), "dbsn", direction="t2v", reference=False).runs[0]
    assert run.metrics == {} and (fields(run.signature)["q"], fields(run.signature)["g"]) == ("30", "40")


def test_the_signature_names_scorer_and_precision() -> None:
    for dtype, name in ((np.float64, "fp64"), (np.float32, "fp32"), (np.float16, "fp16")):
        (run, _) = evaluate(factories.as_scores(factories.hubs(), dtype), metrics="R@1").runs
        assert run.signature.split("|")[-2] == name
        assert fields(run.signature)["scorer"] == "stored"
    (run, _) = evaluate(factories.ties(), metrics="R@1").runs
    assert fields(run.signature)["scorer"] == "dot"


def test_parameters_are_those_that_were_used() -> None:
    spec = ["sinkhorn", "sinkhorn:iters=4,tau=0.123456789"]
    both = evaluate(factories.with_banks(), spec, metrics="R@1", direction="t2v", reference=False).runs
    assert both[0].operator.params == {
        "tau": 1 / 12, "tol": 1e-4, "max_iters": 1000, "start": "gallery", "fit": "bank", "marginals": "uniform"
    }
    assert both[1].operator.params["tau"] == 0.123456789
    assert "tol" not in both[1].operator.params and "max_iters" not in both[1].operator.params
    assert "op:sinkhorn(tau=0.123456789,iters=4)" in both[1].signature
    (run,) = evaluate(factories.hubs(), "is", metrics="R@1", direction="t2v", reference=False).runs
    assert run.operator.params["fit"] == "test"


def test_bank_sizes_stand_in_result_signature_and_table() -> None:
    results = evaluate(factories.with_banks(rows=(83, 71)), ["is", "dbsn:tau=0.1", "is:fit=test"], metrics="R@1")
    found = {(run.direction, run.operator.spec): run for run in results.runs}
    assert found["t2v", "is"].operator.bank_sizes == {"query-bank": 83}
    assert found["v2t", "is"].operator.bank_sizes == {"item-bank": 71}
    assert found["t2v", "dbsn:tau=0.1"].operator.bank_sizes == {"query-bank": 83, "item-bank": 71}
    assert found["t2v", "is:fit=test"].operator.bank_sizes == {} == found["t2v", "none"].operator.bank_sizes
    assert "|fit:query-bank(83)|" in found["t2v", "is"].signature
    assert "item-bank(71)+query-bank(83)" in render(results, "md")
    assert Results.from_json(results.to_json()).runs == results.runs


def test_a_fixed_number_of_iterations_is_no_failure() -> None:
    cold = "sinkhorn:tau=0.02,fit=test"
    run = evaluate(factories.hubs(), f"{cold},iters=2", strict=True).runs[1]
    assert run.convergence is not None and run.convergence.fixed and not run.convergence.converged
    with pytest.raises(ConvergenceError, match="raise max_iters or tol"):
        evaluate(factories.hubs(), f"{cold},max_iters=2", strict=True)


def test_items_in_unequal_numbers_are_cautioned_for_the_direction_that_they_concern() -> None:
    task = factories.captions()
    said = {
        direction: [text for text in evaluate(task, "is:fit=test", direction=direction).warnings if "hurt" in text]
        for direction in ("t2v", "v2t", "both")
    }
    # every caption has one video: only the videos, as gallery of t2v, are asked for unequally
    assert [len(texts) for texts in said.values()] == [1, 0, 1]
    assert said["t2v"][0].startswith("t2v: a gallery item is wanted 1 to 8 times")


def test_dot_products_without_a_scale_look_like_logits() -> None:
    draw = np.random.default_rng(0)
    sides = [10 * draw.normal(size=(20, 7)).astype(np.float32) for _ in range(2)]
    task = factories.of_vectors(*sides, scorer="dot", logit_scale=None)
    assert any("look like logits" in text for text in evaluate(task, "is:fit=test").warnings)
    assert not any("look like logits" in t for t in evaluate(replace(task, scorer="cosine"), "is:fit=test").warnings)


def test_a_note_of_both_directions_is_said_once() -> None:
    notes = [text for text in evaluate(factories.hubs(logit_scale=None), "is:fit=test").warnings if "tau is not" in text]
    assert len(notes) == 1 and notes[0].startswith("t2v, v2t is:fit=test: ")


def test_missing_video_ranks_have_a_reason() -> None:
    task = factories.captions()
    pairs = task.relevance
    assert pairs is not None
    lost = replace(task, relevance=Relevance.of(pairs.query[1:], pairs.item[1:]))
    found = evaluate(lost, metrics="R@1")
    assert {run.protocol for run in found.runs} == {"queries", "captions"}
    assert any("v2t-videos is left out" in text and task.queries.ids[0] in text for text in found.warnings)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", np.longdouble])
def test_arrays_of_any_float_give_the_same(dtype: str) -> None:
    draw = np.random.default_rng(0)
    sides = [draw.normal(size=(20, 7)).astype(np.float16).astype(np.float32) for _ in range(2)]
    ids = tuple(map(str, range(20)))

    def problem(kind: object) -> Problem:
        queries, items = (Embeddings(ids, side.astype(kind)) for side in sides)  # type: ignore[call-overload]
        return Problem(queries, items, Relevance.of_items(np.arange(20)))

    one, other = (evaluate(problem(kind), "sinkhorn:tau=0.05").runs for kind in (np.float32, dtype))
    assert [run.metrics for run in one] == [run.metrics for run in other]


def test_one_name_is_as_good_as_a_list() -> None:
    task = factories.hubs()
    assert evaluate(task, "is", metrics="R@1").runs == evaluate(task, ["is"], metrics=["R@1"]).runs


def test_seeds_are_not_negative() -> None:
    with pytest.raises(UsageError, match="seed is -1"):
        evaluate(factories.hubs(), seed=-1)


def test_banks_smaller_than_the_gallery_are_told() -> None:
    task = factories.with_banks(rows=(20, 71))
    said = evaluate(task, ["is", "nnn:k=3", "dsl:fit=test"]).warnings
    assert [text for text in said if "bank has" in text] == [
        "t2v: the bank has 20 rows for a gallery of 45: what no bank row comes near is estimated poorly "
        "(is, nnn); give a larger bank"
    ]
    assert not any("bank has" in text for text in evaluate(task, ["is:fit=test"]).warnings)


def test_one_to_one_operators_on_many_captions_are_told() -> None:
    said = evaluate(factories.captions(), ["gc", "is:fit=test"], direction="t2v").warnings
    assert [text for text in said if "one query" in text] == [
        "t2v: gc take each item as the answer to one query, and here it is to up to 8"
    ]
    assert not any("one query" in text for text in evaluate(factories.hubs(), ["gc"]).warnings)


def test_products_of_negative_scores_are_told() -> None:
    scores = np.random.default_rng(0).uniform(0, 1, (20, 30))
    for shift, share in ((0.0, ""), (0.5, " %")):
        said = evaluate(factories.of_scores(scores - shift), ["dsl:tau=0.1", "is:tau=0.1"], direction="t2v").warnings
        assert [text.partition(" of the scores are negative")[0][-2:] for text in said if "negative" in text] == (
            [share] if share else []
        )


def test_a_row_can_have_a_scorer_of_its_own() -> None:
    task = factories.hubs(logit_scale=None)
    chained = evaluate(task, ["dot", "dot+is:tau=2", "cosine+is:tau=0.1"], metrics="MnR").runs
    alone = evaluate(replace(task, scorer="dot"), ["is:tau=2"], metrics="MnR").runs
    found = {(run.direction, run.operator.spec): run for run in chained}
    for run in alone:
        spec = {"none": "dot", "is:tau=2.0": "dot+is:tau=2.0"}[run.operator.spec]
        assert found[run.direction, spec].metrics == run.metrics
        assert found[run.direction, spec].scorer == "dot" and "|scorer:dot|" in found[run.direction, spec].signature
    assert found["t2v", "none"].scorer == "cosine" and "cosine+is:tau=0.1" in {run.operator.spec for run in chained}
    with pytest.raises(UsageError, match="one scorer and then one operator"):
        evaluate(task, "is+sinkhorn")
    with pytest.raises(UsageError, match="scorer dot needs embeddings"):
        evaluate(factories.as_scores(task), "dot+is")
    assert evaluate(task, "is:tau=1e+2", metrics="R@1").runs[1].operator.params["tau"] == 100


def test_cosines_of_a_bank_are_not_added_to_ready_scores() -> None:
    """A ready matrix may be in other units than the cosines of embeddings beside it."""
    task = factories.with_banks()
    logits = 100 * factories.defined(task)
    mixed = replace(task, scores={("queries", "items"): logits})
    runs = evaluate(mixed, ["nnn:k=5", "is:tau=5"], direction="t2v", reference=False).runs
    assert runs[0].operator.unavailable and runs[1].operator.fitted_on == "test-queries"


def test_leaks_are_told_whoever_made_the_problem() -> None:
    plain = factories.hubs()
    leaky = replace(plain, query_bank=plain.queries)
    told = [text for text in evaluate(leaky, ["is:tau=0.1"]).warnings if "leaks the test" in text]
    assert len(told) == 1 and "61 of 61 bank ids" in told[0]
    assert not any("leaks" in text for text in evaluate(leaky, ["csls:fit=test"], direction="t2v").warnings)


def test_logits_beside_a_logit_scale_are_told() -> None:
    cosines = factories.as_scores(factories.hubs())
    logits = replace(cosines, scores={pair: 100 * matrix for pair, matrix in cosines.scores.items()}, logit_scale=100.0)
    assert any("tau=1, not 0.01" in text for text in evaluate(logits, ["sinkhorn:iters=2"]).warnings)
    assert not any("tau=1" in text for text in evaluate(logits, ["csls"]).warnings)
    assert not any("tau=1" in text for text in evaluate(replace(cosines, logit_scale=100.0), ["sinkhorn:iters=2"]).warnings)


def test_the_bank_of_a_fold_is_smaller_than_the_gallery() -> None:
    warnings = evaluate(factories.hubs(), ["is:tau=0.1"], folds=5, direction="t2v").warnings
    assert any("t2v: the bank of a fold has 48 rows for a gallery of 61" in text for text in warnings)


def test_scores_adjusted_for_one_direction_are_not_ranked_in_the_other() -> None:
    adjusted = replace(factories.hubs(), adjusted_for="t2v")
    found = evaluate(adjusted)
    assert {run.direction for run in found.runs} == {"t2v"}
    assert any("the other direction is left out" in text for text in found.warnings)
    with pytest.raises(UsageError, match="adjusted for t2v: v2t of them is not v2t of the operator"):
        evaluate(adjusted, direction="v2t")
    assert {run.direction for run in evaluate(adjusted.reversed()).runs} == {"v2t"}
    assert not any("left out" in text for text in evaluate(adjusted, direction="t2v").warnings)


@pytest.mark.parametrize("spec", ["dsl:over=items,fit=test", "dualdis:tau1=1e-5"])
def test_parameters_that_mean_nothing_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="leave fit out|leave no digits"):
        evaluate(factories.hubs(), [spec])

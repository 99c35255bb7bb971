"""What stands beside the numbers of a run: signature, resolved parameters, notes; and arrays of any kind as input."""

from dataclasses import replace

import factories
import numpy as np
import pytest

from nclbench import Embeddings, Problem, Relevance, evaluate
from nclbench.errors import ConvergenceError, UsageError


def fields(signature: str) -> dict[str, str]:
    return dict(part.split(":", 1) for part in signature.split("|") if ":" in part)


def test_the_signature_counts_what_was_averaged_and_ranked() -> None:
    runs = evaluate(factories.captions(m=23), metrics="R@1", direction="v2t").runs
    captions = len(factories.captions(m=23).queries)
    found = {run.protocol: fields(run.signature) for run in runs}
    assert (found["captions"]["q"], found["captions"]["g"]) == ("23", str(captions))
    assert (found["videos"]["q"], found["videos"]["g"]) == ("23", "23")
    assert found["videos"]["scorer"] == "cosine"


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

"""The parameter `precision` of Sinkhorn's kernels: what each choice is, whatever the size, and what it does to ties."""

from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import KEPT, STREAMED

from nclbench import Results, evaluate
from nclbench.errors import UsageError
from nclbench.operators import operators
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance
from nclbench.registry import show
from nclbench.report.table import build
from nclbench.results import Run
from nclbench.sinkhorn import looks, precision
from nclbench.sinkhorn.placed import Placed

SPEC = "sinkhorn:tau=0.02,iters=12"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is one of more scores than float64 is taken for by itself."""
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)


def task() -> Problem:
    return factories.hubs(70, 70, 14, 4, noise=2.0)


def evaluated(*specs: str, memory: int = KEPT, given: Problem | None = None, **more: Any) -> Results:
    return evaluate(given or task(), specs, reference=False, plan=Plan(memory=memory), **more)


def bias(found: Results, spec: str, direction: str = "t2v") -> Any:
    canonical = show(operators.parse(spec))
    mine = (found.items["spec"] == canonical) & (found.items["direction"] == direction)
    assert mine.sum() == 70, (canonical, set(found.items["spec"]))
    return found.items["bias"][mine]


def width(run: Run) -> float:
    return float(run.options["tie_tolerance"])


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("spec", [SPEC, "sinkhorn:tau=0.02", f"{SPEC},start=query"])
def test_double_is_what_small_problems_have(spec: str, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    small = evaluated(spec, memory=memory)
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    double, auto = (evaluated(each, memory=memory) for each in (f"{spec},precision=double", spec))
    for direction, run, other, rounded in zip(("t2v", "v2t"), small.runs, double.runs, auto.runs, strict=True):
        assert run.metrics == other.metrics and width(run) == width(other) < 1e-10 < 1e-7 < width(rounded)
        np.testing.assert_array_equal(bias(small, spec, direction), bias(double, f"{spec},precision=double", direction))


@pytest.mark.parametrize("memory", [KEPT, STREAMED])
def test_single_is_what_large_problems_have(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    single, double = evaluated(f"{SPEC},precision=single", memory=memory), evaluated(SPEC, memory=memory)
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    auto = evaluated(SPEC, memory=memory)
    for direction, run, other in zip(("t2v", "v2t"), single.runs, auto.runs, strict=True):
        assert run.metrics == other.metrics and width(run) == width(other) > 1e-7
        mine = bias(single, f"{SPEC},precision=single", direction)
        np.testing.assert_array_equal(mine, bias(auto, SPEC, direction))
        far = np.abs(mine - bias(double, SPEC, direction)).max()
        assert 0 < far < width(run)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("memory", [KEPT, STREAMED])
def test_a_kernel_of_the_other_eachis_not_taken(memory: int, stored: bool) -> None:
    """Directions hand kernels and solutions on to each other; several specs of one temperature stand side by side."""
    vectors = task()
    given = factories.of_scores(factories.defined(vectors), vectors.relevance) if stored else vectors
    specs = [f"{spec}{more}" for spec in (SPEC, "sinkhorn:tau=0.02") for more in (",precision=double", "")]
    together = evaluated(*specs, memory=memory, given=given)
    for spec in specs:
        for direction in ("t2v", "v2t"):
            alone = evaluated(spec, memory=memory, given=given, direction=direction)
            np.testing.assert_array_equal(bias(together, spec, direction), bias(alone, spec, direction))


@pytest.mark.usefixtures("large")
def test_scores_that_are_kept_count_beside_a_kernel_of_both() -> None:
    """Scores and a kernel in single precision fit, and so does one in float64 alone, but not beside the scores."""
    entries, specs = 70 * 70, (SPEC, f"{SPEC},precision=double")
    for each, wanted in ((8, ["kept kernel", "streamed kernel"]), (12, ["kept kernel", "kept kernel"])):
        found = evaluated(*specs, memory=each * entries, direction="t2v")
        assert [run.convergence.path for run in found.runs if run.convergence] == wanted
    alone = evaluated(specs[1], memory=8 * entries, direction="t2v").runs[0]
    assert alone.convergence and alone.convergence.path == "kept kernel"


@pytest.mark.usefixtures("large")
def test_a_device_keeps_and_fuses_single_eachonly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "kernel_of", Placed.of)
    plan = Plan(memory=70 * 70 * 2, packed=True)
    for each, path in (("single", "kept kernel, half"), ("double", "streamed kernel")):
        (run,) = evaluate(task(), f"{SPEC},precision={each}", reference=False, direction="t2v", plan=plan).runs
        assert run.convergence and run.convergence.path == path


def test_a_table_says_where_single_precision_leaves_ties_open() -> None:
    """Scores that are nearly equal to the relevant one's: apart in float64, within the error of single precision."""
    n = 60
    places = np.arange(n)
    one = np.random.default_rng(0).uniform(0, 0.5, size=n)
    one[0] = one[1] = 0.9
    scores = one[(places[None] - places[:, None]) % n]  # all columns have the same entries
    scores[places, places] += np.where(places % 2, 1e-7, -1e-7)
    given, spec = factories.of_scores(scores, Relevance.of_items(places)), "sinkhorn:tau=10,iters=2"
    said = {}
    for each in ("single", "double"):
        found = evaluated(f"{spec},precision={each}", given=given, direction="t2v")
        said[each] = "; ".join(row.remark for row in build(found).rows)
        assert found.runs[0].options.get("precision") == ("single" if each == "single" else None)
    hint = "fitted in single precision: precision=double leaves fewer ties"
    assert hint in said["single"] and "over tie orders" in said["single"] and "tie" not in said["double"]


def test_what_was_chosen_is_told_and_what_was_not_is_not() -> None:
    plain, chosen = evaluated(SPEC).runs[0], evaluated(f"{SPEC},precision=double").runs[0]
    assert "precision" not in plain.operator.params and "precision" not in plain.signature
    assert chosen.operator.params["precision"] == "double" and "precision=double" in chosen.signature


@pytest.mark.usefixtures("large")
def test_dual_banks_have_it_too() -> None:
    problem = factories.LAWFUL["banks"]()
    runs = [evaluate(problem, f"dbsn:tau=0.05,iters=3{more}", reference=False, direction="t2v").runs[0]
            for more in ("", ",precision=double")]  # fmt: skip
    assert width(runs[0]) > 1e-7 > 1e-10 > width(runs[1])


def test_sizes_at_which_it_changes_do_not_matter_to_who_chose() -> None:
    assert [precision.of(9000, 9000, each) for each in precision.KINDS] == [torch.float32, torch.float32, torch.float64]
    assert [precision.of(9, 9, each) for each in precision.KINDS] == [torch.float64, torch.float32, torch.float64]


@pytest.mark.parametrize("name", ["sinkhorn", "dbsn"])
def test_another_word_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}:precision=half is unknown; use auto, single or double"):
        operators.parse(f"{name}:precision=half")

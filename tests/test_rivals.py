"""Hard negatives and NegNCE: the authors' values, the definitions in plain numpy, any tiling, and where they appear."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
from factories import KEPT, STREAMED
from scipy.special import logsumexp, softmax
from test_representation import DEFINED, SPECS, several, unlabelled
from typer.testing import CliRunner

from nclbench import evaluate
from nclbench.cli import app
from nclbench.diagnostics import of_rivals
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance
from nclbench.results import Results
from nclbench.sinks import save

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "dmae_golden.json"


def naive(scores: Any, relevant: Any, scale: float) -> dict[str, Any]:
    """Pair by pair, as the formulas stand. scores: (N, M), relevant: (N, M) bool."""
    n, m = scores.shape
    d = [max((scores[i, j] for j in range(m) if relevant[i, j]), default=np.inf) for i in range(n)]
    e = [max((scores[i, j] for i in range(n) if relevant[i, j]), default=np.inf) for j in range(m)]
    p = np.clip(softmax(scale * scores, axis=1), 1e-6, 1 - 1e-6)
    others = [(i, j) for i in range(n) for j in range(m) if not relevant[i, j]]
    hard = [(i, j) for i, j in others if scores[i, j] > d[i] or scores[i, j] > e[j]]
    right = [softmax(scale * scores[i])[relevant[i]].sum() for i in range(n) if relevant[i].any()]
    loss = float(np.mean(-np.log(np.clip(right, 1e-6, 1 - 1e-6))))
    if hard:
        loss += 0.5 * float(np.mean([-np.log(1 - p[i, j]) for i, j in hard]))
    over = [sum(scores[i, j] > d[i] for i, k in others if k == j) for j in range(m)]
    into = [sum(scores[i, j] > e[j] for i, k in others if k == j) for j in range(m)]
    return {"over": over, "into": into, "pairs": len(hard), "negnce": loss}


def wanted(problem: Problem) -> Any:
    assert problem.relevance is not None
    found = np.zeros((len(problem.queries), len(problem.items)), dtype=bool)
    found[problem.relevance.query, problem.relevance.item] = True
    return found


def crowded() -> Problem:
    """Several items for a query, several queries for an item, and ones that nobody wants or that want nothing."""
    problem = several()
    pairs = problem.relevance
    assert pairs is not None
    kept = pairs.item != 7
    return replace(problem, relevance=Relevance(pairs.query[kept], pairs.item[kept], pairs.gain[kept]))


def rows(results: Results, table: str, spec: str, direction: str) -> dict[str, Any]:
    columns = getattr(results, table)
    mine = (columns["spec"] == spec) & (columns["direction"] == direction) & (columns["protocol"] != "videos")
    return {name: values[mine] for name, values in columns.items()}


def run_of(found: Results, spec: str, direction: str) -> Any:
    return next(r for r in found.runs if r.operator.spec == spec and r.direction == direction and r.protocol != "videos")


@pytest.mark.skipif(not GOLDEN.exists(), reason="the shared golden values are not here")
@pytest.mark.parametrize(("tau", "keys"), [(None, ("loss_t2v", "loss_v2t")), (0.05, ("loss_scale20_t2v",))])
def test_golden_values(tau: float | None, keys: tuple[str, ...]) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["negnce"]
    # without a logit scale it is 100, as in the authors' code
    problem = factories.of_scores(np.asarray(golden["S"]), logit_scale=None)
    found = evaluate(problem, hubness=True, tau=tau)
    for key in keys:
        figure = run_of(found, "none", key[-3:]).diagnostics["hard.negnce"]
        assert figure["value"] == pytest.approx(golden[key], abs=1e-6)
        assert figure["unit"] == "nats" and figure["scale"] == pytest.approx(100 if tau is None else 20)
    for direction in ("t2v", "v2t"):
        assert run_of(found, "none", direction).diagnostics["hard.pairs"]["value"] == np.sum(golden["hard_mask"])


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
@pytest.mark.parametrize(("memory", "tile"), [(KEPT, (64, 64)), (STREAMED, (7, 6)), (STREAMED, (1, 9))])
def test_counts_and_negnce_equal_the_definition(memory: int, tile: tuple[int, int], direction: str) -> None:
    problem = crowded()
    found = evaluate(problem, SPECS, hubness=True, plan=Plan(memory=memory, tile=tile))
    raw, relevant = factories.defined(problem), wanted(problem)
    assert (relevant.sum(0) == 0).any() and (relevant.sum(1) == 0).any() and (relevant.sum(1) > 1).any()
    if direction == "v2t":
        raw, relevant = raw.T, relevant.T
    for spec in ["none", *SPECS]:
        items, run = rows(found, "items", spec, direction), run_of(found, spec, direction)
        queries = rows(found, "queries", spec, direction)
        # what a query loses to is what items win of it
        assert items["over"].sum() == queries["above"][queries["above"] >= 0].sum()
        if spec not in DEFINED:
            assert np.isnan(items["into"]).all() and not any(name.startswith("hard.") for name in run.diagnostics)
            continue
        if spec == "invgc":
            continue  # its vectors are moved
        expected = naive(raw + np.nan_to_num(items["bias"]), relevant, 12.0)
        np.testing.assert_array_equal(items["over"], expected["over"])
        np.testing.assert_array_equal(items["into"], expected["into"])
        assert run.diagnostics["hard.pairs"]["value"] == expected["pairs"] > 0
        assert run.diagnostics["hard.negnce"]["value"] == pytest.approx(expected["negnce"], rel=1e-12)
        assert run.diagnostics["hard.negnce"]["scale"] == 12.0


def test_both_directions_have_the_same_hard_negatives() -> None:
    found = evaluate(crowded(), hubness=True)
    one, other = (run_of(found, "none", direction) for direction in ("t2v", "v2t"))
    assert one.diagnostics["hard.pairs"]["value"] == other.diagnostics["hard.pairs"]["value"]
    assert one.diagnostics["hard.negnce"]["value"] != other.diagnostics["hard.negnce"]["value"]
    items, queries = rows(found, "items", "none", "t2v"), rows(found, "queries", "none", "v2t")
    np.testing.assert_array_equal(items["into"][queries["above"] >= 0], queries["above"][queries["above"] >= 0])


@pytest.mark.parametrize("make", ["ties-cosine", "repeated", "constant", "ties-scores-32", "tokens"])
@pytest.mark.parametrize("tile", [(64, 64), (5, 7)])
def test_ties_are_no_hard_negatives(make: str, tile: tuple[int, int]) -> None:
    """Equal vectors score the same, whatever their products are in a tile."""
    problem = factories.LAWFUL[make]()
    found = evaluate(problem, hubness=True, plan=Plan(tile=tile), metrics=["R@1"])
    assert problem.logit_scale is not None
    expected = naive(factories.defined(problem), wanted(problem), problem.logit_scale)
    items, run = rows(found, "items", "none", "t2v"), run_of(found, "none", "t2v")
    np.testing.assert_array_equal(items["over"], expected["over"])
    np.testing.assert_array_equal(items["into"], expected["into"])
    assert run.diagnostics["hard.pairs"]["value"] == expected["pairs"]
    assert run.diagnostics["hard.negnce"]["value"] == pytest.approx(expected["negnce"], rel=1e-12)
    if make == "constant":
        assert expected["pairs"] == 0


def test_probabilities_are_bounded() -> None:
    """A pair that takes all of a row costs -log 1e-6, and not infinity."""
    found = evaluate(factories.of_scores(np.array([[0.0, 9.0], [0.0, 9.0]]), logit_scale=1e4), hubness=True)
    value = run_of(found, "none", "t2v").diagnostics["hard.negnce"]["value"]
    assert value == pytest.approx((-np.log(1e-6) - np.log(1 - 1e-6)) / 2 - 0.5 * np.log(1e-6))


def test_folds_compare_only_queries_of_one() -> None:
    """Their biases differ by constants: what items win is known, what they lose to other queries is not."""
    folded = evaluate(factories.hubs(40, 20, 8, 4), ["is:tau=0.1"], hubness=True, folds=4)
    for direction in ("t2v", "v2t"):
        items, queries = (rows(folded, table, "is:tau=0.1", direction) for table in ("items", "queries"))
        assert items["over"].sum() == queries["above"].sum() and np.isnan(items["into"]).all()
        assert "hard.negnce" not in run_of(folded, "is:tau=0.1", direction).diagnostics
        assert "hard.negnce" in run_of(folded, "none", direction).diagnostics


def test_they_need_labels_and_to_be_asked_for() -> None:
    found = evaluate(unlabelled(factories.defined(factories.hubs(20, 20, 8, 4))), hubness=True)
    assert not {"over", "into"} & set(found.items)
    assert not any(name.startswith("hard.") for run in found.runs for name in run.diagnostics)
    plain = evaluate(factories.hubs(20, 20, 8, 4))
    assert "over" not in plain.items and not any(name.startswith("hard.") for run in plain.runs for name in run.diagnostics)


def test_words_and_frames_have_them_too() -> None:
    problem = factories.with_tokens(31, 31)
    found = evaluate(problem, ["sinkhorn:tau=0.05"], hubness=True, plan=Plan(tile=(9, 8), memory=STREAMED))
    items = rows(found, "items", "sinkhorn:tau=0.05", "t2v")
    expected = naive(factories.defined(problem) + items["bias"], wanted(problem), 12.0)
    run = run_of(found, "sinkhorn:tau=0.05", "t2v")
    np.testing.assert_array_equal(items["over"], expected["over"])
    assert run.diagnostics["hard.negnce"]["value"] == pytest.approx(expected["negnce"], rel=1e-9)


def test_several_right_items_share_their_probability() -> None:
    draw = np.random.default_rng(3)
    scores = draw.normal(size=(1, 6))
    problem = factories.of_scores(scores, Relevance.of([0, 0], [1, 4]), logit_scale=1.0)
    value = run_of(evaluate(problem, hubness=True, direction="t2v"), "none", "t2v").diagnostics["hard.negnce"]["value"]
    right = logsumexp(scores[0, [1, 4]]) - logsumexp(scores[0])
    hard = [j for j in (0, 2, 3, 5) if scores[0, j] > scores[0, [1, 4]].max()]
    push = -np.log1p(-softmax(scores[0])[hard]).mean() if hard else 0.0
    assert value == pytest.approx(-right + 0.5 * push)


# ----------------------------------------------------------------------------------------------------- the command line


def test_the_report_the_list_and_the_limits(tmp_path: Path) -> None:
    save(replace(factories.hubs(40, 40, 8, 4), model="m"), tmp_path / "a.h5")
    call = ["hubness-report", "--emb", str(tmp_path / "a.h5"), "--no-advice", "--no-progress"]
    done = CliRunner().invoke(app, [*call, "-f", "json"])
    runs, worst = json.loads(done.stdout)["runs"], json.loads(done.stdout)["hubs"][0]
    items = evaluate(factories.hubs(40, 40, 8, 4), hubness=True, direction="t2v").items
    assert worst["states"]["raw"]["over"] == items["over"][items["id"].tolist().index(worst["id"])] > 0
    assert all(each["diagnostics"]["hard.negnce"]["scale"] == 12.0 for each in runs)
    failed = CliRunner().invoke(app, [*call, "--fail-on", "t2v.hard.negnce>0.1"])
    assert failed.exit_code == 1 and "hard.negnce is" in failed.stderr and failed.stderr.count("failed") == 1
    listed = {each["name"]: each for each in json.loads(CliRunner().invoke(app, ["list", "diagnostics", "-f", "json"]).stdout)}
    assert set(of_rivals()) == {"hard.pairs", "hard.negnce"} <= set(listed)
    assert "NegNCE" in listed["hard.negnce"]["summary"] and listed["hard.negnce"]["params"] == {}

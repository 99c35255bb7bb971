"""`nclbench bench`: whatever the figures are, they are of the same work, and they say what they mean."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nclbench import Problem, evaluate
from nclbench.bench import limits, peers, rankers, table
from nclbench.bench.contests import OURS
from nclbench.bench.data import Data
from nclbench.bench.figures import Figure
from nclbench.bench.limits import gemms
from nclbench.bench.loops import exp_domain, log_domain, sorted_metrics
from nclbench.bench.peers import FIXED, MORE, TOLERANT, Peer, Task, importable
from nclbench.bench.runs import SCHEMA, Report, run
from nclbench.bench.stages import Stages
from nclbench.bench.timing import Turns, Variant, over, per_step, take_turns
from nclbench.plan import Plan
from nclbench.report.markdown import render

TAU, ITERATIONS = 0.05, 7


@pytest.fixture(scope="module")
def data() -> Data:
    return Data.make(130, 24, Plan())


pytestmark = pytest.mark.usefixtures("one_thread_throughout")


@pytest.fixture(autouse=True)
def _others_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def report() -> Report:
    return run(96, 16, 2, Plan(), 1)


def centred(bias: Any) -> np.ndarray:
    wide = np.asarray(bias, dtype=np.float64)
    return wide - wide.mean()


# ----------------------------------------------------------------------------------------------- the data, the limits


def test_data_are_unit_vectors_with_hubs_and_the_same_every_time(data: Data) -> None:
    for side in (data.queries, data.items):
        np.testing.assert_allclose(np.linalg.norm(side.astype(np.float64), axis=1), 1, atol=1e-6)
    assert np.array_equal(data.scores, Data.make(130, 24, Plan()).scores)
    many = Data.make(600, 64, Plan())
    top = many.scores.argsort(1)[:, -10:]
    shown = np.bincount(top.reshape(-1), minlength=600)
    skewness = ((shown - shown.mean()) ** 3).mean() / shown.std() ** 3
    assert skewness > 1.5
    assert 0.05 < (many.scores.argmax(1) == np.arange(600)).mean() < 0.95


@pytest.mark.parametrize("threads", [1, 2])
def test_each_library_makes_all_of_s(data: Data, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(limits, "_once", lambda call: (call(), rates.append(1.0 / (1 + len(rates))), rates[-1])[2])
    found = gemms(data, threads)
    assert list(found) == ["numpy", "torch"]  # the one that was quicker comes first
    for name, each in found.items():
        assert each.how.startswith(f"{name}, tiles of ")
        assert each.flops == 2 * 130 * 130 * 24
        each.call()


_THREADS = """
import numpy
from nclbench.bench.threads import openblas, settle
assert settle(1, "cpu") == 1
for library in openblas():
    assert library.scipy_openblas_get_num_threads64_() == 1
import torch
assert torch.get_num_threads() == 1
"""


def test_every_library_gets_as_many_threads() -> None:
    done = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------------- the same work


def test_loops_are_the_formula_and_ours_are_theirs(data: Data) -> None:
    stages = Stages(data)
    logits = torch.from_numpy(data.scores.astype(np.float64)) / TAU
    wanted = {"query": log_domain(logits, ITERATIONS)[0], "gallery": exp_domain(logits, ITERATIONS)[0]}
    for start, bias in wanted.items():
        for view in (stages.from_matrix(), stages.from_embeddings()):
            found = stages.iterates(view, TAU, ITERATIONS, start)
            assert found.iterations == ITERATIONS
            np.testing.assert_allclose(centred(found.bias), centred(bias), atol=1e-5)
    assert np.abs(centred(wanted["query"]) - centred(wanted["gallery"])).max() > 1e-2


@pytest.mark.parametrize("peer", [peer for peer in FIXED if peer.same], ids=lambda peer: peer.name)
def test_a_peer_gives_our_iterates(data: Data, peer: Peer) -> None:
    if not importable(peer.module) or peer.name.startswith("torch.compile"):
        pytest.skip(f"{peer.module or 'a compiler'} is not looked for here")
    stages = Stages(data)
    found = peer.make(Task(data, TAU, ITERATIONS))()
    ours = stages.iterates(stages.from_matrix(), TAU, ITERATIONS - peer.fewer, peer.start)
    assert found.iterations == ITERATIONS
    np.testing.assert_allclose(centred(found.bias), centred(ours.bias), atol=1e-3)


def marginal_error(data: Data, tau: float, bias: Any) -> float:
    """L1, under exact rows, in float64."""
    logits = torch.from_numpy(data.scores.astype(np.float64) / tau + np.asarray(bias, dtype=np.float64))
    return float((logits.softmax(1).mean(0) - 1 / data.shape[1]).abs().sum())


@pytest.mark.parametrize("peer", TOLERANT, ids=lambda peer: peer.name)
def test_a_peer_reaches_the_tolerance_that_we_reach(data: Data, peer: Peer) -> None:
    if not importable(peer.module):
        pytest.skip(f"{peer.module} is not installed")
    stages, tol = Stages(data), 1e-3
    ours = stages.balanced(stages.from_matrix(), TAU, tol)
    found = peer.make(Task(data, TAU, 5000, tol))()
    assert 0 < found.iterations < 5000
    assert marginal_error(data, TAU, ours.bias) <= 1.01 * tol
    assert marginal_error(data, TAU, found.bias) <= 1.01 * tol
    np.testing.assert_allclose(centred(found.bias), centred(ours.bias), atol=0.05)


@pytest.mark.skipif(not importable("ot"), reason="POT is not installed")
def test_pot_balances_both_sides_and_gives_up_aloud(data: Data) -> None:
    found = next(peer for peer in FIXED if peer.name == "POT sinkhorn, float64").make(Task(data, TAU, 300))()
    assert marginal_error(data, TAU, found.bias) < 1e-6
    cold = next(peer for peer in FIXED if peer.name == "POT sinkhorn, float32").make(Task(data, 0.001, 20))
    with np.errstate(all="ignore"), pytest.raises(ArithmeticError, match="gave up"):
        cold()


def test_the_unstable_loop_says_that_it_fails(data: Data) -> None:
    logits = torch.from_numpy(data.scores) / 0.002
    with pytest.raises(ArithmeticError, match="not finite"):
        exp_domain(logits, 500, 1e-6)


@pytest.mark.skipif(not importable("geomloss"), reason="geomloss is not installed")
def test_geomloss_counts_its_steps(data: Data) -> None:
    peer = next(peer for peer in FIXED if peer.module == "geomloss")
    found = peer.make(Task(data, TAU, ITERATIONS))()
    legacy = pytest.importorskip("geomloss._legacy.sinkhorn_divergence")
    assert found.iterations == len(legacy.epsilon_schedule(2, 2.0, math.sqrt(TAU), 0.8)) + 2
    assert np.isfinite(found.bias).all()


@pytest.mark.parametrize("ranker", rankers.LIBRARY_METRICS, ids=lambda ranker: ranker.name)
def test_a_metric_library_finds_our_six(data: Data, ranker: rankers.Ranker) -> None:
    if not importable(ranker.module):
        pytest.skip(f"{ranker.module} is not installed")
    assert ranker.make(data)() == pytest.approx(Stages(data).six(rankers.SIX), abs=1e-6)


def of_scores(data: Data) -> Problem:
    plain = data.problem
    return Problem(plain.queries, plain.items, plain.relevance, scores={("queries", "items"): data.scores})


def test_sorting_finds_our_metrics(data: Data) -> None:
    runs = evaluate(of_scores(data), plan=Plan()).runs
    for run_, found in zip(runs, rankers.sort_both(data)(), strict=True):
        assert found == pytest.approx({name: run_.metrics[name].value for name in found})
    assert sorted_metrics(np.zeros((2, 2)))["R@1"] == 50.0  # tied queries count more than once


@pytest.mark.skipif(not importable("ot"), reason="POT is not installed")
def test_sorting_and_pot_find_what_evaluate_finds(data: Data) -> None:
    raw, raw_back, there, back = rankers.sort_and_pot(data, TAU, 200)()
    runs = Stages(data).evaluation(f"sinkhorn:tau={TAU},iters=200").runs
    assert [run_.direction for run_ in runs] == ["t2v", "t2v", "v2t", "v2t"]
    for run_, found in zip(runs, (raw, there, raw_back, back), strict=True):
        # potentials that converged from different starts may swap close neighbours
        for name in ("R@1", "R@5", "R@10"):
            assert found[name] == pytest.approx(run_.metrics[name].value, abs=1.0)


def test_metrics_alone_are_those_of_evaluate(data: Data) -> None:
    spec = f"sinkhorn:tau={TAU},iters=3"
    alone, runs = Stages(data).both(spec), Stages(data).evaluation(spec).runs
    assert len(alone) == len(runs) == 4
    for found, run_ in zip(alone, runs, strict=True):
        for name, value in found.items():
            given = run_.metrics[name]
            assert value == pytest.approx(given.value / (100 if given.unit == "percent" else 1), rel=1e-12)


@pytest.mark.skipif(not importable("faiss"), reason="faiss is not installed")
def test_faiss_finds_our_ten_best(data: Data) -> None:
    stages = Stages(data)
    ours = stages.top(stages.from_embeddings())
    assert (rankers.faiss_top(data)() == ours).mean() > 0.999


# ------------------------------------------------------------------------------------------------------------- turns


def test_variants_run_in_turns_and_slow_ones_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    from nclbench.bench import timing

    order: list[str] = []
    variants = [Variant(name, lambda name=name: order.append(name)) for name in "AB"]
    monkeypatch.setattr(timing, "_MOST", 1)
    turns = take_turns(variants, 3)
    assert "".join(order) == "AABB" + "AB" * 3
    assert [len(turns.wall[name]) for name in "AB"] == [3, 3]
    monkeypatch.setattr(timing, "_MOST", 4)
    order.clear()
    assert len(take_turns(variants, 2).wall["A"]) == 2
    assert "".join(order) == "AABB" + "AAAABBBB" * 2  # short ones several times in a round
    monkeypatch.setattr(timing, "_SLOW", ((-1.0, 1),))
    assert len(take_turns(variants, 3).wall["A"]) == 1


def test_others_may_fail_and_we_may_not() -> None:
    def fails() -> None:
        raise ValueError("no\nmore")

    turns = take_turns([Variant("other", fails, foreign=True), Variant("fine", lambda: 1)], 2)
    assert turns.failed == {"other": "ValueError: no"}
    assert turns.ratio("other", "fine") is None
    assert list(turns.wall) == ["fine"]
    with pytest.raises(ValueError):
        take_turns([Variant("ours", fails)], 1)


def test_ratios_are_of_pairs() -> None:
    assert over([2, 30, 8], [1, 10, 2]) == 3
    assert over([2, 9], [1]) == 2
    assert over([1.0], [0.0]) is None
    assert over([], []) is None
    assert per_step([5, 7], [1, 1], 2) == [2, 3]
    assert per_step([5, 1], [1, 1], 2) is None
    turns = Turns("cpu", wall={"a": [9], "b": [1]}, cpu={"a": [4], "b": [2]})
    assert turns.ratio("a", "b") == 2


# ------------------------------------------------------------------------------------------------------- the document


def figures(report: Report) -> list[tuple[str, Figure]]:
    return [(stage.title, figure) for stage in report.stages for figure in stage.figures]


def test_the_document_holds_everything(report: Report) -> None:
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["schema"] == SCHEMA
    assert [stage["stage"].split(",")[0] for stage in found["stages"]] == [
        "Ranking from embeddings",
        "Ranking from a ready matrix",
        "Six metrics of 96 x 96",
        "Sinkhorn at tau 0.02 from a ready matrix",
        "Sinkhorn at tau 0.02",
        "Sinkhorn at tau 0.01 to a marginal error of 0.001",
        "Metrics raw and under sinkhorn:tau=0.01",
    ]
    assert found["limits"]["read_gb_per_s"] > 0
    assert found["limits"]["gemm_gflop_per_s"] > 0
    assert {"nclbench", "torch", "numpy", "threads", "device"} <= found["environment"].keys()
    assert {"cpu", "cores", "load_average"} <= found["machine"].keys()
    for stage in found["stages"]:
        assert any(figure["name"].startswith(OURS) for figure in stage["figures"])
        for figure in stage["figures"]:
            assert (figure["median_seconds"] is None) == bool(figure["failed"])


def test_ratios_are_positive_and_follow_from_the_seconds(report: Report) -> None:
    seen = 0
    for stage in report.stages:
        rows = {each.name: each for each in stage.figures}
        own = [each for each in stage.figures if each.name.startswith(OURS) and not each.name.endswith("one pass")]
        ours = next((each for each in own if each.name.endswith("ten best both ways")), own[0] if own else None)
        for figure in stage.figures:
            if figure.value is None:
                continue
            assert math.isfinite(figure.value) and figure.value > 0, figure
            if figure.unit not in ("x ours", "x its GEMM"):
                continue
            base = ours if figure.unit == "x ours" else rows["GEMM alone"]
            assert base is not None
            low, high = min(figure.seconds) / max(base.seconds), max(figure.seconds) / min(base.seconds)
            assert low * 0.999 <= figure.value <= high * 1.001, figure
            seen += 1
    assert seen >= 5


def test_peers_that_are_absent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    found = run(40, 8, 1, Plan(), 1, chosen=lambda setting: [setting.embeddings, lambda: setting.fixed(0.05, 3)])
    names = {name[0] for name in peers.LIBRARIES.values()}
    assert set(found.missing) == set(found.to_json()["not_installed"]) == names
    assert all("faiss" not in each.name and "POT" not in each.name for _, each in figures(found))
    assert any("torch loop" in each.name for _, each in figures(found))
    text = render(table.build(found))
    assert all(name in text for name in names)


def test_no_peers_means_none() -> None:
    found = run(40, 8, 1, Plan(), 1, peers=False, chosen=lambda setting: [setting.matrix, lambda: setting.whole(0.05, 2)])
    assert found.peers == {}
    assert {each.name.partition(",")[0] for _, each in figures(found)} == {OURS, "GEMM alone"}


def test_versions_are_told() -> None:
    found = peers.versions(more=True)
    assert set(found) == {names[0] for names in (peers.LIBRARIES | MORE).values()}
    for module, names in (peers.LIBRARIES | MORE).items():
        assert (found[names[0]] is None) == (importlib.util.find_spec(module) is None)


def test_goals_are_met_or_not() -> None:
    assert Figure("a", value=2.0, goal=("at least", 1.5)).met is True
    assert Figure("a", value=2.0, goal=("at most", 1.5)).met is False
    assert Figure("a", value=None, goal=("at most", 1.5)).met is None
    assert Figure("a", value=2.0).met is None


# ------------------------------------------------------------------------------------------------- the command, the script


def test_the_command_prints_and_saves_json(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    asked = ["--size", "50", "--dim", "8", "--repeats", "1", "--no-peers", "--threads", "1", "--json", "-o", str(file)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("NCLBENCH")}
    done = subprocess.run(
        [sys.executable, "-m", "nclbench", "bench", *asked], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["size"], found["dim"], found["clock"], found["environment"]["threads"]) == (50, 8, "cpu", 1)
    assert found["command"].startswith("nclbench bench --size 50")
    assert json.loads(file.read_text()) == found


def test_the_table_shows_limits_seconds_and_goals(report: Report) -> None:
    from nclbench.cli.terminal import plain

    text = plain(table.build(report))
    assert "Ranking from embeddings" in text
    assert "GFLOP/s" in text
    for _, figure in figures(report):
        assert figure.name in text
    shown = [row.cells for row in table.build(report).rows]
    assert all((cells[0].value is None) == (cells[0].text == "n/a") for cells in shown)


def test_the_script_runs() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "engine.py"
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout

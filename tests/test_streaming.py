"""S is never held: the peak of a process above its embeddings, measured from outside of Python's heap."""

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nclbench import Embeddings, Problem, Relevance, evaluation, metrics
from nclbench.plan import Plan
from nclbench.similarity.bases import Embedded

# VmHWM and VmRSS belong to this process alone; ru_maxrss would begin at the peak of the process that started it
CHILD = """
import json, sys
import numpy as np
import torch
from nclbench import Embeddings, Problem, Relevance, evaluate
from nclbench.plan import Plan

torch.set_num_threads(1)  # two threads on a busy machine are ten times slower than one
count, memory, direction, specs = json.loads(sys.argv[1])
draw = np.random.default_rng(0)

def side(kind, n):
    return Embeddings(tuple(f"{kind}{i}" for i in range(n)), draw.standard_normal((n, 512), dtype=np.float32))

def problem(n):
    return Problem(side("q", n), side("v", n), Relevance.of_items(np.arange(n)), logit_scale=100.0)

def megabytes(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

evaluate(problem(64), specs, plan=Plan(memory=1))  # libraries, threads and their buffers
whole = problem(count)
before = megabytes("VmRSS:")
metrics = ["R@1", "R@10", "MdR", "MnR", "nDCG@10"]
found = evaluate(whole, specs, metrics=metrics, plan=Plan(memory=memory), direction=direction)
peak = megabytes("VmHWM:")
print(json.dumps({
    "above": peak - before,
    "runs": [[run.direction, run.operator.name, run.metrics["MnR"].value] for run in found.runs],
    "paths": [run.convergence.path for run in found.runs if run.convergence],
    "timing": found.timing,
}))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak memory that Linux tells")


def measured(count: int, specs: list[str], memory: int = 1, direction: str = "both", limit: float = 240) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, json.dumps([count, memory, direction, specs])],
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout.splitlines()[-1])
    print(found)
    return found


def test_raw_ranking_at_20000_by_20000_stays_under_200_megabytes() -> None:
    """S would be 1600 MB in float32. 82 MB of what is used are the normalised copies of both sides."""
    found = measured(20_000, [])
    assert found["above"] < 190
    assert [run[:2] for run in found["runs"]] == [["t2v", "none"], ["v2t", "none"]]
    for *_, mean_rank in found["runs"]:
        assert 9_700 < mean_rank < 10_300  # random vectors: all of S was looked at


def test_tables_are_made_when_vectors_are_gone() -> None:
    """Of 9000 x 9000 the prepared vectors are 37 MB, what tables and intervals take comes after them."""
    found = measured(9_000, [])
    assert found["above"] < 72  # about 60, and 85 where both are held at once


@pytest.mark.parametrize("options", [{}, {"folds": 3}, {"hubness": True}])
def test_nothing_holds_what_scores_are_made_of_while_tables_are_made(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    held, made = [], []

    def measure(*given: Any) -> Any:
        held.append(sum(type(each) is Embedded for each in gc.get_objects()))
        return metrics.measure(*given)

    def noted(base: Embedded, *given: Any) -> Any:
        made.append(base.shape)
        return plain(base, *given)

    plain = Embedded.rough
    monkeypatch.setattr(evaluation, "measure", measure)
    monkeypatch.setattr(Embedded, "rough", noted)
    draw = np.random.default_rng(0)
    sides = [Embeddings(tuple(f"{kind}{n}" for n in range(60)), draw.standard_normal((60, 8))) for kind in "qvbg"]
    whole = Problem(*sides[:2], Relevance.of_items(np.arange(60)), *sides[2:])
    gc.collect()
    before = sum(type(each) is Embedded for each in gc.get_objects())
    specs = ["sinkhorn", "sinkhorn:fit=test", "csls:fit=test", "invgc", "gc", "dot+nnn"]
    evaluation.evaluate(whole, specs, plan=Plan(memory=1), **options)
    assert made
    assert len(held) == 12 and set(held) == {before}


def test_sinkhorn_does_not_hold_scores_either() -> None:
    """At 6000 x 6000 S is 144 MB in float32, 288 MB in float64; the vectors are 25 MB."""
    found = measured(6_000, ["sinkhorn:iters=1"])
    assert found["paths"] == ["streamed kernel"] * 2
    assert found["above"] < 170


def test_the_measurement_sees_scores_that_are_held() -> None:
    found = measured(6_000, ["sinkhorn:iters=1"], memory=1 << 30, direction="t2v")
    assert found["paths"] == ["kept kernel"]
    assert found["above"] > 190  # 144 MB of it are S

"""No operator holds S: what a fit and a ranking need grows with the sides, not with their product."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# writing 5 to clear_refs starts the peak (VmHWM) afresh, so that one process can measure one operator after the other
CHILD = """
import ctypes, gc, json, sys
import numpy as np
import torch
from dataclasses import replace
from nclbench import Embeddings, Problem, Relevance, evaluate, fuse
from nclbench.plan import Plan

torch.set_num_threads(1)
count, specs, memory, kind = json.loads(sys.argv[1])
draw = np.random.default_rng(0)

def side(kind, n):
    return Embeddings(tuple(f"{kind}{i}" for i in range(n)), draw.standard_normal((n, 64), dtype=np.float32))

def problem(n, bank):
    banks = {"query_bank": side("b", bank), "item_bank": side("g", bank)}
    return Problem(side("q", n), side("v", n), Relevance.of_items(np.arange(n)), logit_scale=20.0, **banks)

def megabytes(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

def peak(whole, spec):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = megabytes("VmRSS:")
    found = evaluate(whole, [spec], metrics=["R@1"], direction="t2v", reference=False, details=False, plan=Plan(memory=memory))
    (run,) = found.runs
    assert run.operator.unavailable is None, run.operator.unavailable
    return megabytes("VmHWM:") - before

# as a stored matrix, or as the sum of two models
def given(whole):
    if kind == "fused":
        return fuse([(0.5, whole), (0.5, replace(whole, query_bank=None, item_bank=None))])
    if not kind:
        return whole
    matrix = np.empty((len(whole.queries), len(whole.items)), kind)
    for start in range(0, len(matrix), 256):
        matrix[start : start + 256] = whole.queries.vectors[start : start + 256] @ whole.items.vectors.T / 64
    matrix.flags.writeable = False
    return replace(whole, scores={("queries", "items"): matrix}, query_bank=None, item_bank=None)

small = given(problem(200, 150))
for spec in specs:
    peak(small, spec)  # libraries and their buffers
whole = given(problem(count, 1500))
print(json.dumps({spec: peak(whole, spec) for spec in specs}))
"""

SPECS = [
    "none", "is:tau=0.05,fit=bank", "is:tau=0.05,fit=test", "dis:tau=0.05", "dis:tau=0.05,fit=test", "dualis", "dualdis",
    "csls:fit=test", "nnn", "dn", "sinkhorn:iters=2,fit=bank", "sinkhorn:iters=2,fit=test",
    "sinkhorn:iters=2,fit=test,start=query", "dbsn:iters=2", "dsl:fit=test", "dsl:over=items", "ls:fit=test",
    "nicdm:fit=test", "mp:fit=test", "mp:k=10,fit=test", "dissim", "dissim:kind=local", "invgc", "invgc:local=false", "gc",
]  # fmt: skip

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs the peak memory that Linux tells, and its reset"
)


def peaks(count: int, specs: list[str], memory: int = 1, kind: str = "") -> dict[str, float]:
    """Megabytes above the problem that each spec needed, of `count` queries and items."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, json.dumps([count, specs, memory, kind])],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)},  # what is freed goes back, and is not counted again
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(count, {spec: round(value) for spec, value in found.items()})
    return found


def test_twice_the_sides_need_far_less_than_four_times_the_memory() -> None:
    """From 2100 to 3600 square, S grows by 33 MB in float32 and 65 MB in float64; tiles do not, vectors by 1 MB."""
    small, large = (peaks(count, SPECS) for count in (2100, 3600))
    grown = {spec: round(large[spec] - small[spec]) for spec in SPECS}
    assert {spec: more for spec, more in grown.items() if more >= 20} == {}


def test_every_operator_is_measured() -> None:
    from nclbench.operators import operators

    assert {spec.partition(":")[0] for spec in SPECS} == set(operators.names()) - {"biases"}  # which learns nothing


def test_the_measurement_sees_scores_that_are_held() -> None:
    """Sinkhorn keeps its kernel in float32 where it may: 75 MB more at 5000 than at 2500."""
    spec = "sinkhorn:iters=2,fit=test"
    small, large = (peaks(count, [spec], 1 << 30)[spec] for count in (2500, 5000))
    assert large - small > 65


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "fused"])
def test_a_kept_kernel_is_all_that_is_held(kind: str) -> None:
    """Of scores that are copied tile by tile, too: S in float32 grows by 75 MB."""
    spec = "sinkhorn:iters=2,fit=test"
    small, large = (peaks(count, [spec], 110 << 20, kind)[spec] for count in (2500, 5000))
    assert 65 < large - small < 95

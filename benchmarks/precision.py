"""Why small kernels are float64: what single precision would change in the figures of MSR-VTT 1k-A, and what it would save.

    python benchmarks/precision.py > benchmarks/precision.json

Figures: the demo's two matrices of scores under Sinkhorn, both directions, every metric with its bounds. Seconds: 20 iterations
of 1000 x 1000 in turns with the loops of others, process CPU seconds of one thread, beside what a float64 kernel cannot go below:
reading it once an iteration, and its exponentials.
"""

import json
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np

from nclbench import evaluate, load
from nclbench.bench.data import Data
from nclbench.bench.peers import FIXED, Task
from nclbench.bench.stages import Stages
from nclbench.bench.threads import settle
from nclbench.bench.timing import Variant, take_turns
from nclbench.plan import choose, describe
from nclbench.sinkhorn import precision

SPECS = (
    "sinkhorn:tau=0.01", "sinkhorn:tau=0.005", "sinkhorn:tau=0.02,iters=4", "sinkhorn:tau=0.02,iters=20", "dbsn:tau=0.05,iters=2"
)
SIZE, TAU, ITERATIONS, ROUNDS = 1000, 0.02, 20, 15
LOOPS = ("torch loop, exp domain (unstable)", "torch loop, exp domain, float64")


@contextmanager
def single() -> Iterator[None]:
    """Kernels of every size are made in single precision."""
    kept = precision.EXACT, precision.LOPSIDED
    precision.EXACT = precision.LOPSIDED = 0
    try:
        yield
    finally:
        precision.EXACT, precision.LOPSIDED = kept


def figures() -> dict[str, tuple[float, ...]]:
    """Value, and bounds over the orders of ties, of each metric of each run."""
    found = {}
    for name in ("video", "titles"):
        problem = load(files("nclbench") / "demo_data" / f"msrvtt1ka_cap4video_{name}.h5")
        for spec in SPECS:
            for run in evaluate(problem, spec, reference=False, details=False).runs:
                for metric, value in run.metrics.items():
                    found[f"{name} {run.direction} {spec} {metric}"] = (value.value, value.optimistic, value.pessimistic)
    return found


def seconds() -> dict[str, float]:
    """Medians, in milliseconds."""
    data = Data.make(SIZE, 512, choose("cpu", None, 1))
    stages, kernel = Stages(data), np.random.default_rng(0).random((SIZE, SIZE))
    flat, powers, room = kernel.ravel(), -30 * kernel, np.empty_like(kernel)

    def ours() -> Any:
        return stages.iterates(stages.from_matrix(), TAU, ITERATIONS)

    def rounded() -> Any:
        with single():
            return ours()

    def read() -> None:
        for _ in range(ITERATIONS + 1):
            flat @ flat

    loops: dict[str, Callable[[], Any]] = {
        peer.name: peer.make(Task(data, TAU, ITERATIONS)) for peer in FIXED if peer.name in LOOPS
    }
    calls = {"ours": ours, "ours in single precision": rounded, **loops}
    calls |= {"float64 kernel read 21 times": read, "its exponentials": partial(np.exp, powers, out=room)}
    turns = take_turns([Variant(name, call) for name, call in calls.items()], ROUNDS, "cpu", memory=64 << 20)
    return {name: 1e3 * statistics.median(turns.seconds[name]) for name in calls}


def main() -> None:
    settle(1, "cpu")
    double = figures()
    with single():
        rounded = figures()
    moved = {name: [double[name], rounded[name]] for name in double if double[name] != rounded[name]}
    heads = {name: both for name, both in moved.items() if " R@" in name}
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], **describe(choose("cpu", None, 1))}
    told = {"figures": len(double), "moved": len(moved), "of these R@k, float64 and single": heads, "milliseconds": seconds()}
    print(json.dumps({"machine": machine, **told}, indent=1))


if __name__ == "__main__":
    main()

"""Why small kernels are float64: what single precision would change in the figures of MSR-VTT 1k-A, and what it would save.

    python benchmarks/precision.py > benchmarks/precision.json

Figures: the demo's two matrices of scores under Sinkhorn, both directions, every metric with its bounds. Seconds: 20 iterations
in turns with the loops of others, process CPU seconds of one thread; at 1000 x 1000 beside what a float64 kernel cannot go below:
reading it once an iteration, and its exponentials.
"""

import json
import os
import statistics
from collections.abc import Callable
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
from nclbench.sinkhorn.potentials import sinkhorn

SPECS = ("sinkhorn:tau=0.01", "sinkhorn:tau=0.005", "sinkhorn:tau=0.02,iters=4", "sinkhorn:tau=0.02,iters=20")
SMALL, LARGE, TAU, ITERATIONS = 1000, 5000, 0.02, 20
LOOPS = ("torch loop, exp domain (unstable)", "torch loop, exp domain, float64")


def figures(precision: str) -> dict[str, tuple[float, ...]]:
    """Value, and bounds over the orders of ties, of each metric of each run."""
    found = {}
    for name in ("video", "titles"):
        problem = load(files("nclbench") / "demo_data" / f"msrvtt1ka_cap4video_{name}.h5")
        for spec in SPECS:
            for run in evaluate(problem, f"{spec},precision={precision}", reference=False, details=False).runs:
                for metric, value in run.metrics.items():
                    found[f"{name} {run.direction} {spec} {metric}"] = (value.value, value.optimistic, value.pessimistic)
    return found


def seconds(size: int, rounds: int) -> dict[str, float]:
    """Medians, in milliseconds."""
    data = Data.make(size, 512, choose("cpu", None, 1))
    stages = Stages(data)

    def ours(precision: str) -> Any:
        return sinkhorn(stages.from_matrix(), TAU, iters=ITERATIONS, start="query", precision=precision)

    calls: dict[str, Callable[[], Any]] = {each: partial(ours, each) for each in ("double", "single")}
    calls |= {peer.name: peer.make(Task(data, TAU, ITERATIONS)) for peer in FIXED if peer.name in LOOPS}
    if size <= SMALL:
        kernel = np.random.default_rng(0).random((size, size))
        flat, powers, room = kernel.ravel(), -30 * kernel, np.empty_like(kernel)

        def read() -> None:
            for _ in range(ITERATIONS + 1):
                flat @ flat

        calls |= {"float64 kernel read 21 times": read, "its exponentials": partial(np.exp, powers, out=room)}
    turns = take_turns([Variant(name, call) for name, call in calls.items()], rounds, "cpu", memory=3 * 8 * size * size)
    return {name: 1e3 * statistics.median(turns.seconds[name]) for name in calls}


def main() -> None:
    settle(1, "cpu")
    double, single = figures("double"), figures("single")
    moved = {name: [double[name], single[name]] for name in double if double[name] != single[name]}
    heads = {name: both for name, both in moved.items() if " R@" in name}
    shown = [name for name, both in moved.items() if [f"{each:.2f}" for each in both[0]] != [f"{each:.2f}" for each in both[1]]]
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], **describe(choose("cpu", None, 1))}
    told = {
        "figures": len(double), "moved": len(moved), "moved by a hundredth": len(shown), "of these R@k, double and single": heads,
        "milliseconds": {f"{size} x {size}": seconds(size, rounds) for size, rounds in ((SMALL, 15), (LARGE, 5))},
    }  # fmt: skip
    print(json.dumps({"machine": machine, **told}, indent=1))


if __name__ == "__main__":
    main()

"""Figures of the first release, paired in one run: ranking against a sort, Sinkhorn against POT, memory, start-up.

    python benchmarks/first_light.py > benchmarks/first_light.json

Variants are interleaved (A B A B), warmed up once, and compared as ratios of paired medians.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import torch

from nclbench import Embeddings, Problem, Relevance, evaluate
from nclbench.plan import Plan
from nclbench.similarity.bases import Stored
from nclbench.similarity.view import View
from nclbench.sinkhorn.potentials import sinkhorn


def paired(variants: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of each variant, run in turns."""
    for call in variants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, call in variants.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def vectors(n: int, width: int = 512) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    items = draw.standard_normal((n, width), dtype=np.float32) + 0.6 * draw.standard_normal(width, dtype=np.float32)
    queries = items + 4 * draw.standard_normal((n, width), dtype=np.float32)
    for side in (queries, items):
        side /= np.linalg.norm(side, axis=1, keepdims=True)
    return queries, items


def problem(n: int) -> Problem:
    queries, items = vectors(n)
    names = tuple(map(str, range(n)))
    return Problem(Embeddings(names, queries), Embeddings(names, items), Relevance.of_items(np.arange(n)))


def sorted_metrics(queries: np.ndarray, items: np.ndarray) -> list[float]:
    """Both directions by sorting, as most repositories do."""
    scores = queries @ items.T
    found = []
    for side in (scores, scores.T):
        ordered = np.sort(-side, axis=1)
        rank = (ordered < -np.diag(side)[:, None]).sum(1)
        found += [float((rank < k).mean()) for k in (1, 5, 10)]
    return found


def ranking(n: int) -> dict[str, float]:
    queries, items = vectors(n)
    task = problem(n)
    return paired(
        {
            "one GEMM": lambda: torch.from_numpy(queries) @ torch.from_numpy(items).T,
            "nclbench, raw, both directions, all metrics with intervals, top 10": lambda: evaluate(task, plan=Plan()),
            "nclbench, raw, both directions, R@1": lambda: evaluate(task, metrics="R@1", details=False, plan=Plan()),
            "numpy sort, both directions, R@k": lambda: sorted_metrics(queries, items),
        },
        3,
    )


def normalisation(n: int, tau: float, iterations: int) -> dict[str, float]:
    queries, items = vectors(n)
    scores = (queries @ items.T).astype(np.float64)
    uniform = np.full(n, 1 / n)

    def ours() -> None:
        sinkhorn(View(Stored(scores, Plan())), tau, iters=iterations)

    def pot(method: str) -> Callable[[], Any]:
        return lambda: ot.sinkhorn(
            uniform, uniform, -scores, tau, method=method, numItermax=iterations, stopThr=0, warn=False
        )

    log = {"POT sinkhorn_log": pot("sinkhorn_log")} if n <= 2000 else {}
    return paired({"nclbench": ours, "POT sinkhorn": pot("sinkhorn"), **log}, 3)


_PEAK = """
import re, sys, time
from pathlib import Path
import numpy as np
from nclbench import Embeddings, Problem, Relevance, evaluate
from nclbench.plan import Plan
n = int(sys.argv[1])
draw = np.random.default_rng(0)
sides = [draw.standard_normal((n, 512), dtype=np.float32) for _ in range(2)]
names = tuple(map(str, range(n)))
task = Problem(Embeddings(names, sides[0]), Embeddings(names, sides[1]), Relevance.of_items(np.arange(n)))
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before = peak()
began = time.perf_counter()
evaluate(task, sys.argv[2:], plan=Plan(memory=1))
took = time.perf_counter() - began
print(peak() - before, took)
"""


def peak(n: int, *specs: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", _PEAK, str(n), *specs], capture_output=True, text=True, check=True)
    megabytes, seconds = map(float, done.stdout.split())
    return {"MB above the embeddings": megabytes, "seconds": seconds, "MB of S in float32": n * n * 4 / 2**20}


def start_up() -> float:
    took = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nclbench", "--help"], capture_output=True, check=True)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    found = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "POT": ot.__version__,
            "load before": os.getloadavg()[0],
        },
        "--help, median seconds": start_up(),
        "ranking, seconds": {str(n): ranking(n) for n in (1000, 5000)},
        "sinkhorn 20 iterations from a float64 matrix, seconds": {
            str(n): normalisation(n, 0.02, 20) for n in (1000, 5000)
        },
        "streamed evaluation, both directions": {
            "20000 raw": peak(20000),
            "6000 sinkhorn:iters=2": peak(6000, "sinkhorn:tau=0.05,iters=2"),
        },
    }
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()

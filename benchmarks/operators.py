"""Every operator streamed at 20000 x 20000: seconds and peak memory of one direction, fitted and ranked.

    python benchmarks/operators.py > benchmarks/operators.json

Each runs in a process of its own, with `Plan(memory=1)` so that nothing of the size of S is kept.
"""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import torch

SPECS = (
    "none",
    "is:tau=0.05",
    "sinkhorn:tau=0.05,iters=2",
    "dbsn:tau=0.05,iters=2",
    "nnn",
    "dn",
    "csls",
    "dissim",
    "dissim:kind=local",
    "dis:tau=0.05",
    "dualis",
    "dualdis",
    "dsl:tau=0.05",
    "ls",
    "nicdm",
    "mp",
    "invgc",
    "gc",
)
_RUN = """
import re, sys, time
from pathlib import Path
import numpy as np
from nclbench import Embeddings, Problem, Relevance, evaluate
from nclbench.plan import Plan
n, bank, width, spec = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
draw = np.random.default_rng(0)
def side(kind, rows):
    return Embeddings(tuple(f"{kind}{row}" for row in range(rows)), draw.standard_normal((rows, width), dtype=np.float32))
task = Problem(side("q", n), side("v", n), Relevance.of_items(np.arange(n)), side("b", bank), side("g", bank), logit_scale=20)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
small = Problem(side("q", 50), side("v", 50), Relevance.of_items(np.arange(50)), side("b", 50), side("g", 50), logit_scale=20)
arguments = dict(metrics="R@1", direction="t2v", reference=False, details=False, plan=Plan(memory=1))
evaluate(small, [spec.replace("nnn", "nnn:k=5")], **arguments)
Path("/proc/self/clear_refs").write_text("5")
before, began = peak(), time.perf_counter()
run = evaluate(task, [spec], **arguments).runs[0]
assert run.operator.unavailable is None, run.operator.unavailable
print(time.perf_counter() - began, peak() - before)
"""


def measure(n: int, bank: int, width: int, spec: str) -> dict[str, float]:
    command = [sys.executable, "-c", _RUN, str(n), str(bank), str(width), spec]
    seconds, megabytes = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return {"seconds": round(seconds, 1), "MB above the embeddings": round(megabytes)}


def main() -> None:
    n, bank, width = (int(value) for value in sys.argv[1:4]) if len(sys.argv) > 3 else (20000, 5000, 128)
    found = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "load before": os.getloadavg()[0],
        },
        "size": {"queries": n, "items": n, "bank rows": bank, "features": width, "MB of S in float32": n * n * 4 / 2**20},
        "operators": {spec: measure(n, bank, width, spec) for spec in SPECS},
    }
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()

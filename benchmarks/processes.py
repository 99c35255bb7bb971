"""Two processes with one thread each beside one: a whole `evaluate`, streamed, in turns.

    python benchmarks/processes.py > benchmarks/processes.json

Wall seconds from the moment all processes have their data; starting Python, torch and torchrun comes on top.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SPEC, ROUNDS = "sinkhorn:tau=0.02,iters=8,fit=test", 3


def child(size: int) -> None:
    import torch
    import torch.distributed as dist

    from nclbench import evaluate
    from nclbench.bench.data import Data
    from nclbench.plan import Plan

    torch.set_num_threads(1)
    alone = "RANK" not in os.environ
    if not alone:
        dist.init_process_group("gloo")
    plan = Plan(memory=1)
    data = Data.make(size, 512, plan)
    if not alone:
        dist.barrier()
    began = time.perf_counter()
    results = evaluate(data.problem, SPEC, plan=plan)
    seconds = time.perf_counter() - began
    if alone or dist.get_rank() == 0:
        metrics = [{name: value.value for name, value in run.metrics.items()} for run in results.runs]
        print(json.dumps({"seconds": seconds, **results.timing, "metrics": metrics}))
    if not alone:
        dist.destroy_process_group()


def run(world: int, size: int) -> dict[str, Any]:
    script = [str(Path(__file__)), "--size", str(size), "--child"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(world)]
    command = [sys.executable, *(torchrun if world > 1 else []), *script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=8000)
    parser.add_argument("--child", action="store_true")
    asked = parser.parse_args()
    if asked.child:
        child(asked.size)
        return
    before, found = os.getloadavg()[0], [(run(1, asked.size), run(2, asked.size)) for _ in range(ROUNDS)]
    assert all(one["metrics"] == two["metrics"] for one, two in found)
    seconds = {name: [pair[at]["seconds"] for pair in found] for at, name in enumerate(("one process", "two processes"))}
    faster = statistics.median(one["seconds"] / two["seconds"] for one, two in found)
    said = {"size": asked.size, "spec": SPEC, "cores": os.cpu_count(), "load before": before, "seconds": seconds}
    print(json.dumps({**said, "metrics equal": True, "two, x faster than one": faster}, indent=1))


if __name__ == "__main__":
    main()

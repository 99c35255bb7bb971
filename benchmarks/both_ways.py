"""Both directions under Sinkhorn at once, beside each alone: what sharing looks and solutions saves.

    python benchmarks/both_ways.py > benchmarks/both_ways.json

Wall seconds of `evaluate` with R@1 alone, raw and normalised, in turns; medians. Streamed: nothing of the size of S is kept.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from typing import Any

from nclbench import evaluate
from nclbench.bench.data import Data
from nclbench.plan import choose, describe

SPECS = ("sinkhorn:tau=0.01", "sinkhorn:tau=0.01,iters=4")
DIRECTIONS = ("both", "t2v", "v2t")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=10000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    plan = choose("cpu", None, asked.threads)
    data = Data.make(asked.size, 512, plan)
    before, found = os.getloadavg()[0], {}
    for path, memory in (("streamed", 1), ("kept", None)):
        for spec in SPECS:
            seconds: dict[str, list[float]] = {direction: [] for direction in DIRECTIONS}
            iterations: dict[str, Any] = {}
            for _ in range(asked.rounds):
                for direction in DIRECTIONS:
                    began = time.perf_counter()
                    results = evaluate(
                        data.problem, spec, metrics="R@1", direction=direction, details=False, plan=replace(plan, memory=memory)
                    )
                    seconds[direction].append(time.perf_counter() - began)
                    iterations[direction] = [run.convergence.iterations for run in results.runs if run.convergence]
            medians = {direction: statistics.median(each) for direction, each in seconds.items()}
            saved = (medians["t2v"] + medians["v2t"]) / medians["both"]
            found[f"{path}, {spec}"] = {"seconds": medians, "iterations": iterations, "two alone, x both": saved}
    machine = {"size": asked.size, "cores": os.cpu_count(), "load before": before, **describe(plan)}
    print(json.dumps({"machine": machine, **found}, indent=1))


if __name__ == "__main__":
    main()

"""Time and memory against the number of queries and items, kept and streamed: figures (JSON) and the plot of docs/scale.md.

    python benchmarks/growth.py benchmarks/growth.json docs/growth.svg [LARGEST]

Every size runs in a process of its own. Memory is the peak above the embeddings and the libraries.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

SIZES = (1000, 3000, 10_000, 30_000, 100_000)
DIM = 512
# of Sinkhorn, beyond what building the kernel takes
ITERATIONS = {"kept": 30, "streamed": 2}


def child(size: int, stage: str) -> dict[str, float]:
    """stage: raw (both directions from embeddings), kept or streamed (Sinkhorn, per iteration)."""
    import numpy as np

    from nclbench.plan import Plan
    from nclbench.problem import Embeddings, Problem, Relevance
    from nclbench.ranking.ranks import Request, rank
    from nclbench.similarity.pairs import Bases
    from nclbench.similarity.view import View
    from nclbench.sinkhorn.potentials import sinkhorn

    draw = np.random.default_rng(0)
    items = draw.standard_normal((size, DIM), dtype=np.float32)
    queries = items + 4 * draw.standard_normal((size, DIM), dtype=np.float32)
    names = tuple(map(str, range(size)))
    relevance = Relevance.of_items(np.arange(size))
    problem = Problem(Embeddings(names, queries), Embeddings(names, items), relevance)
    plan = Plan(memory=(1 << 50) if stage == "kept" else 1)
    base = Bases(problem, plan).base("queries", "items")
    base.exact(plan.indices(np.arange(9)), plan.indices(np.arange(9)))
    before = peak()
    began = time.perf_counter()
    if stage == "raw":
        rank([Request(View(base), relevance), Request(View(base, reverse=True), relevance)])
        seconds = time.perf_counter() - began
    else:
        if stage == "kept":  # memory that is asked for the first time is slower
            sinkhorn(View(base), 0.05, start="query", iters=0)
            began = time.perf_counter()
        sinkhorn(View(base), 0.05, start="query", iters=0)
        least = time.perf_counter() - began
        began = time.perf_counter()
        sinkhorn(View(base), 0.05, start="query", iters=ITERATIONS[stage])
        seconds = (time.perf_counter() - began - least) / ITERATIONS[stage]
    return {"size": size, "stage": stage, "seconds": seconds, "megabytes": (peak() - before) / 1e6}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def measured(largest: int) -> list[dict[str, float]]:
    found = []
    for size in SIZES:
        for stage in ("raw", "kept", "streamed"):
            if size > largest or (stage == "kept" and 4 * size * size > 6e9):
                continue
            call = [sys.executable, __file__, "--child", str(size), stage]
            done = subprocess.run(call, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
            print(found[-1], file=sys.stderr)
    return found


# name, colour, dash: told apart in grey as well
STAGES = (
    ("raw", "raw ranks, both directions", "#0072b2", ""),
    ("streamed", "Sinkhorn iteration, streamed", "#d55e00", "7 4"),
    ("kept", "Sinkhorn iteration, kept", "#009e73", "2 3"),
)


def picture(rows: list[dict[str, float]]) -> str:
    """Two panels with logarithmic axes: seconds, and megabytes above the embeddings."""
    panels = [_panel(rows, "seconds", "seconds", 70, True), _panel(rows, "megabytes", "MB above the embeddings", 470, False)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 330" font-family="sans-serif" font-size="12">'
        f'<rect width="800" height="330" fill="white"/>{"".join(panels)}</svg>\n'
    )


def _panel(rows: list[dict[str, float]], key: str, title: str, left: int, legend: bool) -> str:
    width, height, top = 300, 230, 40
    values = [max(row[key], 1e-4) for row in rows]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = 3.0, 5.0

    def x(size: float) -> float:
        return left + width * (math.log10(size) - first) / (last - first)

    def y(value: float) -> float:
        return top + height * (1 - (math.log10(max(value, 1e-4)) - low) / (high - low))

    out = [f'<text x="{left}" y="{top - 14}" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        label = f"{10.0**power:g}"
        out.append(f'<path d="M{left} {y(10.0**power):.1f}h{width}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y(10.0**power) + 4:.1f}" text-anchor="end">{label}</text>')
    for size in SIZES:
        out.append(f'<text x="{x(size):.1f}" y="{top + height + 18}" text-anchor="middle">{size // 1000}k</text>')
    out.append(f'<text x="{left + width / 2}" y="{top + height + 38}" text-anchor="middle">queries = items, D = {DIM}</text>')
    for number, (stage, name, colour, dash) in enumerate(STAGES):
        points = [(x(row["size"]), y(row[key])) for row in rows if row["stage"] == stage]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        style = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        out.append(f'<polyline points="{line}" fill="none" {style}/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        if legend:
            at = top + 12 + 18 * number
            out.append(f'<path d="M{left + 8} {at}h28" {style}/><text x="{left + 42}" y="{at + 4}">{name}</text>')
    return "".join(out)


def main() -> None:
    if sys.argv[1] == "--child":
        print(json.dumps(child(int(sys.argv[2]), sys.argv[3])))
        return
    import torch

    rows = measured(int(sys.argv[3]) if len(sys.argv) > 3 else SIZES[-1])
    machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    machine |= {"torch": str(torch.__version__)}
    text = json.dumps({"machine": machine, "dim": DIM, "rows": rows}, indent=1)
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")
    Path(sys.argv[2]).write_text(picture(rows), encoding="utf-8")


if __name__ == "__main__":
    main()

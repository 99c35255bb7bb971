"""Seconds and peak memory of `nclbench hubness-report`, imports and page included: figures as JSON.

    python benchmarks/hubness.py > benchmarks/hubness.json

MSR-VTT 1k-A (packaged) with and without figures, and random embeddings of 20000 x 20000 that are streamed.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

DEMO = Path(__file__).parents[1] / "nclbench" / "demo_data" / "msrvtt1ka_cap4video_video.h5"
SIZE, DIM = 20_000, 512


def timed(*arguments: str) -> dict[str, float]:
    """One run in a process of its own."""
    program = (
        "import resource, sys, time; began = time.perf_counter(); from nclbench.cli import main\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, file=open(sys.argv[-1], 'w'))\n"
    )
    with tempfile.NamedTemporaryFile("r") as peak:
        began = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = f"import sys\npeak = {peak.name!r}\n" + program.replace("sys.argv[-1]", "peak")
        subprocess.run([sys.executable, "-c", run, "hubness-report", *arguments, "-q"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = time.perf_counter() - began
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"seconds": seconds, "cpu_seconds": cpu, "megabytes": float(peak.read())}


def main() -> None:
    load = os.getloadavg()[0]
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = str(folder / "report.html")
        small = ("--emb", str(DEMO), "--normalize", "sinkhorn:tau=0.01,fit=test", "-o", page)
        found["1k-A, page and advice"] = timed(*small)
        found["1k-A, page"] = timed(*small, "--no-advice")
        found["1k-A, page, advice and 36 figures"] = timed(*small, "--figures", str(folder / "figures"))
        kilobytes = Path(page).stat().st_size / 1024
        draw = np.random.default_rng(0)
        for size in (1000, SIZE):
            items = draw.standard_normal((size, DIM), dtype=np.float32) + 0.3
            with h5py.File(folder / f"{size}.h5", "w") as file:
                file["video_embeddings"] = items
                file["text_embeddings"] = items + 4 * draw.standard_normal((size, DIM), dtype=np.float32)
                file["text_video_index"] = np.arange(size)
            large = ("--emb", str(folder / f"{size}.h5"), "--normalize", "is:tau=0.05", "-o", page, "--memory", "64M")
            found[f"{size} x {size} streamed, page"] = timed(*large, "--no-advice")
        found[f"{SIZE} x {SIZE} streamed, page and advice"] = timed(*large)
    found[f"{SIZE} x {SIZE} streamed, page"]["megabytes_above_small"] = (
        found[f"{SIZE} x {SIZE} streamed, page"]["megabytes"] - found["1000 x 1000 streamed, page"]["megabytes"]
    )
    machine = {"cores": os.cpu_count(), "load": load, "torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"machine": machine, "page_kilobytes": kilobytes, "runs": found}, indent=1))


if __name__ == "__main__":
    main()

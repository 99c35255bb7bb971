"""`nclbench eval` of 1000 x 1000 from HDF5 beside Python importing torch and reading the same file, in turns.

    python benchmarks/small_work.py > benchmarks/small_work.json

One thread; seconds of the processor, of the process and of what it starts. Compiled Python is kept between runs, as it is
wherever a program is run twice.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

SIZE, DIM, PAIRS = 1000, 512, 9
LEAST = "import sys, h5py, torch; file = h5py.File(sys.argv[1]); [torch.from_numpy(file[name][:]) for name in file]"


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Of the processor."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    draw = np.random.default_rng(0)
    items = draw.standard_normal((SIZE, DIM), dtype=np.float32)
    queries = items + 4 * draw.standard_normal((SIZE, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w") as file:
            file["text_embeds"], file["video_embeds"] = queries, items
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        commands = {
            "least": [sys.executable, "-c", LEAST, str(path)],
            "eval": [sys.executable, "-m", "nclbench", "eval", "--emb", str(path), "--threads", "1", "-q"],
        }
        found: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(PAIRS + 1):
            for name, command in commands.items():
                taken = seconds(command, environment)
                if number:  # the first run compiles
                    found[name].append(taken)
    ratio = statistics.median(a / b for a, b in zip(found["eval"], found["least"], strict=True))
    medians = {name: statistics.median(each) for name, each in found.items()}
    said = {"size": SIZE, "dim": DIM, "pairs": PAIRS, "median_seconds": medians, "ratio": ratio, "seconds": found}
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()

"""CPU seconds that a comparison takes, on one thread: 60000 queries and 10000 resamples, and the whole command at 1000 queries.

    python benchmarks/compare.py [-o benchmarks/compare.json]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

# as the commands do
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from nclbench.comparison.paired import Pairs, bootstrap, permutation

NAMES = ("R@1", "R@5", "R@10", "MdR", "MnR")
QUERIES, RESAMPLES, TURNS = 60_000, 10_000, 3


def ranks(draw: np.random.Generator, count: int) -> np.ndarray:
    """(count, 2) ranks of two systems of about 40 % R@1 that agree on what is hard."""
    hard = draw.normal(0.6, 2.0, (count, 1))
    return np.ceil(np.exp(hard + draw.normal(0, 0.6, (count, 2)))).clip(1, count)


def values(found: np.ndarray) -> np.ndarray:
    """(Q, 5) of ranks (Q,)."""
    return np.stack([*(100.0 * (found <= k) for k in (1, 5, 10)), found, found], 1)


def spent() -> float:
    """Process CPU seconds, children included: neighbours on the machine do not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def seconds(what) -> float:
    times = []
    for _ in range(TURNS):
        began = spent()
        what()
        times.append(spent() - began)
    return round(sorted(times)[TURNS // 2], 2)


def engine(captions: int) -> dict[str, float]:
    found = ranks(np.random.default_rng(0), QUERIES)
    cluster = np.arange(QUERIES) // captions
    median = np.array([name == "MdR" for name in NAMES])
    pairs = Pairs.of(values(found[:, 0]), values(found[:, 1]), median, cluster)
    means = Pairs.of(values(found[:, 0])[:, ~median], values(found[:, 1])[:, ~median], median[~median], cluster)
    return {
        "bootstrap of four means": seconds(lambda: bootstrap(means, RESAMPLES, 0)),
        "bootstrap of four means and a median": seconds(lambda: bootstrap(pairs, RESAMPLES, 0)),
        "permutation, MnR": seconds(lambda: permutation(pairs, 4, RESAMPLES, 0)),
        "permutation, MdR": seconds(lambda: permutation(pairs, 3, RESAMPLES, 0)),
    }


def command() -> dict[str, float]:
    """The packaged demo's 1000 queries: two rows each way, five metrics."""
    with tempfile.TemporaryDirectory() as folder:
        main = [sys.executable, "-m", "nclbench"]
        subprocess.run([*main, "demo", "--out-dir", folder, "-q"], check=True, stdout=subprocess.DEVNULL)
        path = str(Path(folder) / "results.json")
        one = [*main, "compare", path, "-f", "md", "-q"]
        return {"nclbench compare, 1000 queries": seconds(lambda: subprocess.run(one, check=True, stdout=subprocess.DEVNULL))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", default=str(Path(__file__).with_suffix(".json")))
    given = parser.parse_args()
    figures = {
        "machine": {"processor": platform.machine(), "numpy": np.__version__, "python": platform.python_version()},
        "load": [round(os.getloadavg()[0], 1)],
        "queries": QUERIES,
        "resamples": RESAMPLES,
        "cpu seconds": {"queries drawn": engine(1), "five captions an item drawn together": engine(5), "command": command()},
    }
    figures["load"].append(round(os.getloadavg()[0], 1))
    Path(given.output).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures["cpu seconds"], indent=1))


if __name__ == "__main__":
    main()

"""The figures of the engine: ours and others' in turns, at the sizes that the goals are stated for.

    python benchmarks/engine.py > benchmarks/engine.json
    python benchmarks/engine.py --quick

The machinery of `nclbench bench`, with the peers that are too slow or too odd for everybody: the log-domain loop to a
tolerance, torch.compile of it, geomloss. One thread unless told otherwise: then seconds are those of the process, and a
busy neighbour is not seen in them. Four iterations at tau 0.01 are what UCoFiA does, in its exp domain.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nclbench.bench.threads import settle

if TYPE_CHECKING:
    from nclbench.bench.contests import Contest, Setting

Makes = Sequence[Callable[[], "Contest"]]


def middle(setting: "Setting") -> Makes:
    """5000 x 5000: iterations, convergence, ranks and metrics, end to end."""
    return [
        lambda: setting.fixed(0.02, 20),
        lambda: setting.fixed(0.01, 4),
        lambda: setting.tolerance(0.01, 1e-3),
        setting.matrix,
        setting.metrics,
        lambda: setting.whole(0.01, 10),
    ]


def small(setting: "Setting") -> Makes:
    """1000 x 1000: where nothing may be much slower than anybody."""
    return [lambda: setting.fixed(0.02, 20), lambda: setting.fixed(0.01, 4), setting.matrix]


def large(setting: "Setting") -> Makes:
    """10000 x 10000, never held."""
    return [setting.embeddings, lambda: setting.streamed(0.02)]


SIZES: dict[str, tuple[int, int, Callable[["Setting"], Makes]]] = {
    "small": (1000, 300, small),
    "middle": (5000, 1000, middle),
    "large": (10000, 2000, large),
}


def said(stage: str, done: float, total: float) -> None:
    print(f"{done:.0f}/{total:.0f} {stage}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes and two rounds, to see that all runs")
    parser.add_argument("--only", choices=SIZES, action="append", help="some of the sizes; repeat")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    count = settle(asked.threads, asked.device)

    # only now: libraries read their number of threads when they are loaded
    from nclbench.bench.runs import run
    from nclbench.plan import choose

    plan = choose(asked.device, None, count)
    found: dict[str, Any] = {}
    for name in asked.only or SIZES:
        full, quick, chosen = SIZES[name]
        repeats = min(2, asked.repeats) if asked.quick else asked.repeats
        size = quick if asked.quick else full
        report = run(size, asked.dim, repeats, plan, count, more=True, chosen=chosen, said=said)
        found[f"{size} x {size}"] = report.to_json()
    json.dump(found, sys.stdout, indent=1, allow_nan=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

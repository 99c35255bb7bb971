"""What the engine does on a GPU, beside what the card could do and beside flash-sinkhorn: figures as JSON.

    python benchmarks/gpu.py benchmarks/gpu.json [--device cuda] [--quick] [--largest 1000000]

--quick: small sizes, to see that it runs (also with --device cpu, where no figure means anything). A part that fails says why in
its place, and the others go on. See benchmarks/gpu.md.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nclbench.plan import Plan, choose, describe
from nclbench.problem import Relevance
from nclbench.ranking.ranks import Request, rank
from nclbench.scorers.dot import Cosine
from nclbench.similarity import fused
from nclbench.similarity.bases import Embedded
from nclbench.similarity.halves import Halves
from nclbench.similarity.view import View
from nclbench.sinkhorn.placed import kernel_of
from nclbench.sinkhorn.potentials import sinkhorn

TAU = 0.02
ITERATIONS = 10
Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """copy: bytes. product: sides of the products that limits are measured with. kept: of stored kernels. streamed, sample."""

    dim: int
    copy: int
    product: int
    kept: tuple[int, ...]
    streamed: int
    largest: int
    sample: int
    repeats: int


FULL = Sizes(512, 4 << 30, 16_384, (10_000, 30_000, 60_000), 100_000, 1_000_000, 1000, 5)
QUICK = Sizes(64, 1 << 20, 256, (300,), 500, 700, 50, 2)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("out", type=Path)
    asked.add_argument("--device", default="cuda")
    asked.add_argument("--quick", action="store_true")
    asked.add_argument("--largest", type=int)
    given = asked.parse_args()
    sizes = QUICK if given.quick else FULL
    sizes = replace(sizes, largest=given.largest or sizes.largest)
    plan = choose(given.device)
    found: Row = {"machine": machine(plan), "sizes": vars(sizes)}
    for name, part in (("limits", limits), ("stored", stored), ("streamed", streamed), ("flash", flash), ("exact", exact),
                       ("large", large)):  # fmt: skip
        print(name, file=sys.stderr)
        found[name] = tried(lambda part=part: part(plan, sizes, found))
        free(plan)
    found["goals"] = goals(found)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for goal in found["goals"]:
        print(f"{goal['goal']}: {goal['value']} ({ {True: 'met', False: 'not met', None: 'not measured'}[goal['met']] })")


def tried(part: Callable[[], Row]) -> Row:
    try:
        return part()
    except (RuntimeError, ImportError, ValueError, TypeError) as reason:
        return {"failed": f"{type(reason).__name__}: {reason}".splitlines()[0]}


def machine(plan: Plan) -> Row:
    found: Row = dict(describe(plan))
    for package in ("triton", "flash-sinkhorn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if plan.device.startswith("cuda"):
        card = torch.cuda.get_device_properties(plan.device)
        found |= {"memory": card.total_memory, "capability": f"{card.major}.{card.minor}", "cuda": torch.version.cuda}
    return found


def seconds(plan: Plan, work: Callable[[], object], repeats: int) -> float:
    """The median of several runs after one that warms up."""
    found = []
    for _ in range(repeats + 1):
        wait(plan)
        began = time.perf_counter()
        work()
        wait(plan)
        found.append(time.perf_counter() - began)
    return statistics.median(found[1:])


def wait(plan: Plan) -> None:
    if plan.device.startswith("cuda"):
        torch.cuda.synchronize(plan.device)


def free(plan: Plan) -> None:
    if plan.device.startswith("cuda"):
        torch.cuda.empty_cache()


def embedded(size: int, sizes: Sizes, plan: Plan) -> Embedded:
    """Query i belongs to item i; cosines of others have a standard deviation of 1 / sqrt(dim)."""
    draw = np.random.default_rng(0)
    items = draw.standard_normal((size, sizes.dim), dtype=np.float32)
    queries = items + 4 * draw.standard_normal((size, sizes.dim), dtype=np.float32)
    scorer = Cosine()
    return Embedded(scorer.prepare(queries, plan), scorer.prepare(items, plan), scorer, plan)


# ----------------------------------------------------------------------------------------------------------- parts


def limits(plan: Plan, sizes: Sizes, _: Row) -> Row:
    """What the card does: bytes read and written by a copy, and products of the depth that scores have."""
    found: Row = {"copy_gb_per_s": 2 * sizes.copy / copy_seconds(plan, sizes) / 1e9}
    free(plan)
    left, right = (torch.randn((sizes.product, sizes.dim), device=plan.device) for _ in range(2))
    flops = 2 * sizes.product**2 * sizes.dim
    halves = left.half(), right.half()
    ways: dict[str, Callable[[], object]] = {
        "float32": lambda: left @ right.T,
        "float16": lambda: halves[0] @ halves[1].T,
        "float16_to_float32": lambda: torch.mm(halves[0], halves[1].T, out_dtype=torch.float32),
    }
    if not plan.half:
        del ways["float16_to_float32"]
    for name, way in ways.items():
        found[f"{name}_tflop_per_s"] = flops / seconds(plan, way, sizes.repeats) / 1e12
    return found


def copy_seconds(plan: Plan, sizes: Sizes) -> float:
    source = torch.zeros(sizes.copy, dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    return seconds(plan, lambda: target.copy_(source), sizes.repeats)


def product_seconds(found: Row, size: int, dim: int) -> float:
    """What one float16 product of this size takes at the best rate that was measured."""
    rates = [value for name, value in found["limits"].items() if name.startswith("float16")]
    return 2 * size**2 * dim / max(rates) / 1e12


def stored(plan: Plan, sizes: Sizes, found: Row) -> Row:
    """A pass over a kept kernel, in float32 and in float16: the share of the copy's bandwidth that reads it once."""
    rows: Row = {}
    for size in sizes.kept:
        for name, chosen, itemsize in (("float32", replace(plan, memory=9 * size * size, packed=False), 4),
                                       ("float16", replace(plan, memory=3 * size * size, packed=True), 2)):  # fmt: skip
            base = embedded(size, sizes, chosen)
            share = torch.full((size,), 1 / size, dtype=torch.float64, device=plan.device)
            kernel = kernel_of(View(base), TAU, share)
            assert kernel is not None
            bias = torch.zeros_like(share)
            one = seconds(plan, lambda kernel=kernel, bias=bias: kernel.passed(bias), sizes.repeats)
            read = size * size * (itemsize if kernel.kind == torch.float32 else 8)
            captured = getattr(getattr(kernel, "_replayed", None), "captured", False)
            rows[f"{size} {name}"] = {
                "path": kernel.path, "seconds": one, "graph": captured,
                "of_copy": read / one / 1e9 / found["limits"]["copy_gb_per_s"],
            }  # fmt: skip
            del kernel, base
            free(plan)
    return rows


def streamed(plan: Plan, sizes: Sizes, found: Row) -> Row:
    """Passes that make every score: seconds, and how much of that one float16 product would take."""
    size, rows = sizes.streamed, {}
    relevance = Relevance.of_items(np.arange(size))
    floor = product_seconds(found, size, sizes.dim)
    small = replace(plan, memory=1)
    for name, chosen in (("ranks, float32", replace(small, half=False)), ("ranks, float16", replace(small, half=True)),
                         ("ranks, float16, fused", replace(small, half=True, fused=True))):  # fmt: skip
        view = View(embedded(size, sizes, chosen))
        rows[name] = seconds(plan, lambda view=view: rank([Request(view, relevance)]), sizes.repeats)
    for name, chosen in (("iteration, float32", replace(small, split=False)), ("iteration, split", replace(small, split=True)),
                         ("iteration, split, fused", replace(small, split=True, fused=True))):  # fmt: skip
        view = View(embedded(size, sizes, chosen))
        times = [
            seconds(plan, lambda view=view, n=n: sinkhorn(view, TAU, start="query", iters=n), 1) for n in (0, ITERATIONS)
        ]
        rows[name] = (times[1] - times[0]) / ITERATIONS
    base = embedded(size, sizes, plan)
    halves = Halves.of(base.queries, base.items)
    assert halves is not None
    bar, zero = (torch.full((size,), value, device=plan.device) for value in (0.2, 0.0))
    rows["counts, fused"] = seconds(plan, lambda: fused.above(halves, zero, bar, bar - 2 * halves.error), sizes.repeats)
    flat = torch.full((size,), -1 / TAU, device=plan.device)
    rows["sums, fused"] = seconds(plan, lambda: fused.exp_sums(halves, 1 / TAU, flat, zero), sizes.repeats)
    return {
        "size": size, "product_seconds": floor, "triton": fused.compiled(plan.device),
        "passes": {name: {"seconds": value, "of_product": floor / value} for name, value in rows.items()},
    }  # fmt: skip


def flash(plan: Plan, sizes: Sizes, found: Row) -> Row:
    """The peer on the same problem: |q - v|^2 = 2 - 2 cos, so its eps is 2 tau. Its potentials are compared with ours."""
    from flash_sinkhorn.sinkhorn_solvers import sinkhorn_flashstyle_alternating

    size = sizes.kept[-1]
    view = View(embedded(size, sizes, replace(plan, memory=1)))
    share = torch.full((size,), 1 / size, device=plan.device)
    rows: Row = {"size": size}
    for fast in (True, False):
        def run(n: int, fast: bool = fast) -> Any:
            return sinkhorn_flashstyle_alternating(
                view.base.queries, view.base.items, share, share, eps=2 * TAU, n_iters=n, allow_tf32=fast
            )  # fmt: skip

        times = [seconds(plan, lambda n=n: run(n), sizes.repeats) for n in (1, 1 + ITERATIONS)]
        rows["tf32" if fast else "float32"] = (times[1] - times[0]) / ITERATIONS
    theirs = run(ITERATIONS)[1].double() / (2 * TAU)
    ways = {
        "kept": replace(plan, memory=9 * size * size), "kept, half": replace(plan, memory=3 * size * size, packed=True),
        "streamed": replace(plan, memory=1), "streamed, fused": replace(plan, memory=1, split=True, fused=True),
    }  # fmt: skip
    for name, chosen in ways.items():
        view = View(embedded(size, sizes, chosen))
        times = [
            seconds(plan, lambda view=view, n=n: sinkhorn(view, TAU, start="query", iters=n), 1) for n in (0, ITERATIONS)
        ]
        ours = sinkhorn(view, TAU, start="query", iters=ITERATIONS).bias
        apart = (ours - ours.mean()) - (theirs - theirs.mean())
        rows[f"ours, {name}"] = {"seconds": (times[1] - times[0]) / ITERATIONS, "nats_apart": float(apart.abs().max())}
    return rows


def wrong_ranks(view: View, ranking: Any, rows: torch.Tensor, plan: Plan) -> int:
    """How many of these rows have another rank than counting their float64 scores gives; ties within rounding are not counted."""
    queries, items = view.base.queries, view.base.items
    wrong, step = 0, max(1, (1 << 26) // len(items))
    above = torch.from_numpy(ranking.above).to(plan.device)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        scores = view.base.scorer.fine(queries[part], items)
        own = scores[torch.arange(len(part), device=plan.device), part]
        more, near = (scores > own[:, None] + 1e-12).sum(1), (scores > own[:, None] - 1e-12).sum(1) - 1
        wrong += int(((above[part] < more) | (above[part] > near)).sum())
    return wrong


def exact(plan: Plan, sizes: Sizes, _: Row) -> Row:
    """Ranks of float16 operands beside float64 ones of a sample, and beside those of float32 operands for all rows."""
    size = sizes.streamed
    relevance, rankings = Relevance.of_items(np.arange(size)), {}
    for name, half in (("float16", True), ("float32", False)):
        view = View(embedded(size, sizes, replace(plan, half=half, memory=1)))
        rankings[name] = rank([Request(view, relevance, 10)])[0]
    without_tiles = View(embedded(size, sizes, replace(plan, half=True, fused=True)))
    counted = rank([Request(without_tiles, relevance)])[0]
    rows = torch.linspace(0, size - 1, sizes.sample, device=plan.device).long()
    one, other = rankings["float16"], rankings["float32"]
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("above", "tied", "top"))
    same = same and np.array_equal(counted.above, other.above) and np.array_equal(counted.tied, other.tied)
    return {"size": size, "sample": sizes.sample, "as_float32": same, "wrong": wrong_ranks(view, one, rows, plan)}


def large(plan: Plan, sizes: Sizes, _: Row) -> Row:
    """Once to the end: ranks of both directions, and two iterations of Sinkhorn."""
    size = sizes.largest
    view = View(embedded(size, sizes, plan))
    relevance = Relevance.of_items(np.arange(size))
    began = time.perf_counter()
    ranking, _turned = rank([Request(view, relevance), Request(view.reversed(), relevance)])
    wait(plan)
    ranked = time.perf_counter() - began
    began = time.perf_counter()
    fitted = sinkhorn(view, TAU, start="query", iters=2)
    wait(plan)
    took = time.perf_counter() - began
    rows = torch.linspace(0, size - 1, sizes.sample, device=plan.device).long()
    found = {"size": size, "ranks_seconds": ranked, "two_iterations_seconds": took, "path": fitted.path}
    found["wrong"] = wrong_ranks(view, ranking, rows, plan)
    if plan.device.startswith("cuda"):
        found["peak_bytes"] = torch.cuda.max_memory_allocated(plan.device)
    return found


# ----------------------------------------------------------------------------------------------------------- goals


def goals(found: Row) -> list[Row]:
    """What the project wants of a card, and what was measured; None where a part failed."""

    def least(name: str, value: float | None, limit: float) -> Row:
        return {"goal": name, "value": value, "limit": limit, "met": None if value is None else value >= limit}

    kept = [row["of_copy"] for row in found["stored"].values() if isinstance(row, dict)]
    passes = found["streamed"].get("passes", {})
    best = {kind: max((row["of_product"] for name, row in passes.items() if name.startswith(kind)), default=None)
            for kind in ("ranks", "counts", "sums")}  # fmt: skip
    ours = [row["seconds"] for name, row in found["flash"].items() if name.startswith("ours")]
    peer = min((found["flash"][name] for name in ("tf32", "float32") if name in found["flash"]), default=None)
    wrong = [found[part].get("wrong") for part in ("exact", "large")]
    right = None if None in wrong else float(not any(wrong) and found["exact"]["as_float32"])
    return [
        least("stored pass, share of copy bandwidth", max(kept, default=None), 0.7),
        *(least(f"streamed pass ({kind}), share of the float16 product", value, 0.6) for kind, value in best.items()),
        least("iteration, times as fast as flash-sinkhorn", peer / min(ours) if peer and ours else None, 1.0),
        least("ranks exact", right, 1.0),
        least("largest size run to the end", None if "failed" in found["large"] else found["large"]["size"], 1_000_000),
    ]


if __name__ == "__main__":
    main()

"""What the machine can do at best: read a large array, multiply float32 matrices at this width. Everything is a share."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from nclbench.bench.data import Data
from nclbench.plan import SCORES, Plan

# entries of the array that is read: 256 MB, far beyond any cache
LARGE = 1 << 26
# rows and columns of the tiles that are tried; 0 is all
_TILES = ((0, 0), (512, 0), (512, 1024), (1024, 1024), (2048, 1024), (256, 2048))


def settled(tensor: Tensor) -> None:
    """Waits until a device has made this tensor."""
    float(tensor.reshape(-1)[0])


def reading(plan: Plan, entries: int = LARGE) -> tuple[int, Callable[[], None]]:
    """(bytes, a call that reads them once)."""
    array = torch.ones(entries, dtype=SCORES, device=plan.device)
    return array.numel() * array.element_size(), lambda: settled(array.sum())


@dataclass(frozen=True)
class Gemm:
    """The fastest way found to make S tile by tile in one buffer. how: tile and threads. flops: of one call."""

    how: str
    call: Callable[[], None]
    flops: float


def best_gemm(data: Data, threads: int) -> Gemm:
    """Tiles of several shapes, with the threads of one product or with one thread a strip: the best of two runs each."""
    queries, items = (data.plan.put(side, SCORES) for side in (data.queries, data.items))
    candidates = {}
    for tile in dict.fromkeys((rows or len(queries), columns or len(items)) for rows, columns in _TILES):
        if tile[0] > len(queries) or tile[1] > len(items):
            continue
        together = f", {threads} threads a product" if threads > 1 and data.plan.device == "cpu" else ""
        candidates[f"tiles of {tile[0]} x {tile[1]}{together}"] = _product(queries, items, tile, 1)
        if threads > 1 and data.plan.device == "cpu" and tile[0] * threads <= len(queries):
            how = f"tiles of {tile[0]} x {tile[1]}, a strip a thread"
            candidates[how] = _product(queries, items, tile, threads)
    seconds = {how: min(_once(call) for _ in range(2)) for how, call in candidates.items()}
    best = min(seconds, key=seconds.__getitem__)
    return Gemm(best, candidates[best], 2.0 * data.elements * data.dim)


def _once(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _product(queries: Tensor, items: Tensor, tile: tuple[int, int], workers: int) -> Callable[[], None]:
    """A call that makes (N, D) (M, D)^T in tiles; each worker has a buffer of one tile."""
    rooms = [queries.new_empty(tile) for _ in range(workers)]
    turned = items.T

    def strips(number: int) -> None:
        for top in range(number * tile[0], len(queries), workers * tile[0]):
            part = queries[top : top + tile[0]]
            for left in range(0, len(items), tile[1]):
                across = turned[:, left : left + tile[1]]
                torch.mm(part, across, out=rooms[number][: len(part), : across.shape[1]])

    def call() -> None:
        if workers == 1:
            strips(0)
        else:
            with _alone(), ThreadPoolExecutor(workers) as pool:
                list(pool.map(strips, range(workers)))
        settled(rooms[0])

    return call


@contextmanager
def _alone() -> Iterator[None]:
    """One thread for each product."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine(plan: Plan) -> dict[str, Any]:
    """What the figures were made on. load_average: of the last minute, before anything was run."""
    return {
        "cpu": _model() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "device": plan.device,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return ""


def installed(*names: str) -> str | None:
    """The version of the first distribution of these names that is here."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None

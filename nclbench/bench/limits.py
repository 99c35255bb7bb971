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
from threadpoolctl import threadpool_info
from torch import Tensor

from nclbench.bench.data import Data
from nclbench.machine import host
from nclbench.machine.blas import single
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
    """The fastest way found to make S tile by tile in one buffer. how: library, tile and threads. flops: of one call."""

    how: str
    call: Callable[[], None]
    flops: float


Multiply = Callable[[Tensor, Tensor, Tensor], Any]


def gemms(data: Data, threads: int) -> dict[str, Gemm]:
    """The best of each library, the best of all first: tiles of several shapes, with the threads of one product or with one
    thread a strip, two runs of each."""
    queries, items = (data.plan.put(side, SCORES) for side in (data.queries, data.items))
    libraries: dict[str, Multiply] = {"torch": lambda left, right, out: torch.mm(left, right.T, out=out)}
    if data.plan.device == "cpu":
        libraries["numpy"] = host.product
    found = {}
    for name, multiply in libraries.items():
        candidates = dict(_candidates(queries, items, data.plan.device, threads, multiply))
        seconds = {how: min(_once(call) for _ in range(2)) for how, call in candidates.items()}
        best = min(seconds, key=seconds.__getitem__)
        found[name] = seconds[best], Gemm(f"{name}, {best}", candidates[best], 2.0 * data.elements * data.dim)
    return {name: gemm for name, (_, gemm) in sorted(found.items(), key=lambda each: each[1][0])}


def _candidates(
    queries: Tensor, items: Tensor, device: str, threads: int, multiply: Multiply
) -> Iterator[tuple[str, Callable[[], None]]]:
    several = threads > 1 and device == "cpu"
    for tile in dict.fromkeys((rows or len(queries), columns or len(items)) for rows, columns in _TILES):
        if tile[0] > len(queries) or tile[1] > len(items):
            continue
        yield f"tiles of {tile[0]} x {tile[1]}" + (f", {threads} threads a product" if several else ""), _product(
            queries, items, tile, 1, multiply
        )
        if several and tile[0] * threads <= len(queries):
            yield f"tiles of {tile[0]} x {tile[1]}, a strip a thread", _product(queries, items, tile, threads, multiply)


def _once(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _product(queries: Tensor, items: Tensor, tile: tuple[int, int], workers: int, multiply: Multiply) -> Callable[[], None]:
    """A call that makes (N, D) (M, D)^T in tiles; each worker has a buffer of one tile."""
    rooms = [queries.new_empty(tile) for _ in range(workers)]

    def strips(number: int) -> None:
        for top in range(number * tile[0], len(queries), workers * tile[0]):
            part = queries[top : top + tile[0]]
            for left in range(0, len(items), tile[1]):
                across = items[left : left + tile[1]]
                multiply(part, across, rooms[number][: len(part), : len(across)])

    def call() -> None:
        if workers == 1:
            strips(0)
        else:
            with _alone(), single(), ThreadPoolExecutor(workers) as pool:
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
        "numpy_products": _linked(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _linked() -> str:
    """The library of numpy's products, and the kind of processor that it takes this one for."""
    found = [each for each in threadpool_info() if each["user_api"] == "blas" and "numpy" in each["filepath"]]
    return ", ".join(f"{each['internal_api']} {each['version']}, {each.get('architecture', '')}" for each in found)


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

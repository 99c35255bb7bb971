"""Threads that share work by strips, each computing by itself.

Threads within one operation wait for the slowest at its end; these do not, so that a busy neighbour costs little.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Part = TypeVar("Part")
Found = TypeVar("Found")

_outside: list[int] = []


@contextmanager
def alone() -> Iterator[int]:
    """Within it every operation of torch runs on the thread that asks; gives how many threads there are to share work.

    Switching costs milliseconds, so that a loop of many short passes stands inside as a whole.
    """
    if _outside:
        yield _outside[0]
        return
    _outside.append(torch.get_num_threads())
    if _outside[0] > 1:
        torch.set_num_threads(1)
    try:
        yield _outside[0]
    finally:
        if _outside[0] > 1:
            torch.set_num_threads(_outside[0])
        _outside.clear()


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="nclbench")


def shared(work: Callable[[Sequence[Part]], Found], parts: Sequence[Part]) -> list[Found]:
    """work(some of the parts), by as many threads as torch may use, each with every so-manyth part."""
    with alone() as count:
        threads = min(count, len(parts))
        if threads < 2:
            return [work(parts)]
        return list(_workers(count).map(work, [parts[number::threads] for number in range(threads)]))

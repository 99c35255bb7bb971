"""Threads that share work by strips, each computing by itself.

Threads within one operation wait for the slowest at its end; these do not, so that a busy neighbour costs little.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from threading import Event, Lock, local
from typing import TypeVar

import torch

from nclbench.machine.blas import single

Part = TypeVar("Part")
Found = TypeVar("Found")

class Counted:
    """Work done by several threads, told as it adds up."""

    def __init__(self, report: Callable[[str, float, float], None], stage: str, whole: float) -> None:
        self._report, self._stage, self._whole, self._done, self._lock = report, stage, whole, 0.0, Lock()

    def add(self, more: float) -> None:
        with self._lock:
            self._done += more
            self._report(self._stage, self._done, self._whole)


# of each thread: whether modes are off, and how many threads it shares work with
_mine = local()


@contextmanager
def plainly() -> Iterator[None]:
    """Modes that a caller may have set for one thread, and that would round products or forbid writing, are off."""
    if getattr(_mine, "plain", False):  # a loop of many short passes would feel setting them at each
        yield
        return
    _mine.plain = True
    try:
        rounding = torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False)
        with torch.inference_mode(False), torch.no_grad(), rounding[0], rounding[1]:
            yield
    finally:
        _mine.plain = False


@contextmanager
def alone() -> Iterator[int]:
    """Within it every operation of torch and numpy runs on the thread that asks; gives how many threads there are to share work.

    Switching costs milliseconds, so that a loop of many short passes stands inside as a whole.
    """
    count = getattr(_mine, "count", 0)
    if count:
        with plainly():
            yield count
        return
    count = _mine.count = torch.get_num_threads()
    if count > 1:
        torch.set_num_threads(1)
    try:
        with plainly(), single():
            yield count
    finally:
        if count > 1:
            torch.set_num_threads(count)
        _mine.count = 0


def workers() -> int:
    """How many threads there are to share work."""
    return getattr(_mine, "count", 0) or torch.get_num_threads()


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    # a new thread's linear algebra would use all cores, until told, and would also round otherwise
    return ThreadPoolExecutor(count, "nclbench", initializer=torch.set_num_threads, initargs=(1,))


def _forget() -> None:
    """A forked process has the pool, but none of its threads."""
    _workers.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def shared(work: Callable[[Iterator[Part]], Found], parts: Sequence[Part]) -> list[Found]:
    """work(some of the parts), by as many threads as torch may use, each with every so-manyth part.

    When one of them fails, or the asking thread is interrupted, the others are given no further parts.
    """
    with alone() as count:
        threads = min(count, len(parts))
        if threads < 2:
            return [work(iter(parts))]
        stopped = Event()

        def mine(number: int) -> Iterator[Part]:
            for part in parts[number::threads]:
                if stopped.is_set():
                    return
                yield part

        futures: list[Future[Found]] = []
        try:
            for number in range(threads):
                futures.append(_workers(count).submit(_watched, work, mine(number), stopped))
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            wait(futures)
            raise


def _watched(work: Callable[[Iterator[Part]], Found], parts: Iterator[Part], stopped: Event) -> Found:
    try:
        with plainly():
            return work(parts)
    except BaseException:
        stopped.set()
        raise

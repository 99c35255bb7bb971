"""numpy's products by one thread: its own ones spin while they wait, ten times slower beside a busy neighbour."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


@dataclass(eq=False)
class _Limit:
    """Of the whole process, as long as somebody needs it. by: how many are within. before: what stands again after them."""

    by: int = 0
    before: Any = None
    lock: Any = field(default_factory=Lock)

    def enter(self) -> None:
        with self.lock:
            self.by += 1
            if self.by == 1:
                self.before = _shared().limit(limits=1)

    def leave(self) -> None:
        with self.lock:
            self.by -= 1
            if self.by:
                return
            if all(library.num_threads == 1 for library in _shared().lib_controllers):  # else it was another's to limit
                _released()
            self.before.restore_original_limits()
            _released()


_limit = _Limit()


@contextmanager
def single() -> Iterator[None]:
    """Several threads may be within it at once: the first one to come limits, the last one to leave lifts."""
    _limit.enter()
    try:
        with _own().limit(limits=1):
            yield
    finally:
        _limit.leave()


@cache
def _shared() -> ThreadpoolController:
    """Libraries whose threads are those of the process."""
    found = ThreadpoolController()
    layers = {getattr(library, "threading_layer", None) for library in found.lib_controllers}
    return found.select(user_api="blas").select(threading_layer=list(layers - {"openmp"}))


@cache
def _own() -> ThreadpoolController:
    """Libraries that have threads for each thread that asks."""
    return ThreadpoolController().select(user_api="blas").select(threading_layer="openmp")


def _released() -> None:
    """Only the thread that set a limit may set another one, until it is let off."""
    for library in _shared().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


def _forget() -> None:
    """A forked process has one thread, and a lock that another one may have held."""
    _limit.lock = Lock()
    _limit.by = min(_limit.by, 1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

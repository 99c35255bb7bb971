"""Counting and choosing in one read of a tile, what that left open, and what defines a score, compiled by numba (extra `fast`).

torch makes several passes of what these do in one. What counts decides nothing by itself, since pairs within the error of a tile
are scored by the definition either way, and what defines a score has the same bits: ranks are the same with and without.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

# so many scores have to be passed over before importing numba and compiling, a second for each loop the first time, pays
_WORTH = 1 << 28
# threads that ask at once must not each compile
_lock = Lock()


def worthwhile(scores: int) -> bool:
    """Whether to use what is compiled for so many scores, or rows: numba is there, and loaded already or soon worth it."""
    return (loaded() or scores >= _WORTH) and _numba() is not None


def load() -> str | None:
    """Use what is compiled from now on, however small the problem; numba's version, None where it is not there."""
    numba = _numba()
    return None if numba is None else str(numba.__version__)


def loaded() -> bool:
    return "numba" in sys.modules


@cache
def _numba() -> ModuleType | None:
    try:
        return import_module("numba")  # slow
    except ImportError:  # not there, or not for this numpy
        return None


def loop(function: Callable[..., int | None]) -> Any:
    """The function, compiled when it is first called."""
    with _lock:
        return _compiled(function)


@cache
def _compiled(function: Callable[..., int | None]) -> Any:
    numba = _numba()
    assert numba is not None
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder to keep compiled code in may be written to
        return numba.njit(nogil=True, error_model="numpy")(function)

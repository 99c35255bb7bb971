"""numpy's products by one thread: its own ones spin while they wait, ten times slower beside a busy neighbour."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def single() -> Iterator[None]:
    with _found().limit(limits=1, user_api="blas"):
        yield


@cache
def _found() -> ThreadpoolController:
    return ThreadpoolController()

"""What holds for every test, and what several files of tests ask for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nclbench import compiled


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba may have been loaded by an earlier test: what is compiled is used by those tests only that ask for it."""
    monkeypatch.setattr(compiled, "loaded", lambda: False)


@pytest.fixture(autouse=True)
def _own_variables() -> Iterator[None]:
    """The program and libraries set some where they run within a test: a process that a later test starts has none of them."""
    before = dict(os.environ)
    yield
    after = dict(os.environ)
    for name in before.keys() | after.keys():
        if name not in before:
            del os.environ[name]
        elif after.get(name) != before[name]:
            os.environ[name] = before[name]


@contextmanager
def _one() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads of one operation wait for each other: small problems take longer on several where the machine is busy."""
    with _one():
        yield


@pytest.fixture(scope="module")
def one_thread_throughout() -> Iterator[None]:
    """One thread for fixtures of the whole file too."""
    with _one():
        yield

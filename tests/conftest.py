"""What holds for every test."""

import pytest

from nclbench import compiled


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba may have been loaded by an earlier test: what is compiled is used by those tests only that ask for it."""
    monkeypatch.setattr(compiled, "loaded", lambda: False)

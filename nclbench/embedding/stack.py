"""The shards of one kind as one array whose rows are read where they are asked for."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.embedding.parts import Array, Parts

_PIECE = 256
# shards that are kept: captions that many share stand in early ones
_KEPT = 4


class Stack:
    """Rows of all shards that have any, one after the other; those of fewer words or frames than others are padded."""

    def __init__(self, parts: Parts, names: Sequence[str]) -> None:
        shapes = [(name, parts.shapes(name)) for name in names]
        self._shapes = [(name, each) for name, each in shapes if each]
        self._names = [name for name, _ in self._shapes]
        self._starts = np.cumsum([0, *(each["whole"][0] for _, each in self._shapes)])
        self._parts = parts
        self._read = lru_cache(_KEPT)(parts.read)

    @property
    def keys(self) -> list[str]:
        return list(self._shapes[0][1])

    def shape(self, key: str) -> tuple[int, ...]:
        """Of one row."""
        found: list[int] = np.max([each[key][1:] for _, each in self._shapes], axis=0).astype(int).tolist()
        return tuple(found)

    def dtype(self, key: str) -> npt.DTypeLike:
        return self._read(self._names[0], key).dtype

    def pieces(self, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        for at in range(0, len(rows), _PIECE):
            yield rows[at : at + _PIECE]

    def rows(self, key: str, rows: npt.NDArray[np.int64]) -> Array:
        """(n, …) these rows."""
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        found: Array | None = None
        for at in np.unique(shard).tolist():
            values = self._read(self._names[at], key)
            if found is None:
                found = np.zeros((len(rows), *self.shape(key)), dtype=values.dtype)
            here = np.flatnonzero(shard == at)
            place: Any = (here, *(slice(0, most) for most in values.shape[1:]))
            found[place] = values[rows[here] - self._starts[at]]
        assert found is not None
        return found

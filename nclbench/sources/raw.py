"""What a file holds before anybody has decided what it means: named arrays, attributes, a way to read some."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError
from nclbench.files import printable

Array = npt.NDArray[Any]
Scalar = str | int | float | bool

STRING = "string"


@dataclass(frozen=True)
class Entry:
    """One array of a file. dtype: the numpy name, `string`, or the file's own word for a type that is not read."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class Raw:
    """A file as found.

    origin: its path as the user gave it, safe to print. path: the same, to open.
    entries: what is inside; one nameless array (npy, a list of lines) has the key "".
    fetch: keys -> arrays; strings become object arrays of str. files: every file that was read for it, to be hashed.
    cut: the same, where a slice stands beside a key only these rows of it; None where a part of an array cannot be read
    without the rest.
    """

    path: str
    entries: Mapping[str, Entry]
    attributes: Mapping[str, Scalar]
    fetch: Callable[[list[str]], dict[str, Array]] = field(repr=False)
    files: tuple[Path, ...] = ()
    cut: Callable[[Mapping[str, slice | None]], dict[str, Array]] | None = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        return printable(self.path)

    def where(self, key: str) -> str:
        """`file.h5:text_embeddings`, as messages name an array."""
        return f"{self.origin}:{printable(key)}" if key else self.origin


def texts(values: Iterable[Any], where: str) -> Array:
    """(N,) UTF-8 bytes or str as an object array of str; InputError names the first row that is neither."""
    found: list[str] = []
    for row, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                value = value.decode("utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{where}: row {row} is not UTF-8 text; write it as UTF-8") from None
        if not isinstance(value, str):
            raise InputError(f"{where}: row {row} is not a text")
        found.append(value)
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array


def plain(array: Array, where: str) -> Array:
    """Numbers in native byte order, numpy's own strings as an object array of str. Anything else is an InputError."""
    check_dtype(array.dtype, where)
    if array.dtype.kind in "SU":
        if array.ndim != 1:
            raise InputError(f"{where}: texts of shape {array.shape}; give a list of them")
        return texts(array.tolist(), where)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_dtype(dtype: np.dtype[Any], where: str) -> None:
    """Refuses whatever is not numbers or texts, Python objects above all: reading those would run code."""
    if dtype.hasobject:
        raise InputError(f"{where}: holds Python objects (a pickle), which could run code; save plain numbers or texts")
    if dtype.kind == "V" and dtype.names is None and dtype.itemsize == 2:
        raise InputError(f"{where}: 2-byte values without a type (bfloat16?); store float32, or use safetensors")
    if dtype.kind not in "biufSU" or (dtype.kind == "f" and dtype.itemsize > 8):
        raise InputError(f"{where}: dtype {dtype} is neither numbers nor texts; store float32, integers or strings")


def name_of(dtype: np.dtype[Any]) -> str:
    """The dtype as `Entry` writes it."""
    return STRING if dtype.kind in "SU" else str(dtype.newbyteorder("="))


def scalar(value: Any) -> Scalar | None:
    """A 0-d array or number as an attribute; None where it is nothing of the kind."""
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 and value.dtype.kind in "biufSU":
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str | int | float | bool) else None

"""npy: one array in a file. Never a pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.sources.raw import Array, Entry, Raw, check_dtype, name_of, plain

SUFFIXES = (".npy",)


def open_file(path: Path) -> Raw:
    """The one array of the file, under the key ""."""
    where = printable(path)
    with path.open("rb") as stream:
        shape, dtype, by_rows = header(stream, where)
        start = stream.tell()
        check_size(shape, dtype, path.stat().st_size - start, where)

    def cut(wanted: Mapping[str, slice | None]) -> dict[str, Array]:
        rows = wanted[""]
        return _read(path, where) if rows is None else {"": plain(some_rows(path, start, dtype, shape, rows), where)}

    entries = {"": Entry(shape, name_of(dtype))}
    return Raw(str(path), entries, {}, lambda keys: _read(path, where), (path,), cut if by_rows else None)


def some_rows(path: Path, start: int, dtype: Any, shape: tuple[int, ...], rows: slice) -> Array:
    """(n, …) rows of an array (N, …) that lies row by row from the byte `start` on; nothing else is read."""
    kind, width = np.dtype(dtype), 1
    for size in shape[1:]:
        width *= size
    count = rows.stop - rows.start
    found: Array = np.fromfile(path, kind, count * width, offset=start + rows.start * width * kind.itemsize)
    return found.reshape(count, *shape[1:])


def header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape and dtype from the header of an npy stream, and whether it lies row by row; unread dtypes are an InputError."""
    version = npy_format.read_magic(stream)
    if version == (1, 0):
        shape, by_columns, dtype = npy_format.read_array_header_1_0(stream)
    elif version in ((2, 0), (3, 0)):
        shape, by_columns, dtype = npy_format.read_array_header_2_0(stream)
    else:
        raise InputError(f"{where}: npy format {version[0]}.{version[1]} is not known; save it with numpy.save")
    check_dtype(dtype, where)
    if min(shape, default=0) < 0:
        raise InputError(f"{where}: negative size in shape {shape}; a damaged file")
    return shape, dtype, not by_columns


def check_size(shape: tuple[int, ...], dtype: np.dtype[Any], stored: int, where: str) -> None:
    """The header must declare exactly the bytes that follow it, neither more (cut off) nor fewer (a second array)."""
    declared = dtype.itemsize
    for size in shape:
        declared *= size
    if declared != stored:
        verdict = "it is cut off" if declared > stored else "something else follows the array"
        raise InputError(f"{where}: shape {shape} of {dtype} is {declared} bytes, but {stored} follow; {verdict}")


def _read(path: Path, where: str) -> dict[str, Array]:
    with path.open("rb") as stream:
        return {"": plain(npy_format.read_array(stream, allow_pickle=False), where)}

"""HDF5, read by `hdf5_child.py` in a process of its own under a time and a memory limit; arrays come through a pipe."""

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from nclbench.archives import FREE_BYTES, RATIO
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.sources.raw import STRING, Array, Entry, Raw

SUFFIXES = (".h5", ".hdf5", ".he5", ".hdf")
CHILD = Path(__file__).with_name("hdf5_child.py")
# Processor seconds for any file, and a second more for so many bytes: an endless loop spends them, a slow disk not.
SECONDS = 15
BYTES_A_SECOND = 50 << 20
MEMORY = 2 << 30


def open_file(path: Path) -> Raw:
    """Lists an HDF5 file. Datasets without dimensions become attributes."""
    (header, _), *_ = _ask(path, None)
    entries: dict[str, Entry] = {}
    for key, entry in header["entries"].items():
        shape = entry["shape"]
        entries[str(key)] = Entry(tuple(shape) if shape is not None else (0,), str(entry["dtype"]))

    def cut(wanted: Mapping[str, slice | None]) -> dict[str, Array]:
        return {header["key"]: array for header, array in _ask(path, wanted) if array is not None}

    return Raw(str(path), entries, header["attributes"], lambda keys: cut(dict.fromkeys(keys)), (path,), cut)


def _ask(path: Path, wanted: Mapping[str, slice | None] | None) -> list[tuple[dict[str, Any], Array | None]]:
    size = path.stat().st_size
    seconds = SECONDS + size // BYTES_A_SECOND
    request = {
        "path": os.fsencode(path).hex(),
        "keys": None if wanted is None else list(wanted),
        "rows": {key: [rows.start, rows.stop] for key, rows in (wanted or {}).items() if rows is not None},
        "memory": MEMORY + 4 * max(size, FREE_BYTES),
        "seconds": seconds,
        "rate": BYTES_A_SECOND,
        "free": FREE_BYTES,
        "ratio": RATIO,
    }
    # -P keeps the working folder, where the untrusted file may lie, off the import path; "::" turns plug-ins off.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    with subprocess.Popen(
        [sys.executable, "-P", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(10 * seconds, process.kill)
        timer.start()
        try:
            _tell(process.stdin, request)
            return list(_frames(process.stdout, path))
        except (EOFError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
            if not isinstance(error, EOFError):
                process.kill()
            code = process.wait()
            raise InputError(f"{printable(path)}: damaged HDF5 ({_end(code, error)})") from None
        finally:
            timer.cancel()
            process.kill()


def _tell(stream: IO[bytes], request: dict[str, Any]) -> None:
    try:
        stream.write(json.dumps(request).encode())
        stream.close()
    except OSError:
        raise EOFError from None


def _end(code: int, error: Exception) -> str:
    if not isinstance(error, EOFError):
        return f"{type(error).__name__} while reading"
    if code in (-9, -24):
        return "the HDF5 library did not come to an end in time"
    return f"the HDF5 library crashed reading it, status {code}"


def _frames(stream: IO[bytes], path: Path) -> Iterator[tuple[dict[str, Any], Array | None]]:
    while True:
        (length,) = struct.unpack("<Q", _exactly(stream, 8))
        header = json.loads(_exactly(stream, length))
        if "error" in header:
            raise InputError(f"{printable(path)}: {printable(header['error'])}")
        if "broken" in header:
            raise InputError(f"{printable(path)}: damaged or not HDF5 ({printable(header['broken'])[:200]})")
        if "end" in header:
            return
        yield header, _array(stream, header) if "key" in header else None


def _array(stream: IO[bytes], header: dict[str, Any]) -> Array:
    shape, dtype = tuple(header["shape"]), header["dtype"]
    if dtype != STRING:
        array = np.empty(shape, dtype=np.dtype(dtype))
        _fill(stream, array)
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    lengths = np.empty(int(np.prod(shape, dtype=np.int64)), dtype="<i8")
    _fill(stream, lengths)
    ends = np.cumsum(lengths)
    blob = _exactly(stream, int(ends[-1]) if len(ends) else 0)
    found = np.empty(len(lengths), dtype=object)
    found[:] = [blob[end - size : end].decode() for end, size in zip(ends.tolist(), lengths.tolist(), strict=True)]
    return found.reshape(shape)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _fill(stream: IO[bytes], array: Array) -> None:
    view = array.reshape(-1).view(np.uint8).data
    while len(view):
        got = stream.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        view = view[got:]

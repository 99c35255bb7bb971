"""HDF5: groups `SPLIT/MODALITY`, variable-length UTF-8 texts, no compression (it saves nothing on vectors)."""

import errno
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nclbench.files import replacing
from nclbench.sinks.schema import Array, Scalar, Slabs

# headers, and what a text costs beside its letters
_MORE, _OF_A_TEXT = 1 << 16, 48


def write(arrays: Mapping[str, Array | Slabs], attributes: Mapping[str, Scalar], path: Path) -> None:
    """Writes the file whole or not at all. MissingError where there is no room for it."""
    import h5py

    with replacing(path) as temporary:
        _make_room(temporary, sum(map(_bytes, arrays.values())) + _MORE)
        with h5py.File(temporary, "w") as file:
            file.attrs.update(attributes)
            for key, values in arrays.items():
                if isinstance(values, Slabs):
                    place = file.create_dataset(key, shape=values.shape, dtype=values.dtype)
                    at = 0
                    for piece in values.pieces():
                        place[at : at + len(piece)] = piece
                        at += len(piece)
                    if at != len(place):
                        raise ValueError(f"{key}: {at} rows of {len(place)}")
                elif values.dtype == object:
                    file.create_dataset(key, data=values, dtype=h5py.string_dtype("utf-8"))
                else:
                    file.create_dataset(key, data=values)


def _bytes(values: Array | Slabs) -> int:
    if isinstance(values, Slabs):
        return math.prod(values.shape) * np.dtype(values.dtype).itemsize
    if values.dtype == object:
        return sum(len(str(text).encode("utf-8", "replace")) + _OF_A_TEXT for text in values.flat)
    return values.nbytes


def _make_room(path: Path, size: int) -> None:
    """Asks for the whole of it beforehand: a disk that is full, or a quota, leaves HDF5 and the process in pieces."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("wb") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # of file systems that promise nothing
                raise

"""HDF5: groups `SPLIT/MODALITY`, variable-length UTF-8 texts, no compression (it saves nothing on vectors)."""

from collections.abc import Mapping
from pathlib import Path

from nclbench.files import replacing
from nclbench.sinks.schema import Array, Scalar, Slabs


def write(arrays: Mapping[str, Array | Slabs], attributes: Mapping[str, Scalar], path: Path) -> None:
    """Writes the file whole or not at all."""
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
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

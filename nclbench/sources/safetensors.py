"""safetensors: tensors by name; texts as JSON lists in its metadata, or in `NAME.meta.parquet` beside it."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nclbench.archives import unique
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.sources.npy import some_rows
from nclbench.sources.raw import STRING, Array, Entry, Raw, Scalar, texts

SUFFIXES = (".safetensors",)
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip


def open_file(path: Path) -> Raw:
    """Lists tensors and texts. bfloat16 is read as float32, which holds it exactly."""
    from safetensors import safe_open

    # The library checks that sizes, offsets and header agree; it does not notice a name given twice.
    with safe_open(str(path), framework="numpy"):
        pass
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        tensors = json.loads(stream.read(length), object_pairs_hook=unique(printable(path)))
    start = 8 + length
    metadata = tensors.pop("__metadata__", {})
    entries = {key: Entry(tuple(tensor["shape"]), _name(tensor["dtype"])) for key, tensor in tensors.items()}
    lists, attributes = _metadata(metadata, printable(path))
    sidecar = path.with_name(f"{path.stem}.meta.parquet")
    files: tuple[Path, ...] = (path,)
    if sidecar.exists():
        lists |= _sidecar(sidecar, attributes.pop("meta_sha256", None))
        files = (path, sidecar)
    elif "meta_sha256" in attributes:
        raise InputError(f"{printable(path)}: its ids are in {printable(sidecar.name)}, which is not there; copy both")
    for key in lists:
        if key in entries:
            raise InputError(f"{printable(path)}:{printable(key)}: is both a tensor and a list of texts")
        entries[key] = Entry((len(lists[key]),), STRING)

    def cut(wanted: Mapping[str, slice | None]) -> dict[str, Array]:
        return {
            key: lists[key] if key in lists else _tensor(path, start, tensors[key], key, rows) for key, rows in wanted.items()
        }

    return Raw(str(path), entries, attributes, lambda keys: cut(dict.fromkeys(keys)), files, cut)


def _name(dtype: str) -> str:
    return "bfloat16" if dtype == "BF16" else str(np.dtype(DTYPES[dtype])) if dtype in DTYPES else dtype


def _tensor(path: Path, start: int, tensor: Mapping[str, Any], key: str, rows: slice | None) -> Array:
    dtype, shape, begin = tensor["dtype"], tuple(tensor["shape"]), start + tensor["data_offsets"][0]
    if dtype not in DTYPES:
        raise InputError(f"{printable(path)}:{printable(key)}: dtype {dtype} is not read; store float32")
    lines = shape or (1,)  # what has no dimensions is one line
    array = some_rows(path, begin, DTYPES[dtype], lines, rows or slice(0, lines[0]))
    array = array if shape else array.reshape(())
    if dtype == "BF16":
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _metadata(metadata: Mapping[str, str], where: str) -> tuple[dict[str, Array], dict[str, Scalar]]:
    lists: dict[str, Array] = {}
    attributes: dict[str, Scalar] = {}
    for key, text in metadata.items():
        if text.startswith("[") and ("." in key or "/" in key):
            try:
                values = json.loads(text)
            except ValueError:
                values = None
            if isinstance(values, list):
                lists[key] = texts(values, f"{where}:{printable(key)}")
                continue
        attributes[key] = text
    return lists, attributes


def _sidecar(path: Path, digest: Scalar | None) -> dict[str, Array]:
    """Two columns, `key` and `value`: the texts of a key are its rows in their order."""
    from nclbench.sources.parquet import open_file as open_table

    if digest is not None and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise InputError(f"{printable(path)}: does not belong to the safetensors file beside it; copy both again")
    table = open_table(path).fetch(["key", "value"])
    lists: dict[str, list[str]] = {}
    for key, value in zip(table["key"].tolist(), table["value"].tolist(), strict=True):
        lists.setdefault(key, []).append(value)
    return {key: texts(values, f"{printable(path)}:{printable(key)}") for key, values in lists.items()}

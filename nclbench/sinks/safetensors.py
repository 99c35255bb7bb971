"""safetensors: tensors by dotted keys; texts as JSON in the metadata, or beside the file where they are many."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nclbench.files import replacing
from nclbench.sinks.schema import Array, Scalar

# The format allows a header of 100 MB; beyond this the texts go to `NAME.meta.parquet`.
METADATA_BYTES = 32 << 20


def write(arrays: Mapping[str, Array], attributes: Mapping[str, Scalar], path: Path) -> None:
    """Writes the file whole or not at all; it names the digest of the texts beside it, so the two cannot be mixed."""
    from safetensors.numpy import save_file

    tensors = {key.replace("/", "."): values for key, values in arrays.items() if values.dtype != object}
    lists = {key.replace("/", "."): values.tolist() for key, values in arrays.items() if values.dtype == object}
    metadata = {key: str(value) for key, value in attributes.items()}
    packed = {key: json.dumps(values) for key, values in lists.items()}
    beside = path.with_name(f"{path.stem}.meta.parquet")
    small = sum(map(len, packed.values())) <= METADATA_BYTES
    if small:
        metadata |= packed
    else:
        metadata["meta_sha256"] = _write_beside(lists, beside)
    with replacing(path) as temporary:
        # The library writes the memory of an array as it lies, in whatever order its rows are.
        save_file({key: np.ascontiguousarray(values) for key, values in tensors.items()}, temporary, metadata)
    if small:
        beside.unlink(missing_ok=True)


def _write_beside(lists: Mapping[str, list[str]], path: Path) -> str:
    import pyarrow
    from pyarrow import parquet

    keys = [key for key, values in lists.items() for _ in values]
    values = [value for values in lists.values() for value in values]
    with replacing(path) as temporary:
        parquet.write_table(pyarrow.table({"key": keys, "value": values}), temporary)
        return hashlib.sha256(temporary.read_bytes()).hexdigest()

"""Parquet: a table whose columns are numbers, texts, or lists of numbers of one length."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from nclbench.archives import implausible
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.sources.raw import STRING, Array, Entry, Raw, Scalar, texts

SUFFIXES = (".parquet", ".pq")


def open_file(path: Path) -> Raw:
    """Lists the columns. A column of vectors is (N, D); D is -1 here where the type does not say it."""
    from pyarrow import parquet

    where = printable(path)
    with parquet.ParquetFile(path) as table:
        metadata, schema = table.metadata, table.schema_arrow
        stored, declared = path.stat().st_size, 0
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                declared += max(chunk.total_uncompressed_size, chunk.num_values)
        if implausible(declared, stored):
            raise InputError(f"{where}: {stored} bytes that unpack to {declared}; not a plausible file")
        names = list(schema.names)
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{where}:{printable(twice)}: two columns have this name; rename one")
        entries = {name: _entry(schema.field(name).type, metadata.num_rows) for name in names}
        attributes = _attributes(schema.metadata or {})
    return Raw(str(path), entries, attributes, lambda keys: _read(path, keys), (path,))


def _entry(kind: Any, rows: int) -> Entry:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string(kind) or types.is_large_string(kind):
        return Entry((rows,), STRING)
    if types.is_fixed_size_list(kind):
        return Entry((rows, kind.list_size), _number(kind.value_type))
    if types.is_list(kind) or types.is_large_list(kind):
        return Entry((rows, -1), _number(kind.value_type))
    return Entry((rows,), _number(kind))


def _number(kind: Any) -> str:
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _attributes(metadata: dict[bytes, bytes]) -> dict[str, Scalar]:
    """What nclbench itself wrote: one JSON object."""
    try:
        found = json.loads(metadata.get(b"nclbench", b"{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): value for key, value in found.items() if isinstance(value, str | int | float | bool)}


def _read(path: Path, keys: list[str]) -> dict[str, Array]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        table = file.read(columns=keys, use_threads=False)
    return {key: _column(table.column(key), f"{printable(path)}:{printable(key)}") for key in keys}


def _column(column: Any, where: str) -> Array:
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        raise InputError(f"{where}: {column.null_count} values are missing; fill them or leave the rows out")
    if types.is_string(column.type) or types.is_large_string(column.type):
        return texts(column.to_pylist(), where)
    is_list = types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type)
    leaf = column.type.value_type if is_list else column.type
    if not (types.is_floating(leaf) or types.is_integer(leaf) or types.is_boolean(leaf)):
        raise InputError(f"{where}: type {column.type} is neither numbers, texts nor lists of numbers")
    if not is_list:
        return np.asarray(column.to_numpy())
    flat = [chunk.flatten() for chunk in column.chunks]
    if any(values.null_count for values in flat):
        raise InputError(f"{where}: numbers are missing inside a vector; fill them or leave the rows out")
    counts = np.concatenate([np.zeros(0, np.int64), *(_lengths(chunk) for chunk in column.chunks)])
    uneven = np.flatnonzero(counts != counts[0]) if len(counts) else counts
    if len(uneven):
        raise InputError(f"{where}: row {uneven[0]} has {counts[uneven[0]]} numbers, row 0 has {counts[0]}")
    parts = [values.to_numpy(zero_copy_only=False) for values in flat]
    return np.concatenate(parts).reshape(len(counts), -1) if len(counts) else np.zeros((0, 0), np.float32)


def _lengths(chunk: Any) -> Array:
    from pyarrow import compute

    return np.asarray(compute.list_value_length(chunk).to_numpy(zero_copy_only=False), dtype=np.int64)

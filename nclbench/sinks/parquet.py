"""A folder of Parquet tables: `test.text/part-0000.parquet` with id, item_id, caption, weight, embedding."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nclbench.errors import MissingError
from nclbench.files import printable
from nclbench.sinks.schema import Array, Scalar

_COLUMNS = {
    "embeddings": "embedding", "ids": "id", "item_ids": "item_id", "captions": "caption", "query_ids": "query_id",
}  # fmt: skip


def write(arrays: Mapping[str, Array], attributes: Mapping[str, Scalar], path: Path) -> None:
    """Writes the folder whole or not at all. One that has something in it is never replaced: MissingError."""
    check(path)
    tables: dict[str, dict[str, Array]] = {}
    for key, values in arrays.items():
        group, field = key.rsplit("/", 2 if "/tokens/" in key else 1)[0], key.rsplit("/", 1)[1]
        field = f"tokens/{field}" if "/tokens/" in key else field
        # A bank's scores do not have a row for each row of the bank.
        group, field = (f"{group}/scores", "values") if field == "scores" else (group, field)
        tables.setdefault(group.replace("/", "."), {})[_COLUMNS.get(field, field)] = values
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.tmp-", dir=path.parent))
        try:
            for name, columns in tables.items():
                _write_table(columns, attributes, temporary / name / "part-0000.parquet")
            temporary.chmod(0o755)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise MissingError(f"{printable(path)}: could not be written ({error.strerror or error})") from None


def check(path: Path) -> None:
    """MissingError where the folder could not be written."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise MissingError(f"{printable(path)}: there is something already; remove it, or give another name")


def _write_table(columns: Mapping[str, Array], attributes: Mapping[str, Scalar], path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({name: _column(values) for name, values in columns.items()})
    path.parent.mkdir()
    parquet.write_table(table.replace_schema_metadata({"nclbench": json.dumps(dict(attributes))}), path)


def _column(values: Array) -> Any:
    import pyarrow

    if values.ndim == 1:
        return pyarrow.array(values.tolist() if values.dtype == object else values)
    # the mask says how many tokens a row has, so that its vectors can be told apart again
    values = values.reshape(len(values), -1)
    flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
    return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

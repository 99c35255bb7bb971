"""Rows of queries and items as Parquet and as CSV."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from nclbench import files
from nclbench.results import Columns

KEYS = ("dataset", "model", "spec", "direction", "protocol", "id")


def write_parquet(columns: Columns, path: Path) -> None:
    """Key columns first, then the others as they come; a table without rows keeps its key columns."""
    import pyarrow
    from pyarrow import parquet

    def array(values: Any) -> Any:
        try:
            return pyarrow.array(values, None if len(values) else pyarrow.string())
        except UnicodeEncodeError:
            return pyarrow.array([_encodable(value) for value in values])

    keys = {name: columns.get(name, ()) for name in KEYS if name in columns or not columns}
    arrays = {name: array(values) for name, values in {**keys, **columns}.items()}
    parquet.write_table(pyarrow.table(arrays), path, compression="zstd")


def csv_text(columns: Columns) -> str:
    """As for Parquet; lists are JSON, what is not defined is empty, texts hold nothing that a spreadsheet would run."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([map(_cell, row) for row in zip(*columns.values(), strict=True)])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return files.spreadsheet(value) if isinstance(value, str) else value


def _encodable(value: Any) -> Any:
    """Texts with lone surrogates, as undecodable file names and ids have them, made fit for UTF-8."""
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value

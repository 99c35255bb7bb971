"""The rows beside saved results, read back without what would make a command start slowly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench import files
from nclbench.errors import InputError, MissingError
from nclbench.results import Columns
from nclbench.sinks.columns import KEYS


def beside(path: Path) -> tuple[Path, Path]:
    """The files of rows of queries and of items: `x.queries.parquet` of `x.json`, or those of the same folder."""
    named = path.parent / f"{path.stem}.queries.parquet", path.parent / f"{path.stem}.items.parquet"
    folder = path.parent / "queries.parquet", path.parent / "items.parquet"
    return folder if path.name == "results.json" and not named[0].exists() else named


def read(path: Path, columns: Sequence[str] | None = None, without: Sequence[str] = ()) -> Columns:
    """Columns (N,) each of a file of rows, by default all. Texts and lists are objects, an absent one is None.

    MissingError without the file, InputError where it is no Parquet or its rows have no keys.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet.core import ParquetFile

    if not path.exists():
        raise MissingError(f"{path}: no such file; nclbench eval -o or --out-dir writes it beside the results")
    files.regular(path)
    try:
        with ParquetFile(path) as file:
            known = file.schema_arrow.names
            lost = [name for name in KEYS if name not in known]
            if lost:
                raise InputError(f"{path}: no column {lost[0]!r}; is this a file of rows of nclbench?")
            wanted = [name for name in known if name in (known if columns is None else columns) and name not in without]
            table = file.read(columns=wanted)
    except (ArrowException, OSError, ValueError) as error:
        text = " ".join(files.printable(error).split())[:120]
        raise InputError(f"{path}: cannot be read as Parquet ({text}); evaluate again to write it anew") from None
    return {name: _values(table.column(name)) for name in table.column_names}


def _values(column: Any) -> npt.NDArray[Any]:
    """pyarrow's own conversions import pandas, which costs more than all the rest."""
    array = column.combine_chunks()
    if hasattr(array, "chunks"):
        array = array.chunk(0) if array.num_chunks else array.type.wrap_array([])
    if not array.null_count and str(array.type) in ("double", "float", "int64", "int32", "uint8"):
        return np.from_dlpack(array)
    found = np.empty(len(array), dtype=object)
    for at, value in enumerate(array):
        found[at] = value.as_py()
    return found

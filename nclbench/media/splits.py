"""Lists of ids that make a split: a line each, a JSON list, or the first column of a CSV with a header of ids."""

import csv
import io
import json
from pathlib import Path

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.media.formats import ITEM_COLUMNS, text_of


def read_list(path: Path) -> list[str]:
    """The ids in their order, each once. InputError where there are none."""
    text = text_of(path)
    where = printable(path)
    if path.suffix.lower() == ".json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON ({printable(error)})") from None
        names = list(found) if isinstance(found, dict) else found
        if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
            raise InputError(f"{where}: not a list of ids")
    elif path.suffix.lower() in (".csv", ".tsv"):
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
        header = rows[0] if rows else []
        column = next((header.index(name) for name in ITEM_COLUMNS if name in header), None)
        names = [row[column or 0] for row in rows[column is not None :] if len(row) > (column or 0)]
    else:
        names = [line.strip() for line in text.split("\n")]
    ids = list(dict.fromkeys(str(name).strip() for name in names if str(name).strip()))
    if not ids:
        raise InputError(f"{where}: holds no ids")
    return ids

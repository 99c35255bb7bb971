"""Text files: a list (one a line, or a JSON list) or columns (CSV, TSV, a JSON object of lists or of texts by id)."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.sources.raw import STRING, Entry, Raw, texts

SUFFIXES = (".txt", ".csv", ".tsv", ".json")


def open_file(path: Path) -> Raw:
    """A list has the key "", columns have their names."""
    where = printable(path)
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".txt":
        columns = {"": text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []}
    elif path.suffix == ".json":
        columns = _json(text, where)
    else:
        columns = table(text, "\t" if path.suffix == ".tsv" else ",", where)
    arrays = {key: texts(values, f"{where}:{printable(key)}" if key else where) for key, values in columns.items()}
    entries = {key: Entry((len(values),), STRING) for key, values in arrays.items()}
    return Raw(str(path), entries, {}, lambda keys: {key: arrays[key] for key in keys}, (path,))


def table(text: str, separator: str, where: str) -> dict[str, list[str]]:
    """The columns of a CSV text whose first line names them."""
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row]
    if not rows:
        raise InputError(f"{where}: empty; the first line must name the columns")
    names = [name.strip() for name in rows[0]]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}:{printable(twice)}: two columns have this name; rename one")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise InputError(f"{where}: record {number} has {len(row)} fields, the first line names {len(names)}")
    return {name: [row[place] for row in rows[1:]] for place, name in enumerate(names)}


def strict_json(text: str, where: str) -> Any:
    """JSON in which no key is given twice and every number is finite."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise InputError(f"{where}: a key is given twice in one object")
        return found

    def refuse(word: str) -> Any:
        raise InputError(f"{where}: {word} is not JSON")

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def _json(text: str, where: str) -> dict[str, list[str]]:
    found = strict_json(text, where)
    columns = {"": found} if isinstance(found, list) else found
    if isinstance(columns, dict) and columns and all(isinstance(value, str) for value in columns.values()):
        columns = {"id": list(columns), "caption": list(columns.values())}
    if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
        raise InputError(f"{where}: neither a list, an object of lists, nor an object of texts")
    return {key: [_written(value) for value in values] for key, values in columns.items()}


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

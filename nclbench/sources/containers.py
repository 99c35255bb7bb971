"""Opens any file or folder as `Raw`, by its suffix; whatever a reader stumbles over becomes one line."""

import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import numpy as np

from nclbench.errors import InputError, MissingError, NclbenchError
from nclbench.files import printable, regular
from nclbench.sources.raw import STRING, Array, Entry, Raw

_READERS = ("hdf5", "npz", "npy", "safetensors", "parquet", "torch_file", "text_file")
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".p")
_PART = re.compile(r"(\d+)\.\w+\Z")
_COLUMNS = {"id": "ids", "item_id": "item_ids", "caption": "captions", "title": "titles", "embedding": "embeddings"}

Read = TypeVar("Read")


def open_raw(name: str) -> Raw:
    """A file, a folder, or `text.npy,video.npy`. InputError, MissingError."""
    path = Path(name)
    if "," in name and not path.exists():
        return _pair(name)
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() in _PICKLES:
        raise InputError(f"{printable(name)}: pickles can run code and are not read; save the arrays as npz or HDF5")
    if not path.exists():
        raise MissingError(f"{printable(name)}: no such file")
    regular(path)
    for reader in _READERS:
        module = import_module(f"nclbench.sources.{reader}")
        if path.suffix.lower() in module.SUFFIXES:
            raw: Raw = _guarded(lambda: module.open_file(path), name, reader)  # noqa: B023 - called at once
            return replace(raw, fetch=lambda keys: _guarded(lambda: raw.fetch(keys), name, reader))
    raise InputError(
        f"{printable(name)}: unknown kind of file {printable(path.suffix)!r}; use .h5, .npz, .npy, .safetensors, "
        ".pt, .parquet or a folder"
    )


def _guarded(read: Callable[[], Read], name: str, reader: str) -> Read:
    try:
        return read()
    except (NclbenchError, KeyboardInterrupt):
        raise
    except (Exception, RecursionError) as error:  # readers of foreign formats raise anything
        kind = reader.removesuffix("_file")
        said = printable(error).strip() or "no reason given"
        raise InputError(f"{printable(name)}: damaged or not {kind} ({type(error).__name__}: {said[:160]})") from None


def held(name: str, found: dict[str, Array], files: tuple[Path, ...]) -> Raw:
    """Arrays that are already in memory, as a file would give them."""
    entries = {
        key: Entry(value.shape, STRING if value.dtype == object else str(value.dtype)) for key, value in found.items()
    }
    return Raw(name, entries, {}, lambda keys: {key: found[key] for key in keys}, files)


def _only(raw: Raw) -> Array:
    if len(raw.entries) != 1:
        raise InputError(f"{raw.origin}: holds several arrays; name one with --map")
    (key,) = raw.entries
    return raw.fetch([key])[key]


def _pair(name: str) -> Raw:
    """Two arrays of one model: the first asks, the second is searched."""
    parts = name.split(",")
    if len(parts) != 2:
        raise InputError(f"{printable(name)}: give two files, text.npy,video.npy")
    raws = [open_raw(part) for part in parts]
    found = {f"{side}_embeddings": _only(raw) for side, raw in zip(("text", "video"), raws, strict=True)}
    return held(name, found, raws[0].files + raws[1].files)


def _folder(path: Path) -> Raw:
    """Parquet sets, clip-retrieval's folders, Frozen in Time's files, or a BigFile."""
    if (path / "feature.bin").is_file():
        from nclbench.sources.bigfile import open_folder

        return _guarded(lambda: open_folder(path), str(path), "bigfile")
    if (path / "img_emb").is_dir() or (path / "text_emb").is_dir():
        return _clip_retrieval(path)
    loose = sorted(each for each in path.glob("*.npy") if each.is_file())
    if loose:
        return _loose(path, loose)
    return _sets(path)


def _sets(path: Path) -> Raw:
    """`SPLIT.MODALITY/part-0000.parquet` with the columns id, item_id, caption, weight, embedding."""
    found: dict[str, Array] = {}
    files: tuple[Path, ...] = ()
    raw = None
    for folder in sorted(each for each in path.iterdir() if each.is_dir()):
        parts = sorted(folder.glob("*.parquet"))
        raws = [open_raw(str(part)) for part in parts]
        for raw in raws:
            files += raw.files
        for column in raws[0].entries if raws else ():
            for each in raws:
                if column not in each.entries:
                    raise InputError(f"{each.origin}: has no column {printable(column)}, but {raws[0].origin} has")
            key = f"{folder.name.replace('.', '/')}/{_COLUMNS.get(column, column)}"
            found[key] = np.concatenate([each.fetch([column])[column] for each in raws])
    if raw is None:
        raise InputError(f"{printable(path)}: a folder without Parquet sets, npy files or img_emb; use --map KEY=SOURCE")
    return replace(held(str(path), found, files), attributes=raw.attributes)


def _clip_retrieval(path: Path) -> Raw:
    found: dict[str, Array] = {}
    files: tuple[Path, ...] = ()
    for folder in ("text_emb", "img_emb", "video_emb"):
        raws = [open_raw(str(part)) for part in sorted((path / folder).glob("*.npy"), key=_part)]
        arrays = [_only(raw) for raw in raws]
        if len({array.shape[1:] for array in arrays}) > 1:
            raise InputError(f"{printable(path / folder)}: its parts have different widths")
        if arrays:
            found[folder] = np.concatenate(arrays)
        files += tuple(file for raw in raws for file in raw.files)
    tables = [open_raw(str(table)) for table in sorted((path / "metadata").glob("*.parquet"), key=_part)]
    for column, entry in tables[0].entries.items() if tables else ():
        if entry.dtype == STRING and all(column in table.entries for table in tables):
            found[f"metadata/{column}"] = np.concatenate([table.fetch([column])[column] for table in tables])
    return held(str(path), found, files + tuple(file for table in tables for file in table.files))


def _loose(path: Path, files: list[Path]) -> Raw:
    """npy files by their names, and the id lists beside them."""
    found = {each.stem: _only(open_raw(str(each))) for each in files if not each.stem.startswith("meta_arr")}
    lists = sorted(path.glob("ids*.csv"))
    for each in lists:
        raw = open_raw(str(each))
        column = "0" if "0" in raw.entries else next(iter(raw.entries))
        found[each.stem] = raw.fetch([column])[column]
    return held(str(path), found, (*files, *lists))


def _part(path: Path) -> int:
    match = _PART.search(path.name)
    return int(match[1]) if match else -1

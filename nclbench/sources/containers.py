"""Opens any file or folder as `Raw`, by its suffix; refuses what could run code."""

import re
from importlib import import_module
from pathlib import Path

import numpy as np

from nclbench.errors import InputError, MissingError
from nclbench.files import printable, regular
from nclbench.sources.raw import Array, Entry, Raw

_READERS = ("hdf5", "npz", "npy", "safetensors", "torch_file", "lines")
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".p")
_PART = re.compile(r"(\d+)\.\w+\Z")


def open_raw(name: str) -> Raw:
    """A file, a folder, or `text.npy,video.npy`. InputError, MissingError."""
    if "," in name and not Path(name).exists():
        return _pair(name)
    path = Path(name)
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() in _PICKLES:
        raise InputError(f"{printable(name)}: pickles can run code and are not read; save the arrays as npz or HDF5")
    if not path.exists():
        raise MissingError(f"{printable(name)}: no such file")
    regular(path)
    if path.suffix.lower() == ".parquet":
        from nclbench.sources.parquet import columns

        return _held(name, columns(path), (path,))
    for reader in _READERS:
        module = import_module(f"nclbench.sources.{reader}")
        if path.suffix.lower() in module.SUFFIXES:
            raw: Raw = module.open_file(path)
            return raw
    raise InputError(
        f"{printable(name)}: unknown kind of file {path.suffix!r}; use .h5, .npz, .npy, .safetensors, .pt or a folder"
    )


def _held(name: str, found: dict[str, Array], files: tuple[Path, ...]) -> Raw:
    entries = {key: Entry(value.shape, "string" if value.dtype == object else str(value.dtype)) for key, value in found.items()}
    return Raw(name, entries, {}, lambda keys: {key: found[key] for key in keys}, files)


def _pair(name: str) -> Raw:
    """Two arrays of one model: the first asks, the second is searched."""
    parts = name.split(",")
    if len(parts) != 2:
        raise InputError(f"{printable(name)}: give two files, text.npy,video.npy")
    found: dict[str, Array] = {}
    files: tuple[Path, ...] = ()
    for role, part in zip(("text", "video"), parts, strict=True):
        raw = open_raw(part)
        if "" not in raw.entries:
            raise InputError(f"{raw.origin}: holds several arrays; name one with --map")
        found[f"{role}_embeddings"] = raw.fetch([""])[""]
        files += raw.files
    return _held(name, found, files)


def _folder(path: Path) -> Raw:
    """clip-retrieval's `img_emb`, `text_emb`, `metadata`, or our Parquet sets."""
    if (path / "img_emb").is_dir() or (path / "text_emb").is_dir():
        return _clip_retrieval(path)
    from nclbench.sources.parquet import open_folder

    raw = open_folder(path)
    if raw is None:
        raise InputError(f"{printable(path)}: a folder without Parquet sets or img_emb/text_emb; use --map KEY=SOURCE")
    return raw


def _clip_retrieval(path: Path) -> Raw:
    found: dict[str, Array] = {}
    files: list[Path] = []
    for folder in ("text_emb", "img_emb", "video_emb"):
        parts = sorted((path / folder).glob("*.npy"), key=_part)
        if parts:
            arrays = [open_raw(str(part)).fetch([""])[""] for part in parts]
            widths = {array.shape[1:] for array in arrays}
            if len(widths) > 1:
                raise InputError(f"{printable(path / folder)}: parts of different widths {sorted(widths)}")
            found[folder] = np.concatenate(arrays)
            files += parts
    tables = sorted((path / "metadata").glob("*.parquet"), key=_part)
    if tables:
        from nclbench.sources.parquet import columns

        read = [columns(table) for table in tables]
        files += tables
        for name in read[0]:
            if all(name in each for each in read) and read[0][name].dtype == object:
                found[f"metadata/{name}"] = np.concatenate([each[name] for each in read])
    return _held(str(path), found, tuple(files))


def _part(path: Path) -> int:
    match = _PART.search(path.name)
    return int(match[1]) if match else -1

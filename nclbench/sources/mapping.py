"""`--map KEY=SOURCE`: which array plays which part, and small changes on the way."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nclbench.errors import InputError, UsageError, nearest
from nclbench.sources.containers import open_raw
from nclbench.sources.layouts import KEYS, Found, Source
from nclbench.sources.raw import Array, Raw

_FILE = re.compile(r"(?P<file>.*?\.(?:npy|npz|h5|hdf5|safetensors|pt|pth|csv|tsv|txt|json|parquet))(?::(?P<key>.*))?\Z")
_STEP = re.compile(r"(T|l2|rows|mean\(axis=1\)|stride=[1-9]\d*|repeat=[1-9]\d*|groups=[1-9]\d*)\Z")


def mapped(mapping: Mapping[str, str], main: Raw | None) -> Found:
    """Parts by name. SOURCE is `file.npy`, `file.h5:path`, `file.csv:column` or an array of the file given."""
    opened: dict[str, Raw] = {}
    return {_part(key): _source(source, main, opened) for key, source in mapping.items()}


def _part(key: str) -> str:
    name = key.strip().replace(".", "/")
    name = re.sub(r"/titles\Z", "/captions", name)
    for side, names in (("text", "text|query|txt"), ("video", "video|image|audio|item|vid|img")):
        name = re.sub(rf"(\A|/)(?:{names})/", rf"\g<1>{side}/", name)
    if name not in KEYS:
        name = name.partition("/")[2]
    if name not in KEYS:
        raise UsageError(f"--map knows no part {key!r}{nearest(key.replace('.', '/'), KEYS)}")
    return name


def _source(text: str, main: Raw | None, opened: dict[str, Raw]) -> Source:
    place, *steps = (each.strip() for each in text.split("|"))
    for step in steps:
        if not _STEP.match(step) or step == "rows" or step.startswith("groups"):
            raise UsageError(f"--map: unknown step {step!r}; use T, l2, stride=5, repeat=20 or mean(axis=1)")
    if main is not None and place in main.entries:
        return Source(main, place, tuple(steps))
    match = _FILE.match(place)
    if match is None or (main is not None and not Path(match["file"]).exists() and place.startswith(":")):
        known = list(main.entries) if main is not None else []
        raise UsageError(f"--map: {place!r} is neither a file nor an array of the input{nearest(place, known)}")
    raw = opened.setdefault(match["file"], open_raw(match["file"]))
    key = match["key"] or ""
    if key not in raw.entries:
        if match["key"] is None and len(raw.entries) == 1:
            key = next(iter(raw.entries))
        else:
            raise InputError(f"{raw.origin}: no array {key!r}{nearest(key, raw.entries)}")
    return Source(raw, key, tuple(steps))


def apply(array: Array, steps: tuple[str, ...], where: str) -> Array:
    """The steps of a source in order."""
    for step in steps:
        name, _, number = step.partition("=")
        change = _STEPS.get(step) or _STEPS[name]
        try:
            array = change(array, int(number) if number.isdigit() else 0)
        except (ValueError, IndexError, np.exceptions.AxisError, TypeError) as error:
            raise InputError(f"{where}: step {step} does not fit shape {array.shape} ({error})") from None
    return array


_STEPS: dict[str, Callable[[Array, int], Array]] = {
    "T": lambda array, _: array.T,
    "l2": lambda array, _: array / np.linalg.norm(array.astype(np.float64), axis=1, keepdims=True),
    "mean(axis=1)": lambda array, _: array.mean(axis=1, dtype=np.float64).astype(np.float32),
    "stride": lambda array, n: array[::n],
    "repeat": lambda array, n: np.repeat(array, n, axis=0),
    "rows": lambda array, _: np.arange(len(array)),
    "groups": lambda array, n: array // n,
}

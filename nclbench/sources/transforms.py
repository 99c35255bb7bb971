"""What may follow `|` in a mapping: a fixed list of small changes to an array, never an expression to evaluate."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nclbench.errors import InputError, UsageError, nearest
from nclbench.sources.raw import Array

_FORM = re.compile(r"([A-Za-z]\w*|T)(?:=([^|=()]+)|\(axis=(-?\d+)\))?\Z")


@dataclass(frozen=True)
class Transform:
    """name and argument as in `stride=5`; `str()` gives the text back."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        if self.name == "mean":
            return f"mean(axis={self.argument})"
        return f"{self.name}={self.argument}" if self.argument else self.name

    def apply(self, array: Array, where: str) -> Array:
        """The changed array; InputError where it does not fit, naming `where`."""
        return TRANSFORMS[self.name][1](array, self.argument, where)


def parse(text: str) -> Transform:
    """`T`, `l2`, `stride=5`, `repeat=20`, `unrepeat=5`, `mean(axis=1)`, `before=#`. UsageError otherwise."""
    match = _FORM.match(text.strip())
    name = match[1] if match else text.strip()
    if name not in TRANSFORMS:
        raise UsageError(f"unknown transform {text.strip()!r} in a mapping{nearest(name, TRANSFORMS)}")
    assert match is not None
    form = TRANSFORMS[name][0]
    argument = match[3] if name == "mean" else match[2]
    wrong = (match[2] or match[3]) if form == name else not argument
    if wrong or ("5" in form and not re.fullmatch(r"[1-9]\d{0,6}", argument or "")):
        raise UsageError(f"cannot read transform {text.strip()!r}; write it as {form}")
    return Transform(name, argument or "")


def _numbers(array: Array, what: str, where: str) -> Array:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{where}: {what} needs numbers, found {array.dtype}")
    return array


def _transpose(array: Array, argument: str, where: str) -> Array:
    if array.ndim != 2:
        raise InputError(f"{where}: T needs a table, found shape {array.shape}")
    return np.ascontiguousarray(array.T)


def _unrepeat(array: Array, argument: str, where: str) -> Array:
    step = int(argument)
    if len(array) % step:
        raise InputError(f"{where}: {len(array)} rows are not a multiple of {step}")
    kept = array[::step]
    for offset in range(1, step):
        differs = np.asarray(array[offset::step] != kept)
        rows = np.flatnonzero(differs.reshape(len(kept), -1).any(axis=1))
        if len(rows):
            row = int(rows[0]) * step
            raise InputError(f"{where}: row {row + offset} differs from row {row}; rows are not repeated {step} times")
    return kept


def _mean(array: Array, argument: str, where: str) -> Array:
    axis = int(argument)
    if not -array.ndim <= axis < array.ndim:
        raise InputError(f"{where}: mean over axis {axis} of shape {array.shape}")
    found: Array = _numbers(array, "mean", where).mean(axis=axis, dtype=np.float64).astype(np.float32)
    return found


def _l2(array: Array, argument: str, where: str) -> Array:
    wide = _numbers(array, "l2", where).astype(np.float64)
    top = np.abs(wide).max(axis=-1, keepdims=True, initial=0)
    wide = wide / np.where(top > 0, top, 1)
    norm = np.linalg.norm(wide, axis=-1, keepdims=True)
    found: Array = (wide / np.where(norm > 0, norm, 1)).astype(np.float32)
    return found


def _before(array: Array, argument: str, where: str) -> Array:
    if array.dtype != object:
        raise InputError(f"{where}: before={argument} needs texts, found {array.dtype}")
    found = np.empty_like(array)
    found[:] = [text.split(argument, 1)[0] for text in array.tolist()]
    return found


# name -> (how it is written, what it does)
TRANSFORMS: dict[str, tuple[str, Callable[[Array, str, str], Array]]] = {
    "T": ("T", _transpose),
    "l2": ("l2", _l2),
    "stride": ("stride=5", lambda array, argument, where: array[:: int(argument)]),
    "repeat": ("repeat=5", lambda array, argument, where: np.repeat(array, int(argument), axis=0)),
    "unrepeat": ("unrepeat=5", _unrepeat),
    "mean": ("mean(axis=1)", _mean),
    "before": ("before=#", _before),
}

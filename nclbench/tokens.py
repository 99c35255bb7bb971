"""Several vectors a row: the words of a text, the frames of a video. As loaded, with masks and weights, checked."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Tokens:
    """Up to L vectors for each of N rows.

    values: (N, L, D) as loaded, not normalised. mask: (N, L) bool, true where there is a vector; what is masked is never
    looked at. weight: (N, L) importance of each, at least 0; None where nothing is known. spans: (N, L, 2) which characters
    of its caption each stands for, from start to before end, equal ones for a token that is no text. origin: for messages.
    """

    values: npt.NDArray[np.floating]
    mask: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64] | None = None
    origin: str = ""
    spans: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, order: npt.NDArray[np.int64]) -> "Tokens":
        """The rows at these positions, (n,)."""
        weight = None if self.weight is None else self.weight[order]
        spans = None if self.spans is None else self.spans[order]
        return Tokens(self.values[order], self.mask[order], weight, self.origin, spans)

    @property
    def features(self) -> int:
        return int(self.values.shape[2])


def check(tokens: Tokens, rows: int, where: str, beside: Mapping[str, str] | None = None) -> None:
    """InputError, with the first bad row, for what must not be scored. rows: how many there must be.

    beside: where mask, weights and spans came from, if not from where the values did.
    """
    where = tokens.origin or where
    of = {"mask": where, "weights": where, "spans": where} | dict(beside or {})
    values, mask, weight = tokens.values, tokens.mask, tokens.weight
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise InputError(f"{where}: shape {values.shape}; token features are rows x tokens x features")
    if len(values) != rows:
        raise InputError(f"{where}: token features of {len(values)} rows, but there are {rows}; give one set a row")
    if not np.issubdtype(values.dtype, np.floating):
        hint = "; bfloat16 bits? store float32 instead" if values.dtype == np.uint16 else ""
        raise InputError(f"{where}: dtype {values.dtype}; token features must be floating point{hint}")
    for name, array in (("mask", mask), ("weights", weight)):
        if array is not None and array.shape != values.shape[:2]:
            shapes = f"{name} of shape {array.shape} for features of shape {values.shape}"
            raise InputError(f"{of[name]}: {shapes}; give one a token")
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        first = f"the mask of row {empty[0]} is empty ({len(empty)} such rows)"
        raise InputError(f"{of['mask']}: {first}; leave the row out, or mend it")
    if weight is not None:
        _check_weight(weight, mask, of["weights"])
    if tokens.spans is not None:
        _check_spans(tokens.spans, mask, of["spans"])
    for start in range(0, rows, _CHUNK):
        _check_values(values[start : start + _CHUNK], mask[start : start + _CHUNK], start, where)


def _check_weight(weight: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_], where: str) -> None:
    bad = np.argwhere(mask & ~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        row, token = bad[0]
        raise InputError(f"{where}: weight of row {row}, token {token} is {weight[row, token]}; weights must be at least 0")
    none = np.flatnonzero(np.where(mask, weight, 0).sum(axis=1) == 0)
    if len(none):
        raise InputError(f"{where}: all weights of row {none[0]} are 0; give some token a weight")


def _check_spans(spans: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_], where: str) -> None:
    if spans.shape != (*mask.shape, 2) or spans.dtype.kind not in "iu":
        raise InputError(
            f"{where}: spans of shape {spans.shape} and dtype {spans.dtype}; they are whole numbers, start and end of each of "
            f"{mask.shape[0]} x {mask.shape[1]} tokens"
        )
    bad = np.argwhere(mask & ~((spans[..., 0] >= 0) & (spans[..., 0] <= spans[..., 1])))
    if len(bad):
        row, token = bad[0]
        start, end = spans[row, token]
        raise InputError(f"{where}: span of row {row}, token {token} is {start} to {end}; give characters, start before end")


def _check_values(values: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_], first: int, where: str) -> None:
    wrong = mask & ~np.isfinite(values).all(axis=2)
    zero = mask & ~values.any(axis=2)
    for bad, what in ((wrong, "holds NaN or infinity; remove or recompute it"), (zero, "")):
        found = np.argwhere(bad)
        if len(found):
            row, token = found[0]
            what = what or "is all zeros, which has no direction; mark padding as false in the mask"
            raise InputError(f"{where}: row {first + row}, token {token} {what}")

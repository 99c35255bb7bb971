"""Words and frames of one collection from what was read: padded, ragged, or flattened into one list a row."""

from collections.abc import Mapping

import numpy as np

from nclbench.archives import FREE_BYTES
from nclbench.errors import InputError
from nclbench.sources.raw import Array
from nclbench.sources.source import Loaded
from nclbench.tokens import Tokens, check

VALUES, MASK, OFFSETS, WEIGHTS = "tokens/values", "tokens/mask", "tokens/offsets", "tokens/weights"
# what padding of ragged rows may cost, in proportion to what is stored
_PADDING = 64


def tokens_of(given: Mapping[str, Loaded], size: int | None = None) -> Tokens | None:
    """The tokens of `size` rows (of as many as there are, if None), None where there are none. Checked: InputError."""
    if VALUES not in given:
        stray = next((given[name] for name in (MASK, OFFSETS, WEIGHTS) if name in given), None)
        if stray is not None:
            raise InputError(f"{stray.origin}: belongs to token features, and there are none; give tokens/values")
        return None
    loaded = given[VALUES]
    values, where = loaded.array, loaded.origin
    mask = None if MASK not in given else _flags(given[MASK])
    weight = None if WEIGHTS not in given else _numbers(given[WEIGHTS])
    if OFFSETS in given:
        if mask is not None:
            raise InputError(f"{given[MASK].origin}: a mask beside offsets; ragged rows have no padding, leave one of them out")
        values, mask, weight = _padded(loaded, weight, given[OFFSETS])
    elif values.ndim == 2 and mask is not None and values.shape[1] % max(1, mask.shape[1]) == 0:
        values = values.reshape(len(values), mask.shape[1], -1)
    if mask is None:
        mask = np.ones(values.shape[:2], dtype=np.bool_)
    found = Tokens(values, mask, weight, where)
    check(found, len(values) if size is None else size, where)
    return found


def _flags(loaded: Loaded) -> Array:
    array = loaded.array
    if array.ndim != 2:
        raise InputError(f"{loaded.origin}: shape {array.shape}; a mask of tokens is rows x tokens")
    if array.dtype == np.bool_:
        return array
    wrong = np.argwhere((array != 0) & (array != 1)) if array.dtype.kind in "iuf" else np.zeros((1, 2), dtype=np.int64)
    if len(wrong):
        row, token = wrong[0]
        raise InputError(
            f"{loaded.origin}: row {row}, token {token} is {array[row, token]}; a mask holds 0 and 1, importance goes to "
            "tokens/weights"
        )
    return array.astype(np.bool_)


def _numbers(loaded: Loaded) -> Array:
    if loaded.array.dtype.kind not in "iuf":
        raise InputError(f"{loaded.origin}: dtype {loaded.array.dtype}; weights are numbers")
    return loaded.array.astype(np.float64)


def _padded(loaded: Loaded, weight: Array | None, offsets: Loaded) -> tuple[Array, Array, Array | None]:
    """(sum L, D) and (N + 1,) offsets -> (N, L, D), the mask and the weights (N, L)."""
    values, edges = loaded.array, offsets.array
    if values.ndim != 2:
        raise InputError(f"{loaded.origin}: shape {values.shape}; beside offsets, token features are tokens x features")
    if edges.ndim != 1 or len(edges) < 2 or edges.dtype.kind not in "iu":
        raise InputError(f"{offsets.origin}: {edges.dtype} of shape {edges.shape}; offsets are whole numbers, one more than rows")
    edges = edges.astype(np.int64)
    counts = np.diff(edges)
    wrong = np.flatnonzero(counts <= 0)
    if len(wrong):
        raise InputError(f"{offsets.origin}: row {wrong[0]} has {counts[wrong[0]]} tokens; each needs at least one")
    if edges[0] != 0 or edges[-1] != len(values):
        raise InputError(f"{offsets.origin}: from {edges[0]} to {edges[-1]}, but there are {len(values)} tokens; mend them")
    if weight is not None and weight.shape != (len(values),):
        raise InputError(f"{loaded.origin}: weights of shape {weight.shape} for {len(values)} tokens; give one a token")
    longest = int(counts.max())
    if len(counts) * longest * values.shape[1] * values.itemsize > max(FREE_BYTES, _PADDING * values.nbytes):
        raise InputError(f"{offsets.origin}: row {counts.argmax()} has {longest} tokens, far more than others; cut it")
    mask = np.arange(longest) < counts[:, None]
    out = np.zeros((len(counts), longest, values.shape[1]), dtype=values.dtype)
    out[mask] = values
    if weight is None:
        return out, mask, None
    shares = np.zeros(mask.shape)
    shares[mask] = weight
    return out, mask, shares

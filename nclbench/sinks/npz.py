"""npz: `SPLIT.MODALITY.FIELD` arrays, attributes as arrays without dimensions, texts as numpy's own strings."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nclbench.files import replacing
from nclbench.sinks.schema import Array, Scalar


def write(arrays: Mapping[str, Array], attributes: Mapping[str, Scalar], path: Path) -> None:
    """Writes the file whole or not at all."""
    members = {key.replace("/", "."): values for key, values in arrays.items()}
    members |= {key: np.asarray(value) for key, value in attributes.items()}
    plain = {key: values.astype(np.str_) if values.dtype == object else values for key, values in members.items()}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **plain)  # type: ignore[arg-type]

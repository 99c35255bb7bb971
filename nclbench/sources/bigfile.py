"""The BigFile folder of W2VV++ and its successors: `feature.bin` (float32), `shape.txt` (N D), `id.txt` (N words)."""

from pathlib import Path

import numpy as np

from nclbench.errors import InputError
from nclbench.files import printable, regular
from nclbench.sources.raw import STRING, Array, Entry, Raw, texts


def open_folder(folder: Path) -> Raw:
    """The arrays `embeddings` (N, D) and `ids` (N,)."""
    feature, shape, ids = (regular(folder / name) for name in ("feature.bin", "shape.txt", "id.txt"))
    rows, features = (int(word) for word in shape.read_text(encoding="utf-8").split())
    if rows < 0 or features < 0 or rows * features * 4 != feature.stat().st_size:
        raise InputError(
            f"{printable(feature)}: {feature.stat().st_size} bytes, but {printable(shape)} says {rows} x {features} "
            "float32; copy the folder again"
        )
    names = ids.read_text(encoding="utf-8").split()

    def fetch(keys: list[str]) -> dict[str, Array]:
        found: dict[str, Array] = {}
        if "embeddings" in keys:
            found["embeddings"] = np.fromfile(feature, dtype="<f4").reshape(rows, features)
        if "ids" in keys:
            found["ids"] = texts(names, printable(ids))
        return found

    entries = {"embeddings": Entry((rows, features), "float32"), "ids": Entry((len(names),), STRING)}
    return Raw(str(folder), entries, {}, fetch, (feature, shape, ids))

"""The BigFile folder of W2VV++ and its successors: `feature.bin` (float32), `shape.txt` (N D), `id.txt` (N words)."""

from collections.abc import Mapping
from pathlib import Path

from nclbench.errors import InputError
from nclbench.files import printable, regular
from nclbench.sources.npy import some_rows
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

    def cut(wanted: Mapping[str, slice | None]) -> dict[str, Array]:
        found: dict[str, Array] = {}
        if "embeddings" in wanted:
            found["embeddings"] = some_rows(feature, 0, "<f4", (rows, features), wanted["embeddings"] or slice(0, rows))
        if "ids" in wanted:
            found["ids"] = texts(names, printable(ids))
        return found

    entries = {"embeddings": Entry((rows, features), "float32"), "ids": Entry((len(names),), STRING)}
    return Raw(str(folder), entries, {}, lambda keys: cut(dict.fromkeys(keys)), (feature, shape, ids), cut)

"""Lists or reads an HDF5 file in a process of its own: damaged files crash libhdf5 or keep it busy for ever.

Run as a script with a JSON request on standard input; imports nothing of nclbench. The answer is a sequence of
frames: an 8-byte length, a JSON header, and for arrays their bytes. The last header says `end` or `error`.
"""

import json
import os
import struct
import sys
from typing import Any, BinaryIO

MAX_OBJECTS = 20_000
ALLOWED_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}


class Refused(Exception):
    """The file must not be read; the text goes to the user as it is."""


def limit(memory: int, seconds: int) -> None:
    """Soft limits on address space and processor time, where the system has them."""
    try:
        import resource
    except ImportError:
        return
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        except (ValueError, OSError):
            continue


def datasets(file: Any) -> dict[str, Any]:
    """Every dataset by its path. Only hard links are followed, and each object once."""
    import h5py

    found: dict[str, Any] = {}
    seen = {h5py.h5o.get_info(file.id).addr}
    groups = [("", file)]
    while groups:
        prefix, group = groups.pop()
        for name in group:
            path = f"{prefix}{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
                raise Refused(f"{path!r} is {kind}, which could lead to another file; store the data itself")
            item = group[name]
            if isinstance(item, h5py.Datatype):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Group):
                if address in seen:
                    raise Refused(f"{path!r} is a group that contains itself")
                seen.add(address)
                groups.append((f"{path}/", item))
            else:
                check_inside(path, item, file)
                found[path] = item
            if len(found) + len(groups) + len(seen) > MAX_OBJECTS:
                raise Refused(f"more than {MAX_OBJECTS} objects; keep only the embeddings")
    return dict(sorted(found.items()))


def check_inside(path: str, dataset: Any, file: Any) -> None:
    """The bytes of a dataset must lie in this very file."""
    if dataset.external is not None:
        raise Refused(f"{path!r} keeps its values in another file (external storage); store the data itself")
    if dataset.is_virtual:
        raise Refused(f"{path!r} is a virtual dataset made of other files; store the data itself")
    if dataset.file.filename != file.filename:
        raise Refused(f"{path!r} lies in another file; store the data itself")


def check_stored(path: str, dataset: Any, free: int, ratio: int) -> None:
    """Before anything is read: everything was written, by harmless filters, and is about as large as it says."""
    import h5py

    plist = dataset.id.get_create_plist()
    codes = [plist.get_filter(position)[0] for position in range(plist.get_nfilters())]
    strange = [code for code in codes if code not in ALLOWED_FILTERS]
    if strange:
        raise Refused(f"{path!r} uses HDF5 filter {strange[0]}; save it with gzip or without compression")
    if sum(code in (1, 32000) for code in codes) > 1:
        raise Refused(f"{path!r} is compressed more than once; save it with gzip or without compression")
    if dataset.size == 0:
        return
    stored = dataset.id.get_storage_size()
    if dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED or stored == 0:
        raise Refused(f"{path!r} was created but never written, it would read as zeros; write it again")
    declared = dataset.size * dataset.dtype.itemsize
    if dataset.chunks is not None:
        grid = 1
        for size, step in zip(dataset.shape, dataset.chunks, strict=True):
            grid *= -(-size // step)
        written = dataset.id.get_num_chunks()
        if written < grid:
            raise Refused(
                f"{path!r} is only partly written ({written} of {grid} chunks, the others would read as zeros); "
                "write it again"
            )
        chunk = dataset.dtype.itemsize
        for step in dataset.chunks:
            chunk *= step
        if chunk > max(free, 4 * declared):
            raise Refused(f"{path!r} has chunks of {chunk} bytes for {declared} bytes of data; write it again")
    if declared > max(free, ratio * stored):
        raise Refused(f"{path!r} says {declared} bytes but stores {stored}; not a plausible file")


def type_name(dataset: Any) -> str:
    """The numpy name of the type, `string`, or some other word for what is not read."""
    import h5py

    try:
        dtype = dataset.dtype
    except TypeError:
        return "unknown"
    if h5py.check_string_dtype(dtype) is not None:
        return "string"
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return str(dtype.newbyteorder("="))
    return "object" if dtype.kind == "O" else str(dtype)


def attributes(file: Any, datasets: dict[str, Any]) -> dict[str, Any]:
    """Texts, numbers, true and false: attributes of the root, and datasets without dimensions."""
    found: dict[str, Any] = {}
    for key, dataset in datasets.items():
        if dataset.shape == () and (type_name(dataset) == "string" or dataset.dtype.kind in "biuf"):
            check_stored(key, dataset, 1 << 16, 1)
            found[key] = plain(dataset[()])
    for name in list(file.attrs)[:1000]:
        handle = file.attrs.get_id(name)
        if handle.shape != () or handle.get_storage_size() > 1 << 16:
            continue
        value = plain(file.attrs[name])
        if isinstance(value, str | int | float | bool):
            found[name] = value
    return found


def plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def frame(out: BinaryIO, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    out.write(struct.pack("<Q", len(text)) + text)


def send(out: BinaryIO, key: str, dataset: Any, rows: Any = ()) -> None:
    """One dataset, or some rows of it: numbers as they lie in memory, texts as byte lengths and one run of UTF-8."""
    import numpy as np

    kind = type_name(dataset)
    if kind == "string":
        values = [value if isinstance(value, bytes) else bytes(value) for value in np.ravel(dataset[()]).tolist()]
        for row, value in enumerate(values):
            try:
                value.decode("utf-8")
            except UnicodeDecodeError:
                raise Refused(f"{key!r}: row {row} is not UTF-8 text; write it as UTF-8") from None
        lengths = np.array([len(value) for value in values], dtype="<i8")
        frame(out, {"key": key, "dtype": kind, "shape": list(dataset.shape)})
        out.write(lengths.tobytes())
        out.write(b"".join(values))
        return
    if np.dtype(dataset.dtype).kind not in "biuf" or dataset.dtype.itemsize > 8:
        raise Refused(f"{key!r} is of type {kind}; store float32, integers or strings")
    array = np.ascontiguousarray(dataset[rows]).astype(dataset.dtype.newbyteorder("<"), copy=False)
    frame(out, {"key": key, "dtype": array.dtype.str, "shape": list(array.shape)})
    out.write(array.reshape(-1).view("u1").data if array.size else b"")


def answer(request: dict[str, Any], out: BinaryIO) -> None:
    import h5py

    with h5py.File(os.fsdecode(bytes.fromhex(request["path"])), "r", locking="best-effort") as file:
        found = datasets(file)
        if request["keys"] is None:
            entries = {
                key: {"shape": None if value.shape is None else list(value.shape), "dtype": type_name(value)}
                for key, value in found.items()
            }
            frame(out, {"entries": entries, "attributes": attributes(file, found)})
            return
        for key in request["keys"]:
            if found[key].shape is None:
                raise Refused(f"{key!r} is empty (it has no dataspace)")
            check_stored(key, found[key], request["free"], request["ratio"])
        # What is plausible may be read, however well it is compressed.
        sizes = [found[key].size * found[key].dtype.itemsize for key in request["keys"]]
        memory, seconds = 2 * max(sizes, default=0), sum(sizes) // request["rate"]
        limit(request["memory"] + memory, request["seconds"] + seconds)
        for key in request["keys"]:
            send(out, key, found[key], slice(*request["rows"][key]) if key in request["rows"] else ())


def main() -> None:
    request = json.load(sys.stdin)
    # Nothing that a library prints may get between the frames.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limit(request["memory"], request["seconds"])
    try:
        answer(request, out)
        frame(out, {"end": True})
    except Refused as refusal:
        frame(out, {"error": str(refusal)})
    except MemoryError:
        frame(out, {"broken": "it asks for too much memory"})
    except Exception as error:
        frame(out, {"broken": f"{type(error).__name__}: {error}"})
    out.flush()
    # Closing a damaged file may hang or crash, and everything has been said.
    os._exit(0)


if __name__ == "__main__":
    main()

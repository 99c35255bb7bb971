"""npz: a zip of npy arrays, read with checksums and without pickles. Arrays without dimensions are attributes."""

import zipfile
from pathlib import Path

from numpy.lib import format as npy_format

from nclbench.archives import checked_members
from nclbench.files import printable
from nclbench.sources.npy import check_size, header
from nclbench.sources.raw import Array, Entry, Raw, Scalar, name_of, plain, scalar

SUFFIXES = (".npz",)


def open_file(path: Path) -> Raw:
    """Lists the members from their headers; nothing of a member that declares more than it stores is unpacked."""
    entries: dict[str, Entry] = {}
    attributes: dict[str, Scalar] = {}
    with zipfile.ZipFile(path) as archive:
        members = checked_members(archive, printable(path))
        for member in members:
            if not member.filename.endswith(".npy"):
                continue
            key = member.filename.removesuffix(".npy")
            where = f"{printable(path)}:{printable(key)}"
            with archive.open(member) as stream:
                shape, dtype, _ = header(stream, where)
                check_size(shape, dtype, member.file_size - stream.tell(), where)
            if shape == ():
                value = scalar(_member(archive, member.filename, where))
                if value is not None:
                    attributes[key] = value
                    continue
            entries[key] = Entry(shape, name_of(dtype))
    return Raw(str(path), entries, attributes, lambda keys: _read(path, keys), (path,))


def _read(path: Path, keys: list[str]) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        return {key: _member(archive, f"{key}.npy", f"{printable(path)}:{printable(key)}") for key in keys}


def _member(archive: zipfile.ZipFile, name: str, where: str) -> Array:
    with archive.open(name) as stream:
        array = npy_format.read_array(stream, allow_pickle=False)
        # The checksum is compared only once the end of the member has been reached.
        stream.read(1)
    if array.ndim == 0:
        return array
    return plain(array, where)

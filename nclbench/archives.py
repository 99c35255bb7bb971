"""Guards on zips, pickled tensors and headers from outside, before anything of them is unpacked."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nclbench.errors import InputError
from nclbench.files import printable

if TYPE_CHECKING:
    import torch

# What a compressed file may unfold to: anything up to the first figure, beyond it so many times what is stored.
FREE_BYTES = 64 << 20
RATIO = 200


def implausible(declared: int, stored: int) -> bool:
    """Whether a file declares far more bytes than it stores: a bomb, or never written."""
    return declared > max(FREE_BYTES, RATIO * stored)


def checked_members(archive: zipfile.ZipFile, where: str) -> list[zipfile.ZipInfo]:
    """The members of a zip; the same name twice, encryption and bombs are InputErrors."""
    members = archive.infolist()
    seen: set[str] = set()
    for member in members:
        name = f"{where}:{printable(member.filename.removesuffix('.npy'))}"
        if member.filename in seen:
            raise InputError(f"{name}: is in the file twice, so it is not clear which one counts; write the file again")
        seen.add(member.filename)
        if member.flag_bits & 1:
            raise InputError(f"{name}: is encrypted; save it without a password")
        if implausible(member.file_size, member.compress_size):
            raise InputError(
                f"{name}: {member.compress_size} bytes that unpack to {member.file_size}; not a plausible file"
            )
    return members


def check_torch_zip(path: Path, where: str, advice: str, script_advice: str | None = None) -> None:
    """InputError unless this is a zip of plain records, as torch.save writes it, and every checksum is right.

    torch itself does not compare checksums: 40 % of files with one flipped bit load with other numbers.
    """
    with zipfile.ZipFile(path) as archive:
        members = checked_members(archive, where)
        if any(member.filename.endswith("/constants.pkl") or "/code/" in member.filename for member in members):
            raise InputError(f"{where}: a TorchScript program, not tensors; {script_advice or advice}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise InputError(f"{where}: compressed, which torch.save never does; {advice}")
        bad = archive.testzip()
        if bad is not None:
            raise InputError(f"{where}:{printable(bad)}: damaged, its checksum is another; copy or download it again")


def check_plain(value: Any, name: str, advice: str) -> "torch.Tensor":
    """The value, if it is a tensor of numbers in memory with all of its values stored; InputError otherwise."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name}: a {type(value).__name__}, not a tensor; {advice}")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu" or value.is_complex():
        raise InputError(f"{name}: not a plain tensor of numbers; {advice}")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(f"{name}: declares {value.numel()} values but stores fewer (an expanded tensor); {advice}")
    return value


def unique(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """For json.loads: a dict of the pairs, and an InputError for a name given twice."""

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"{where}:{printable(key)}: is in the file twice; write the file again")
            found[key] = value
        return found

    return hook

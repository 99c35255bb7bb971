"""`.pt` and `.pth` files that hold tensors and nothing else. There is no way to allow more."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nclbench.archives import check_plain, check_torch_zip
from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.sources.raw import Array, Entry, Raw, Scalar

if TYPE_CHECKING:
    import torch

SUFFIXES = (".pt", ".pth")
ADVICE = "save a dict of plain tensors, or convert it to safetensors or npz where it was made"


def open_file(path: Path) -> Raw:
    """A tensor, a dict of tensors, or a dict of such dicts; keys are joined with `/`, numbers become attributes."""
    where = printable(path)
    _check_archive(path, where)
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        # torch's own message tells how to switch its protection off.
        raise InputError(f"{where}: damaged, or holds more than tensors, which could run code; {ADVICE}") from None
    tensors = dict(_tensors(loaded, "", where, 0))
    attributes: dict[str, Scalar] = {key: tensor.item() for key, tensor in tensors.items() if tensor.ndim == 0}
    arrays = {key: _array(tensor) for key, tensor in tensors.items() if tensor.ndim}
    entries = {
        key: Entry(array.shape, str(tensors[key].dtype).removeprefix("torch.")) for key, array in arrays.items()
    }
    return Raw(str(path), entries, attributes, lambda keys: {key: arrays[key] for key in keys}, (path,))


def _check_archive(path: Path, where: str) -> None:
    with path.open("rb") as stream:
        start = stream.read(4)
    if start != b"PK\x03\x04":
        raise InputError(f"{where}: not a torch zip file (the old format is a pickle, which could run code); {ADVICE}")
    check_torch_zip(path, where, ADVICE)


def _tensors(value: Any, key: str, where: str, depth: int) -> list[tuple[str, "torch.Tensor"]]:
    name = f"{where}:{printable(key)}" if key else where
    if isinstance(value, Mapping) and depth < 2 and value:
        found: list[tuple[str, torch.Tensor]] = []
        for inner, part in value.items():
            if not isinstance(inner, str):
                raise InputError(f"{name}: the key {inner!r} is not a text; {ADVICE}")
            found += _tensors(part, f"{key}/{inner}" if key else inner, where, depth + 1)
        return found
    return [(key, check_plain(value, name, ADVICE))]


def _array(tensor: "torch.Tensor") -> Array:
    import torch

    tensor = tensor.detach().resolve_neg()
    found: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()
    return found

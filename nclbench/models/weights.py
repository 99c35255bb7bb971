"""A file of weights: tensors by name and nothing else. What could run code is refused, and its conversion said."""

import json
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nclbench.archives import check_plain, check_torch_zip, unique
from nclbench.errors import InputError, MissingError
from nclbench.files import printable, regular

ADVICE = "save the model's state_dict() with safetensors.torch.save_file"
SCRIPT = "where you trust it, save torch.jit.load(FILE, 'cpu').state_dict() with safetensors.torch.save_file, and give that file"
_LONGEST_HEADER = 100_000_000
_SHOWN = 3
# what a file is that is neither of the two: bytes at a place
_STRANGERS = (
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the weights; run git lfs pull"),
    (0, b"<", "a web page or XML, not weights; download the file again"),
    (0, b"\x89HDF", "HDF5, not a checkpoint; files of embeddings go to nclbench eval --emb"),
    (257, b"ustar", f"a tar of torch's oldest format, which could run code when read; {ADVICE}"),
    (0, b"\x80", "a bare pickle (torch's format before 1.6), which has no checksums and could run code when read; save it "
                 "again with torch.save of today, or with safetensors"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Weights:
    """where: the file's name, safe to print. tensors: finite ones, on the CPU, as stored. beside: numbers and texts beside them.

    found: `state_dict`, `model` or `` for what the tensors were wrapped in.
    """

    where: str
    path: Path
    tensors: dict[str, Tensor]
    beside: dict[str, str | int | float] = field(default_factory=dict)
    found: str = ""
    form: str = "torch"


def read(path: Path) -> Weights:
    """The tensors of a safetensors file or of a zip of torch.save.

    MissingError without the file. InputError for what is truncated, damaged (a torch zip's checksums are compared;
    safetensors has none), holds NaN, or more than tensors, numbers and texts. Nothing of it is ever run.
    """
    where = printable(path)
    with regular(path).open("rb") as stream:
        start = stream.read(512)
    if start[:4] == b"PK\x03\x04":
        loaded, form = _torch(path, where), "torch"
    elif start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= _LONGEST_HEADER:
        loaded, form = _safetensors(path, where), "safetensors"
    else:
        for place, magic, said in _STRANGERS:
            if start[place : place + len(magic)] == magic:
                raise InputError(f"{where}: {said}")
        said = "empty" if not start else "neither safetensors nor a zip of torch.save, or its beginning is damaged"
        raise InputError(f"{where}: {said}; download or save it again")
    state, found = _unwrapped(loaded, where)
    beside = {
        key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, str | int | float)
    }
    return Weights(where, path, _checked(state, where), beside, found, form)


def _torch(path: Path, where: str) -> Mapping[Any, Any]:
    try:
        check_torch_zip(path, where, ADVICE, SCRIPT)
    except (InputError, OSError):
        raise
    except Exception:  # zipfile raises a dozen types on damaged archives
        raise InputError(
            f"{where}: damaged or cut off, not a whole zip of torch.save; copy or download it again"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # not mapped: there torch does not compare the size of a record with what the pickle claims of it
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        if "can't allocate memory" in str(error):
            raise MissingError(
                f"{where}: no memory left for its tensors; use a machine with more, or save fewer tensors"
            ) from None
        # torch's own message tells how to switch its protection off
        raise InputError(f"{where}: {_refusal(path)}") from None
    if isinstance(loaded, Mapping):
        return loaded
    raise InputError(f"{where}: holds a {type(loaded).__name__}, not tensors by name; {ADVICE}")


def _refusal(path: Path) -> str:
    """What stands in the pickle, found without following it."""
    try:
        named = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # the pickle itself is damaged
        named = []
    if not named:
        return f"its pickle is damaged or claims what is not in the file; copy it again, or {ADVICE}"
    shown = printable(", ".join(named[:_SHOWN])[:200]) + (" and more" if len(named) > _SHOWN else "")
    return (
        f"pickles {shown} beside its tensors, which could run code when read, so none of it is (MMT and Frozen-in-Time save a "
        "ConfigParser so); where you trust it, load it with the code that made it and save checkpoint['state_dict'] with "
        "safetensors.torch.save_file"
    )


def _safetensors(path: Path, where: str) -> Mapping[str, Tensor]:
    from safetensors import safe_open

    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            # the library takes the last of two tensors of one name
            json.loads(stream.read(length), object_pairs_hook=unique(where))
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (InputError, MemoryError):
        raise
    except Exception:  # the library raises its own, RuntimeError, UnicodeDecodeError and more
        raise InputError(
            f"{where}: damaged or cut off, not a whole safetensors file; copy or download it again"
        ) from None


def _unwrapped(loaded: Mapping[Any, Any], where: str) -> tuple[Mapping[Any, Any], str]:
    for name in ("state_dict", "model"):
        if isinstance(loaded.get(name), Mapping):
            return loaded[name], name
    if "optimizer_state_dict" in loaded:
        raise InputError(f"{where}: the state of an optimizer, not a model; give the pytorch_model.bin beside it")
    return loaded, ""


def _checked(state: Mapping[Any, Any], where: str) -> dict[str, Tensor]:
    tensors = {}
    for key, value in state.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: a tensor is named {printable(repr(key))[:80]}, not by a text; {ADVICE}")
        # numbers and texts beside tensors are harmless; causal masks hold -inf and are made anew by every library
        if not isinstance(value, Tensor) or key.endswith("attn_mask"):
            continue
        name = f"{where}:{printable(key)}"
        check_plain(value, name, ADVICE)
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise InputError(
                f"{name}: holds NaN or infinity; its training diverged or the file is damaged, use another"
            )
        tensors[key] = value.detach()
    if not tensors:
        raise InputError(f"{where}: no tensors by name in it; {ADVICE}")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors

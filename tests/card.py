"""A device that is not there: tensors that say they lie elsewhere, and refuse what those on a CUDA device would refuse.

Their values are on the processor, so that everything can be computed. torch's `meta` lends its name, since every build has
guards for it. What is caught: tensors of two devices in one operation, numpy of what is not the processor's, and results made
on the wrong side.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "meta"
# these copy between devices, or take places of single entries from the processor, on CUDA too
ACROSS = {"copy_", "_to_copy", "index", "index_put_", "_index_put_impl_"}


class Elsewhere(Tensor):
    """held: its values, on the processor."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device="cpu",
            dispatch_device=True,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of another device to numpy; copy it to host memory first")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    if func is torch.ops.prim.device.default:
        return torch.device(NAME)
    name, tensors = func.overloadpacket.__name__, [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, Elsewhere)]
    here = [x for x in tensors if not isinstance(x, Elsewhere)]
    if there and any(x.dim() for x in here) and name not in ACROSS:
        raise RuntimeError(f"Expected all tensors to be on the same device ({name})")
    held = tree_map(lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs))
    device = kwargs.get("device")
    if device is not None:
        held[1]["device"] = torch.device("cpu")
    found = func(*held[0], **held[1])
    if name == "_local_scalar_dense" or not (there if device is None else torch.device(device).type == NAME):
        return found
    known = {id(x.held): x for x in there}


    def placed(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return known[id(x)] if id(x) in known else Elsewhere(x)

    return tree_map(placed, found)


class _Made(TorchDispatchMode):
    """Tensors that are made on the device by their shape."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Given(TorchFunctionMode):
    """Tensors that are made on the device of values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == NAME:
            return Elsewhere(torch.tensor(*args, **kwargs | {"device": "cpu"}))
        return func(*args, **kwargs)


@contextmanager
def pretended() -> Iterator[str]:
    """Within it there is a device of this name."""
    with _Made(), _Given():
        yield NAME

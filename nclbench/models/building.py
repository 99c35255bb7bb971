"""A model of open_clip with every weight from a file: sizes are compared before anything of them is reserved."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.models.libraries import open_clip


def build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str, device: str) -> nn.Module:
    """open_clip's CLIP or CustomTextCLIP of a configuration, in float32 and for use only.

    InputError for a configuration that the library does not take, and for tensors that are missing, too many or of another
    shape than it says.
    """
    kind = open_clip().CustomTextCLIP if config.get("custom_text") else open_clip().CLIP
    given = {key: value for key, value in config.items() if key != "custom_text"}
    sizes = made(lambda: kind(**given), where, meta=True).state_dict()
    check(sizes, tensors, where)
    model = made(lambda: kind(**given), where)
    return loaded(model, tensors, device)


def made(maker: Any, where: str, meta: bool = False) -> nn.Module:
    """What a library makes of sizes from outside. Its random start leaves the caller's random numbers alone."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta" if meta else "cpu"):
            found: nn.Module = maker()
    except MemoryError:
        raise
    except Exception as error:  # whatever a library raises on sizes that make no sense
        said = printable((str(error).splitlines() or [""])[0])[:160]
        raise InputError(f"{where}: no model can be made of its sizes ({type(error).__name__}: {said})") from None
    return found


def check(sizes: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str, prefix: str = "") -> None:
    """InputError unless the tensors are those of the sizes, all of them and no other."""
    missing = [key for key in sizes if key not in tensors]
    if missing:
        raise InputError(
            f"{where}:{_named(prefix, missing)} missing; this is not the whole model, save its full state_dict()"
        )
    strange = [key for key in tensors if key not in sizes]
    if strange:
        raise InputError(f"{where}:{_named(prefix, strange)} of no use in this model; its architecture is another")
    for key, wanted in sizes.items():
        if tensors[key].shape != wanted.shape:
            raise InputError(
                f"{where}:{printable(prefix + key)}: shape {tuple(tensors[key].shape)} where the other tensors ask for "
                f"{tuple(wanted.shape)}; its architecture is another"
            )


def loaded(model: nn.Module, tensors: Mapping[str, Tensor], device: str) -> nn.Module:
    """The model with these weights, which are rounded to nothing less than float32."""
    model.load_state_dict(dict(tensors))
    return model.eval().requires_grad_(False).to(device)


def _named(prefix: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 1} more are" if len(keys) > 1 else " is"
    return printable(prefix + keys[0])[:120] + more

"""Learned weights of words and frames, from a checkpoint: tensors only, nothing in it is run."""

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nclbench.archives import check_torch_zip
from nclbench.errors import InputError
from nclbench.files import printable, regular
from nclbench.plan import SCORES, SUMS, Plan
from nclbench.scorers.sets import Part

_LARGEST = 4 << 30
_MOST_LAYERS = 3


@dataclass(frozen=True, eq=False)
class Head:
    """Linear layers with ReLU between. layers: (matrix (out, in), bias (out,)) float64; the last one has one output."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    def shares(self, part: Part) -> Tensor:
        """(n, L) float64: the softmax over what is there of the outputs on the vectors as stored."""
        x = part.raw
        for number, (matrix, bias) in enumerate(self.layers):
            x = (x.clamp(min=0) if number else x) @ matrix.T + bias
        # products differ in their last bits with the place in a batch, which would part equal texts
        logits = x[..., 0].to(SCORES).to(SUMS).masked_fill(~part.there, -torch.inf)
        return logits.softmax(1).to(SCORES).to(SUMS)


def read(path: str, side: str, features: int, plan: Plan) -> Head:
    """The head of a side, `text` or `video`, from a state dict. MissingError, or InputError with what is wrong."""
    where = printable(path)
    return made(_tensors(Path(path), where), where, side, features, plan)


def made(tensors: Mapping[str, Tensor], where: str, side: str, features: int, plan: Plan) -> Head:
    """The head of a side from tensors by name. InputError with what is wrong."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        match = re.search(rf"(?:^|\.){side}_weight_fc(?:\.(\d))?\.(weight|bias)\Z", key)
        if match:
            found.setdefault(int(match[1] or 0), {})[match[2]] = value
    if not 1 <= len(found) <= _MOST_LAYERS or any(set(layer) != {"weight", "bias"} for layer in found.values()):
        raise InputError(
            f"{where}: no {side}_weight_fc.weight and .bias of one to {_MOST_LAYERS} layers; give a checkpoint of a WTI head"
        )
    layers, width = [], features
    for number in sorted(found):
        matrix, bias = (plan.put(found[number][name].detach(), SUMS) for name in ("weight", "bias"))
        outputs = 1 if number == max(found) else len(bias)
        if matrix.shape != (outputs, width) or bias.shape != (outputs,):
            raise InputError(
                f"{where}: {side}_weight_fc has a layer of shape {tuple(matrix.shape)} where ({outputs}, {width}) fits the "
                f"{features} features of the tokens; is it the head of this model?"
            )
        if not (bool(matrix.isfinite().all()) and bool(bias.isfinite().all())):
            raise InputError(f"{where}: {side}_weight_fc holds NaN or infinity; use another checkpoint")
        layers.append((matrix, bias))
        width = outputs
    return Head(tuple(layers))


def _tensors(path: Path, where: str) -> Mapping[str, Tensor]:
    if regular(path).stat().st_size > _LARGEST:
        raise InputError(f"{where}: larger than {_LARGEST >> 30} GiB; save the head alone")
    try:
        if zipfile.is_zipfile(path):
            check_torch_zip(path, where, "save the head's state dict as safetensors")
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception:
        # torch's own message tells how to switch its protection off
        raise InputError(f"{where}: damaged, or holds more than tensors; save the head's state dict as safetensors") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping):
        raise InputError(f"{where}: not a state dict; save the head's state_dict()")
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}

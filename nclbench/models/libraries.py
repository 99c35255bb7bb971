"""Model libraries, imported where they are used: silent, offline, and with one line where one is missing."""

import logging
import os
import warnings
from functools import cache
from importlib import import_module, util
from types import ModuleType

from nclbench.errors import MissingError

_EXTRA = "is needed to read checkpoints and is not installed; pip install 'nclbench[embed]'"


@cache
def transformers() -> ModuleType:
    """The library, which never asks the network, and draws no bars on stderr. MissingError where it cannot be used."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[name] = "1"
    found = _imported("transformers")
    found.utils.logging.set_verbosity_error()
    found.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    return found


@cache
def open_clip() -> ModuleType:
    """The library; MissingError where it cannot be used."""
    return _imported("open_clip")


def _imported(name: str) -> ModuleType:
    """Warnings of a library about itself, while it is imported, are no news to our user."""
    if util.find_spec(name) is None:
        raise MissingError(f"{name} {_EXTRA}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _torchvision()
        try:
            return import_module(name)
        except (ImportError, RuntimeError) as error:
            raise MissingError(f"{name} cannot be imported here ({str(error).splitlines()[0]})") from None


@cache
def _torchvision() -> None:
    """Only its transforms are wanted. Where its compiled part does not fit torch, importing it would fail on two operators."""
    if util.find_spec("torchvision") is None:
        raise MissingError(f"torchvision {_EXTRA}")
    try:
        import_module("torchvision")
    except RuntimeError:
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        _KEPT.append(library)
        for operator in ("nms", "qnms"):
            define = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(define)  # type: ignore[no-untyped-call]
        import_module("torchvision")


# a library of operators ends with its object
_KEPT: list[object] = []

"""Model libraries, imported where they are used: offline, silent, and with one line where one is missing."""

import os
import sys
import warnings
from functools import cache
from importlib import import_module, util
from pathlib import Path
from types import ModuleType

import torch

from nclbench.errors import MissingError

_INSTALL = 'pip install "nclbench[embed]"'
# what torchvision's Python part says about these two at its import, before anybody asks for them
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
# schemas live as long as their library
_KEPT: list[torch.library.Library] = []


@cache
def transformers() -> ModuleType:
    """The library, which asks no network and draws no bars. MissingError where it cannot be used."""
    found = _imported("transformers")
    found.utils.logging.set_verbosity_error()
    found.utils.logging.disable_progress_bar()
    return found


@cache
def open_clip() -> ModuleType:
    """The library, which asks no network. MissingError where it cannot be used."""
    return _imported("open_clip")


def _imported(name: str) -> ModuleType:
    """Warnings of a library about itself, while it is imported, are no news to our user."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[variable] = "1"
    if not _there(name):
        raise MissingError(f"{name} is needed to read checkpoints and is not installed; {_INSTALL}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _mend_torchvision()
        try:
            return import_module(name)
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise MissingError(f"{name} cannot be imported here ({said}); {_INSTALL}") from None


def _there(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _mend_torchvision() -> None:
    """Declares two operators where torchvision's compiled part does not fit torch, so that its transforms can be imported.

    Nothing here asks for the operators themselves: who does gets torch's error.
    """
    if "torchvision" in sys.modules or not _there("torchvision"):
        return
    spec = util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for compiled in sorted(Path(folder).glob("_C.*")):
            try:
                torch.ops.load_library(str(compiled))  # type: ignore[no-untyped-call]
            except OSError:
                continue
            return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _KEPT.append(library)
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}{_SCHEMA}")  # type: ignore[no-untyped-call]

"""Diagnostics: how unevenly a gallery is shown. Each is one number made of the items' k-occurrences."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.integer[Any]]
Function = Callable[[Counts], float]


@dataclass(frozen=True)
class Diagnostic:
    """function(N_k) -> a number. N_k: (M,) how many queries have an item among their first k."""

    name: str
    summary: str
    source: str
    function: Function


_DIAGNOSTICS: dict[str, Diagnostic] = {}


def diagnostic(name: str, *, summary: str, source: str) -> Callable[[Function], Function]:
    """Decorator that gives a function its name, which stands before @k in results."""

    def keep(function: Function) -> Function:
        if name in _DIAGNOSTICS:
            raise ValueError(f"diagnostic {name!r} is taken")
        _DIAGNOSTICS[name] = Diagnostic(name, summary, source, function)
        return function

    return keep


def diagnostics() -> dict[str, Diagnostic]:
    """All diagnostics by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_DIAGNOSTICS.items()))

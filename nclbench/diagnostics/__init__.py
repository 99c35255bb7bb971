"""Diagnostics: how unevenly a gallery is shown. Each is one number made of the items' k-occurrences (`skewness@10`), of
their probability mass beside what it should be (`p.over`), or of what outranks the right item (`hard.negnce`).
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.integer[Any]]
Masses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Diagnostic:
    """function(N_k), function(p, target) or function(rivals) -> a number; larger is less even, or worse.

    N_k: (M,) how many queries have an item among their first k. p, target: (M,) probability mass and what it should be.
    limits: of its values. reading: one sentence for whoever sees the number. unit: of the number.
    """

    name: str
    summary: str
    source: str
    function: Callable[..., float]
    limits: tuple[float, float]
    reading: str
    unit: str = "fraction"


_DIAGNOSTICS: dict[str, Diagnostic] = {}


def diagnostic(
    name: str, *, summary: str, source: str, limits: tuple[float, float], reading: str, unit: str = "fraction"
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Decorator that gives a function its name: `p.…` for one of masses, `hard.…` of rivals, else what stands before @k."""

    def keep(function: Callable[..., float]) -> Callable[..., float]:
        if name in _DIAGNOSTICS:
            raise ValueError(f"diagnostic {name!r} is taken")
        _DIAGNOSTICS[name] = Diagnostic(name, summary, source, function, limits, reading, unit)
        return function

    return keep


def diagnostics() -> dict[str, Diagnostic]:
    """All diagnostics by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_DIAGNOSTICS.items()))


def of_counts() -> dict[str, Diagnostic]:
    """Those of k-occurrences."""
    return {name: each for name, each in diagnostics().items() if "." not in name}


def of_masses() -> dict[str, Diagnostic]:
    """Those of probability masses."""
    return {name: each for name, each in diagnostics().items() if name.startswith("p.")}


def of_rivals() -> dict[str, Diagnostic]:
    """Those of hard negatives."""
    return {name: each for name, each in diagnostics().items() if name.startswith("hard.")}

"""The scores that an operator leaves, as a matrix in a file, tile by tile."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import replacing
from nclbench.fitting import Fit
from nclbench.plan import Plan

PRECISIONS = ("float32", "float64")


def write_scores(fit: Fit, path: Path, precision: str = "float32") -> None:
    """Writes the adjusted scores, always queries x items, as npy: tile by tile, whole or not at all."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown dtype {precision!r}{nearest(precision, PRECISIONS)}")
    shape = len(fit.views.problem.queries), len(fit.views.problem.items)
    with replacing(path) as temporary:
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(precision), shape=shape)
        # a mapped file without room on the disk ends the process; this ends with a line
        if hasattr(os, "posix_fallocate"):
            with temporary.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, temporary.stat().st_size)
        fit.seen.reduce(_Written(out, fit.views.reverse, fit.spec))
        out.flush()


@dataclass(frozen=True, eq=False)
class _Written:
    """A reducer that keeps nothing: every tile goes to its place in the matrix. turned: v2t, whose rows are items."""

    out: npt.NDArray[Any]
    turned: bool
    spec: str
    whole_rows = False
    fine = True
    settles = False
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> tuple[Tensor, ...]:
        return ()

    def step(self, state: tuple[Tensor, ...], tile: Tensor, rows: slice, columns: slice) -> tuple[Tensor, ...]:
        largest = float(tile.abs().max())
        if not largest <= float(np.finfo(self.out.dtype).max):
            raise InputError(f"{self.spec}: a score of {largest:.3g} overflows {self.out.dtype}; write float64, or rescale")
        block = tile.cpu().numpy()
        if self.turned:
            self.out[columns, rows] = block.T
        else:
            self.out[rows, columns] = block
        return state

    def merge(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return a

    def finish(self, state: tuple[Tensor, ...]) -> None:
        return None

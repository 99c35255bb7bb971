"""Where rows are cut for work on whole rows: strips for threads and processes, blocks for products, parts that stay in cache."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.machine.memory import breadth
from nclbench.plan import SCORES, Plan

# entries of a strip: what a thread holds of a recomputed kernel; of a block, which products read twice; and of a part, which
# one operation after the other looks at (strips and parts of half as many in float64)
STRIP, BLOCK, PART = 1 << 23, 1 << 20, 1 << 18
# rows of a strip at most, more of which make products no quicker; so many strips at least, where each then has FEW rows; and
# what their number is a multiple of, so that threads have as many each
ROWS, SHARED, FEW, EVEN = 1024, 16, 512, 8
# below so many entries one thread is done before others have begun
ONE = 1 << 21


def strips(n: int, m: int, plan: Plan, kind: torch.dtype) -> list[slice]:
    """This process's strips of whole rows. They depend on the shape, the dtype and the kind of device only.

    None is a single row unless all are: products of one row are made by another routine, whose last bits differ.
    """
    count = 1 if n * m <= ONE else max(1, min(_count(n, m * kind.itemsize // SCORES.itemsize, plan.breadth), n // 2))
    edges = [n * number // count for number in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)][plan.rank :: plan.world]


def _count(n: int, width: int, breadth: int) -> int:
    """How many strips of rows of so many float32 numbers."""
    if breadth > 1:  # one thread asks a device for all of them, and its memory may be small
        return -(-n // max(2, breadth * min(FEW, STRIP // 2 // width)))
    least, wish = -(-n // max(2, min(ROWS, STRIP // width))), min(SHARED, n // FEW)
    return max(least if least < EVEN else -(-least // EVEN) * EVEN, wish if wish < EVEN else wish // EVEN * EVEN)


def apart(mine: Sequence[slice], columns: Tensor, kind: torch.dtype) -> dict[int, Tensor]:
    """Memory for a process's strips of as many columns, by their first row, in one piece."""
    counts, like = [rows.stop - rows.start for rows in mine], columns.new_empty(0).to(kind)
    parts = torch.split(host.room((sum(counts), len(columns)), like), counts)
    return {rows.start: part for rows, part in zip(mine, parts, strict=True)}


def spare(mine: Sequence[slice], columns: Tensor, kind: torch.dtype) -> Tensor:
    """Memory for one of them at a time."""
    return host.room((max((rows.stop - rows.start for rows in mine), default=0), len(columns)), columns.new_empty(0).to(kind))


def blocks(strip: Tensor) -> Iterator[slice]:
    """Rows of a strip (n, m)."""
    return _cut(strip, BLOCK)


def parts(strip: Tensor) -> Iterator[slice]:
    """Fewer rows of a strip (n, m)."""
    return _cut(strip, PART * SCORES.itemsize // strip.itemsize)


def _cut(strip: Tensor, entries: int) -> Iterator[slice]:
    step = max(8, breadth(strip.device.type) * entries // strip.shape[1])
    for start in range(0, len(strip), step):
        yield slice(start, min(start + step, len(strip)))

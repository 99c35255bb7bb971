"""Triton kernels that use a product of float16 operands where it is made, so that no tile of it is written to memory.

Imported by `nclbench.similarity.fused` alone, only where triton is installed. Offsets are 64 bits wide: a million rows of 3 x 512
parts are more than 2^31 numbers.
"""

import triton
import triton.language as tl

# rows, columns and features of a block: the largest whose sums and places stay in registers of eight warps, as compiled for
# Hopper
BLOCKS = {"exponentials": (128, 128, 64), "above": (128, 64, 64)}
# and where all of it is interpreted, which is slow
SMALL = (16, 32, 16)


@triton.jit
def dots(
    left, right, row, column, n, m,
    width: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """(ROWS, COLUMNS) float32 sums of products of these rows of left (n, width) and of right (m, width)."""
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, width, DEEP):
        at = start + tl.arange(0, DEEP)
        deep = (at < width)[None, :]
        x = tl.load(left + row[:, None] * width + at[None, :], mask=(row < n)[:, None] & deep, other=0.0)
        y = tl.load(right + column[:, None] * width + at[None, :], mask=(column < m)[:, None] & deep, other=0.0)
        total = tl.dot(x, tl.trans(y), total, out_dtype=tl.float32)
    return total


@triton.jit
def exponentials(
    left, right, down, across, out, n, m, share, scale,
    width: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """out (shares, n) float32: sums of exp(scale x + down + across) over `share` columns each, of products x (n, m)."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1).to(tl.int64) * share
    more = tl.load(down + row, mask=row < n, other=0.0)
    total = tl.zeros((ROWS,), dtype=tl.float32)
    for start in range(0, share, COLUMNS):
        column = first + start + tl.arange(0, COLUMNS)
        inside = (column < m) & (start + tl.arange(0, COLUMNS) < share)
        x = dots(left, right, row, column, n, m, width, ROWS, COLUMNS, DEEP)
        x = x * scale + more[:, None] + tl.load(across + column, mask=inside, other=0.0)[None, :]
        total += tl.sum(tl.where(inside[None, :], tl.exp(x), 0.0), 1)
    tl.store(out + tl.program_id(1).to(tl.int64) * n + row, total, mask=row < n)


@triton.jit
def above(
    left, right, across, over, under, sure, found, hits, room, n, m, share,
    scale, width: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEEP: tl.constexpr,
):  # fmt: skip
    """Adds to sure (n,) int32 how many scale x + across of each row are above over (n,), of products x (n, m).

    hits (room,) int32 get the places row m + column of those that are not and reach under (n,), in no order. found (1,) int32:
    how many these are, also where there is no room. n m is less than 2^31.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1).to(tl.int64) * share
    high = tl.load(over + row, mask=row < n, other=float("inf"))
    low = tl.load(under + row, mask=row < n, other=float("inf"))
    count = tl.zeros((ROWS,), dtype=tl.int32)
    for start in range(0, share, COLUMNS):
        column = first + start + tl.arange(0, COLUMNS)
        inside = ((column < m) & (start + tl.arange(0, COLUMNS) < share))[None, :] & (row < n)[:, None]
        x = dots(left, right, row, column, n, m, width, ROWS, COLUMNS, DEEP)
        x = x * scale + tl.load(across + column, mask=column < m, other=0.0)[None, :]
        above = (x > high[:, None]) & inside
        count += tl.sum(above.to(tl.int32), 1)
        near = ((x >= low[:, None]) & inside & (x <= high[:, None])).to(tl.int32)
        each = tl.sum(near, 1)
        many = tl.sum(each, 0)
        if many > 0:
            before = tl.atomic_add(found, many) + tl.cumsum(each, 0) - each
            place = before[:, None] + tl.cumsum(near, 1) - near
            where = (row.to(tl.int32) * m)[:, None] + column.to(tl.int32)[None, :]
            tl.store(hits + place, where, mask=(near > 0) & (place < room))
    tl.atomic_add(sure + row, count, mask=row < n)

"""Inner products of vectors rounded to float16: quick where there are tensor cores, within a proven bound of exact ones.

A side x is scaled by a power of two and rounded to high, or to high + low with low the rounded rest. Products of float16
numbers are exact in float32, in which they are added; scores are never float16, and bfloat16 has too few digits for ranks.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.plan import HALF, SCORE_ROUNDOFF, SCORES, SUMS

Rows = slice | Tensor
# the largest entry is scaled to [2^14, 2^15): no overflow, and what is 2^28 times smaller is rounded as well as it is
_TOP = 15
# both sides' scales together stay a normal float32 number
_FARTHEST = 63
# multiples of these are what tensor cores take
_ALIGNED = 8
_CHUNK = 1 << 14
# of the sides' typical lengths: errors above this leave most pairs undecided, and rounding would cost more than it saves
_LOOSE = 2.0**-8


@dataclass(frozen=True, eq=False)
class Side:
    """Vectors (N, D) as high + low, times 2^exponent. low: None if there is none.

    The longest: of x, of high + low, of x - (high + low), of high and of low, all without the scale; typical: the
    median of |x|.
    """

    high: Tensor
    low: Tensor | None
    exponent: int
    length: float
    rounded: float
    lost: float
    highest: float
    lowest: float
    typical: float

    @classmethod
    def of(cls, vectors: Tensor, split: bool) -> "Side":
        """vectors: (N, D) float32."""
        n, width = vectors.shape
        chunks = [slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]
        top = float(torch.stack([vectors[part].abs().amax() for part in chunks]).amax())
        exponent = max(-_FARTHEST, min(_FARTHEST, _TOP - math.frexp(top)[1])) if top else 0
        high = vectors.new_zeros((n, -(-width // _ALIGNED) * _ALIGNED), dtype=HALF)
        low = torch.zeros_like(high) if split else None
        found, lengths = [], []
        for part in chunks:
            scaled = vectors[part] * 2.0**exponent
            high[part, :width] = scaled.to(HALF)
            exact, upper = scaled.to(SUMS), high[part, :width].to(SUMS)
            lower = torch.zeros_like(upper)
            if low is not None:
                low[part, :width] = (exact - upper).to(HALF)
                lower = low[part, :width].to(SUMS)
            # what scaling itself loses, of entries near the smallest, is lost too
            whole, kept = vectors[part].to(SUMS) * 2.0**exponent, upper + lower
            squares = [each.square().sum(1) for each in (whole, kept, whole - kept, upper, lower)]
            found.append(torch.stack([each.amax() for each in squares]))
            lengths.append(squares[0])
        longest = torch.stack(found).amax(0).sqrt() * 2.0**-exponent
        length, rounded, lost, highest, lowest = longest.tolist()
        typical = float(torch.cat(lengths).median().sqrt()) * 2.0**-exponent
        return cls(high, low, exponent, length, rounded, lost, highest, lowest, typical)

    def beside(self, first: bool) -> Tensor:
        """high, or (high, low, high) for the first side and (high, high, low) for the second."""
        if self.low is None:
            return self.high
        return torch.cat([self.high, self.low, self.high] if first else [self.high, self.high, self.low], 1)


@dataclass(frozen=True, eq=False)
class Halves:
    """left (N, W), right (M, W): float16 operands whose products times `scale` lie within `error` of the vectors' own."""

    left: Tensor
    right: Tensor
    scale: float
    error: float

    @classmethod
    def of(cls, queries: Tensor, items: Tensor, split: bool = False) -> "Halves | None":
        """(N, D), (M, D) float32. split: keep the rest of the rounding, so that only the additions are worse than float32's.

        None where vectors are so different in length that the bound would decide little.
        """
        q, v = Side.of(queries, split), Side.of(items, split)
        # |q.v - q'.v'| <= |q - q'| |v| + |q'| |v - v'|; and low times low is left out
        rounding = q.lost * v.length + q.rounded * v.lost + q.lowest * v.lowest
        added = q.highest * v.highest + q.lowest * v.highest + q.highest * v.lowest
        width = queries.shape[1] * (3 if split else 1)
        error = 1.001 * (rounding + growth(width) * added) + 1e-37
        if not error <= _LOOSE * q.typical * v.typical:
            return None
        return cls(q.beside(True), v.beside(False), 2.0 ** -(q.exponent + v.exponent), error)

    def turned(self) -> "Halves":
        """The same products from the other side."""
        return Halves(self.right, self.left, self.scale, self.error)

    def tile(self, rows: Rows, columns: Rows) -> Tensor:
        """(n, m) float32."""
        return product(self.left[rows], self.right[columns]).mul_(self.scale)


def growth(width: int) -> float:
    """Bounds the error of so many float32 additions, in proportion to the sum of the products' sizes.

    Tensor cores add b products to a sum at a time: all are brought to the largest one's exponent, what sticks out of 24 bits
    is cut off, and so is the sum (Fasi, Higham, Mikaitis & Pranesh 2021, PeerJ Computer Science 7:e330; error analysis:
    Blanchard et al. 2020, SIAM J. Sci. Comput. 42(3)). That is at most b + 1 units of 2^-23 for b products, so at most two for
    each, whatever b is and with no bits to guard; rounding to nearest, as elsewhere, loses a quarter of that.
    """
    lost = 2 * width * 2 * SCORE_ROUNDOFF
    return lost / (1 - lost) if lost < 1 else math.inf


def product(left: Tensor, right: Tensor) -> Tensor:
    """(n, W), (m, W) float16 -> (n, m) float32, added in float32."""
    if left.device.type == "cuda":
        return torch.mm(left, right.T, out_dtype=SCORES)
    return left.to(SCORES) @ right.to(SCORES).T

"""In which precision a kernel is made, what it can hold, and what it loses."""

import torch

from nclbench.plan import HALF, SCORES, SUMS

# up to so many entries everything is float64; beyond, scores and kernel are float32, and sums of more than a block float64.
# Where one side is twice the other, a cold row takes the whole mass of several columns, and only float64 tells these apart
EXACT, LOPSIDED = 1 << 22, 1 << 28
# how far float32 was seen to move potentials, in proportion to the largest score and tau, and at each step
ROUNDED = 2.0**-20
# how many times more of split operands (`halves`): tensor cores cut each of some 192 partial sums off (not yet measured)
CUT = 8
# how far float16 moves a pass: 2^-11 in each half-step, and faint entries; kept so many times larger, all have 11 bits to 2^-29
PACKED, LIFT = 2.0**-10 + 2.0**-13, 2.0**15
# beyond this |L|, rounding of float32 scores would be felt
COLDEST = 1100.0
# logarithms of the smallest entry, and of what weights may span before small entries would be missed (HALF: of 2^-40 each)
FLOOR = {SCORES: -87.0, SUMS: -700.0}
SPAN = {SCORES: 50.0, SUMS: 600.0, HALF: 18.0}
TINY = {SCORES: 1e-36, SUMS: 1e-300}


# as users call them; auto is the choice below
KINDS = {"auto": None, "single": SCORES, "double": SUMS}


def of(n: int, m: int, wish: str = "auto") -> torch.dtype:
    return KINDS[wish] or (SUMS if n * m <= (LOPSIDED if max(n, m) >= 2 * min(n, m) else EXACT) else SCORES)

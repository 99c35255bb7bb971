"""What is asked of a strip's scores before their exponentials are taken. L = scale S, a part that stays in cache at a time."""

import torch
from torch import Tensor

from nclbench.machine import host
from nclbench.plan import SUMS
from nclbench.sinkhorn.strips import parts


def logits(scores: Tensor, scale: float, taken: Tensor | None, room: Tensor | None = None) -> Tensor:
    """L + taken, in this room if there is one; taken (m,)."""
    found = torch.mul(scores, scale, out=room)
    return found if taken is None else found.add_(taken.to(found.dtype))


def maxima(scores: Tensor, scale: float, taken: Tensor | None) -> tuple[Tensor, Tensor]:
    """(n,) the maxima of the rows of L + taken, (m,) those of the columns of what is left without them; float64."""
    rows = torch.empty(len(scores), dtype=SUMS, device=scores.device)
    columns = torch.full((scores.shape[1],), -torch.inf, dtype=scores.dtype, device=scores.device)
    for part in parts(scores):
        found = logits(scores[part], scale, taken)
        best = found.amax(1)
        rows[part] = best.to(SUMS)
        torch.maximum(columns, found.sub_(best[:, None]).amax(0), out=columns)
    return rows, columns.to(SUMS)


def log_sums(scores: Tensor, scale: float, mass: Tensor) -> Tensor:
    """(n, m), (n,) -> (m,) log sum_i mass_i exp(L_ij), with the columns' own maxima."""
    top, shares = scores.amax(0) * scale, mass.to(scores.dtype)
    whole = torch.zeros(len(top), dtype=SUMS, device=top.device)
    for part in parts(scores):
        whole += host.mv(host.exp_((scores[part] * scale).sub_(top)).T, shares[part])
    return top.to(SUMS) + whole.log()

"""What repositories write themselves, here from the formulas: Sinkhorn in plain torch, and metrics by sorting."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def log_step(logits: Tensor, bias: Tensor, row: float, column: float) -> tuple[Tensor, Tensor]:
    """(N, M) L, (M,) b -> (N,) a, (M,) log mass of the columns: both from logarithms of sums of exponentials."""
    potential = row - torch.logsumexp(logits + bias, 1)
    return potential, bias + torch.logsumexp(logits + potential[:, None], 0)


def log_domain(
    logits: Tensor, iterations: int, tol: float | None = None, step: Any = log_step
) -> tuple[Tensor, int]:
    """(N, M) L = S / tau -> (M,) b and the iterations made, from b = 0; rows, then columns, L1 error below tol if given."""
    n, m = logits.shape
    row, column = -math.log(n), -math.log(m)
    bias = torch.zeros(m, dtype=logits.dtype, device=logits.device)
    done = 0
    for done in range(1, iterations + 1):
        _, log_mass = step(logits, bias, row, column)
        if tol is not None and float((log_mass.exp() - 1 / m).abs().sum()) <= tol:
            return bias, done
        bias = bias + column - log_mass
    float(bias[0])
    return bias, done


def exp_domain(logits: Tensor, iterations: int, tol: float | None = None) -> tuple[Tensor, int]:
    """The same of exp(L - max L), which over- and underflows at low temperatures. From the sums of the columns, with
    (queries, items) in turn after, as UCoFiA does it four times.
    """
    n, m = logits.shape
    kernel = torch.exp(logits - logits.max())
    weight = 1 / (m * (kernel.sum(0) / n))
    done = 0
    for done in range(1, iterations + 1):
        mass = ((1 / n) / (kernel @ weight)) @ kernel
        if tol is not None:
            error = float((weight * mass - 1 / m).abs().sum())
            if error <= tol:
                return weight.log(), done
            if not math.isfinite(error):
                raise ArithmeticError(f"not finite after {done} iterations")
        weight = (1 / m) / mass
    bias = weight.log()
    float(bias[0])
    return bias, done


def sorted_metrics(scores: Array) -> dict[str, float]:
    """(N, N) -> metrics of the rows: each row sorted, the place of its diagonal looked for, as CLIP4Clip does.

    A tied query counts more than once.
    """
    ordered = np.sort(-scores, axis=1)
    places = np.where(ordered - np.diag(-scores)[:, None] == 0)[1]
    found = {f"R@{k}": 100 * float((places < k).mean()) for k in (1, 5, 10)}
    return found | {"MdR": float(np.median(places)) + 1, "MnR": float(places.mean()) + 1}

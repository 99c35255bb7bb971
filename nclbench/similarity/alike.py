"""Which rows, or sets, are the same to the byte."""

from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from nclbench.plan import COUNTS
from nclbench.ragged import Ragged


def first_alike(vectors: Tensor | Ragged) -> Tensor:
    """(N,) position of the first row, or set, with the same bytes."""
    seen: dict[bytes, int] = {}
    if isinstance(vectors, Ragged):
        first = [seen.setdefault(key, n) for n, key in enumerate(vectors.keys())]
        return torch.tensor(first, dtype=COUNTS, device=vectors.device)
    rows = vectors.cpu().numpy()
    alike = np.arange(len(rows))
    _, number, count = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
    for n in np.flatnonzero(count[number] > 1).tolist():  # few rows, if any, begin with the same number as another
        alike[n] = seen.setdefault(blake2b(rows[n].tobytes(), digest_size=16).digest(), n)
    return torch.from_numpy(alike).to(vectors.device)

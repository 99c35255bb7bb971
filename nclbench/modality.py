"""How far queries and items lie apart as two clouds of directions (Liang et al. 2022, modality gap).

Models of two modalities have such a gap and rank well across it: it is a fact to know, not a fault.
"""

import torch
from torch import Tensor

from nclbench.errors import NotAvailable
from nclbench.plan import SUMS
from nclbench.similarity.views import Views

_CHUNK = 4096


def gap(views: Views) -> dict[str, float]:
    """gap.distance: |mean query - mean item| of vectors of length 1, from 0 to 2. gap.queries, gap.items: how closely each
    side points one way, from 0 (all around) to 1 (all the same). Empty where there are no vectors.
    """
    try:
        queries, items = (_mean(views.vectors(role)) for role in ("queries", "items"))
    except NotAvailable:
        return {}
    return {
        "gap.distance": float((queries - items).norm()),
        "gap.queries": float(queries.norm()),
        "gap.items": float(items.norm()),
    }


def _mean(vectors: Tensor) -> Tensor:
    """(D,) the mean direction of (N, D)."""
    total = torch.zeros(vectors.shape[1], dtype=SUMS, device=vectors.device)
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK].to(SUMS)
        total += (part / part.norm(dim=1, keepdim=True)).sum(0)
    return total / len(vectors)

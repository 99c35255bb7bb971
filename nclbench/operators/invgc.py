"""Inverse graph convolution (InvGC): every item is moved away from its neighbours in two banks."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.errors import NotAvailable, UsageError
from nclbench.operators import Fitted, operators
from nclbench.plan import SCORES, SUMS
from nclbench.similarity.views import Views

_CHUNK = 1024
_NOTHING = 1e-6


@operators.register("invgc")
@dataclass(frozen=True)
class InverseGraphConvolution:
    """Inverse graph convolution (InvGC): items move away from their neighbours in both banks.

    v - (r / N) sum_b (<v, b> - m) b, of length one again, for each bank; then their mean. m: the mean of all <v, b>.
    local (the authors' default): only the int(pool N) bank vectors nearest to v, at least one, with weight r over their
    number and without m. r_gallery, r_query: strengths; the paper tunes them and names no default. Queries stay.
    """

    source: ClassVar[str] = "Jian & Wang 2023 (InvGC), LocalAdj"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("query_bank", "item_bank")
    fits_on: ClassVar[str] = "query bank and item bank"

    r_gallery: float = 1.0
    r_query: float = 1.0
    local: bool = True
    pool: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.pool <= 1:
            raise UsageError(f"invgc:pool={self.pool} must lie above 0 and at most 1")

    def learn(self, views: Views) -> Fitted:
        if views.problem.scorer != "cosine":
            raise NotAvailable(f"it moves unit vectors; the scorer is {views.problem.scorer}")
        for bank in self.needs:
            views.needing(bank, "items")
        items = views.vectors("items")
        sides = [("item_bank", self.r_gallery), ("query_bank", self.r_query)]
        total = sum(self._away(items, views.vectors(bank, (bank, "items")), r) for bank, r in sides)
        moved = _unit(torch.as_tensor(total))
        lost = (~moved.any(1)).nonzero()[:, 0]
        if len(lost):
            side = views.side("items")
            assert side is not None
            raise NotAvailable(
                f"{len(lost)} items are moved onto nothing, the first is {side.ids[int(lost[0])]}; "
                "the bank holds them, or the strengths are too large"
            )
        return Fitted(None, moved=moved.to(SCORES))

    def _away(self, items: Tensor, bank: Tensor, r: float) -> Tensor:
        out = torch.empty(items.shape, dtype=SUMS, device=items.device)
        wide = bank.to(SUMS)
        centre = wide.mean(0)
        everything = float(items.sum(0, dtype=SUMS) @ centre) / len(items)
        near = max(1, int(self.pool * len(bank)))
        for start in range(0, len(items), _CHUNK):
            own = items[start : start + _CHUNK].to(SUMS)
            likeness = own @ wide.T
            if self.local:
                value, column = likeness.topk(near, dim=1)
                push = torch.zeros_like(likeness).scatter_(1, column, value) @ wide * (r / near)
            else:
                push = (likeness - everything) @ wide * (r / len(bank))
            out[start : start + _CHUNK] = _unit(own - push)
        return out


def _unit(vectors: Tensor) -> Tensor:
    """Of length one; what is left of an item that is taken off itself is rounding, and stays nothing."""
    length = vectors.square().sum(1, keepdim=True).sqrt()
    return torch.where(length < _NOTHING, 0.0, vectors / length.clamp(min=_NOTHING))

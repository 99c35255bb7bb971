"""Centring by similarity (DisSim): what an item has in common with the gallery, or with its neighbours, is taken off."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from nclbench.errors import NotAvailable, UsageError
from nclbench.operators import Fitted, check_k, operators
from nclbench.plan import SUMS
from nclbench.similarity.maps import column_bias, near
from nclbench.similarity.reducers import Largest, Moments
from nclbench.similarity.views import Views


@operators.register("dissim")
@dataclass(frozen=True)
class DisSim:
    """DisSim, centring: minus half of |q - g|^2 - |q - c(q)|^2 - |g - c(g)|^2, up to a number a query.

    kind=global: c is the mean of the gallery, and the bias of g is -<g, c>. kind=local: c(g) is the mean of the k items
    nearest to g, itself included, and the bias is |g - c(g)|^2 / 2 - |g|^2 / 2; items that tie for the last places
    share them. Looks at the gallery only.
    """

    source: ClassVar[str] = "Hara et al. 2016; hub-toolbox 2.5 (a gallery item is its own neighbour)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "gallery"

    kind: str = "global"
    k: int = 10

    def __post_init__(self) -> None:
        check_k(self.name, self.k)
        if self.kind not in ("global", "local"):
            raise UsageError(f"dissim:kind={self.kind} is unknown; use global or local")

    def learn(self, views: Views) -> Fitted:
        gallery = views.needing("items", "items")
        if self.kind == "global":
            ((mean, _),) = gallery.reversed().reduce(Moments())
            return Fitted(column_bias(-torch.as_tensor(mean)))
        if views.problem.scorer != "cosine":
            raise NotAvailable(f"kind=local finds neighbours by cosine; the scorer is {views.problem.scorer}")
        vectors = views.vectors("items", ("items", "items")).to(SUMS)
        (nearest,) = gallery.reduce(Largest(self.k))
        last = nearest[:, -1:]
        tie = near(gallery.view.base.largest, gallery.view.base.spread)
        bias = torch.empty(len(vectors), dtype=SUMS, device=vectors.device)
        step = views.plan.strip(len(vectors))
        for start in range(0, len(vectors), step):
            part = slice(start, start + step)
            likeness = gallery.view.plain(part, slice(0, len(vectors)), fine=True)
            closer = likeness > last[part] + tie
            tied = (likeness >= last[part] - tie) & ~closer
            share = (nearest.shape[1] - closer.sum(1, keepdim=True)).to(SUMS) / tied.sum(1, keepdim=True)
            centre = (closer.to(SUMS) + tied * share) @ vectors / nearest.shape[1]
            own = vectors[part]
            bias[part] = ((own - centre).square().sum(1) - own.square().sum(1)) / 2
        return Fitted(column_bias(bias))

"""Cosine and inner product of global vectors."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nclbench.compiled import worthwhile
from nclbench.compiled.products import products, units
from nclbench.errors import InputError
from nclbench.machine import host
from nclbench.plan import SCORE_ROUNDOFF, SCORES, SUMS, Plan
from nclbench.problem import Floats
from nclbench.scorers import scorers

_CHUNK = 1024
# rows of vectors that stay in cache in float64
_FEW = 128


def tree_sum(values: Tensor) -> Tensor:
    """(P, D) -> (P,): adds the upper half onto the lower one, in place, until one column is left.

    Only elementwise additions, so the result does not depend on batch, tile, threads, vector width or device.
    """
    width = values.shape[1]
    while width > 1:
        half = 1 << ((width - 1).bit_length() - 1)
        values[:, : width - half] += values[:, half:width]
        width = half
    return values[:, 0]


class _Product:
    """Everything that cosine and dot share: a score is the sum of the D products."""

    # a score is the inner product of what was prepared, so that others may make tiles, too (`nclbench.similarity.halves`)
    inner: ClassVar[bool] = True

    def tile(self, queries: Tensor, items: Tensor) -> Tensor:
        return host.product(queries, items)

    def fine(self, queries: Tensor, items: Tensor) -> Tensor:
        return self.write(queries, items, queries.new_empty((len(queries), len(items)), dtype=SUMS))

    def write(self, queries: Tensor, items: Tensor, room: Tensor) -> Tensor:
        """The tile into room (n, m), the fine one where that is of float64."""
        if room.dtype == SCORES:
            return host.product(queries, items, room)
        # in blocks: whole rows against 20000 items would otherwise hold all of these in float64
        for top in range(0, len(queries), _CHUNK):
            rows = queries[top : top + _CHUNK].to(SUMS)
            for left in range(0, len(items), _CHUNK):
                host.product(rows, items[left : left + _CHUNK].to(SUMS), room[top : top + _CHUNK, left : left + _CHUNK])
        return room

    def pairs(self, queries: Tensor, items: Tensor) -> Tensor:
        # a product of two float32 numbers is exact in float64: only the order of the additions matters
        return tree_sum(queries.to(SUMS) * items)

    def chosen(self, queries: Tensor, items: Tensor, query: Tensor, item: Tensor) -> Tensor:
        """(P,) the scores of these pairs of them."""
        if queries.device.type == "cpu" and worthwhile(len(query)):
            return torch.from_numpy(products(*(values.numpy() for values in (queries, items, query, item))))
        return self.pairs(queries[query], items[item])

    def error(self, queries: Tensor, items: Tensor, largest: float) -> float:
        """D u / (1 - D u) |q| |v| (Higham 2002, section 3.1), with room for underflow and float64 rounding."""
        width = queries.shape[1]
        growth = width * SCORE_ROUNDOFF / (1 - width * SCORE_ROUNDOFF)
        return 1.01 * growth * largest + 1e-37

    def largest(self, queries: Tensor, items: Tensor) -> float:
        """|q| |v| by Cauchy and Schwarz."""
        return _longest(queries) * _longest(items)


def _longest(vectors: Tensor) -> float:
    chunks = (vectors[start : start + _FEW].to(SUMS) for start in range(0, len(vectors), _FEW))
    return max(float(part.square().sum(1).max().sqrt()) for part in chunks)


@scorers.register("cosine")
@dataclass(frozen=True)
class Cosine(_Product):
    """<q, v> / (|q| |v|). Rows are scaled by their largest entry first, so 1e30 and 1e-30 are no danger."""

    source: ClassVar[str] = "standard; CLIP (Radford et al. 2021)"

    def prepare(self, vectors: Floats, plan: Plan) -> Tensor:
        ready = vectors.dtype in (np.float32, np.float64) and vectors.flags.aligned
        if plan.device == "cpu" and ready and worthwhile(len(vectors)):
            return torch.from_numpy(units(vectors))
        out = plan.put(vectors[:0], SCORES).new_empty(vectors.shape)
        for start in range(0, len(vectors), _FEW):
            part = plan.put(vectors[start : start + _FEW], SUMS)
            part = part / part.abs().amax(1, keepdim=True)
            out[start : start + _FEW] = part / tree_sum(part * part).sqrt()[:, None]
        return out


@scorers.register("dot")
@dataclass(frozen=True)
class Dot(_Product):
    """<q, v>, for models trained without normalisation."""

    source: ClassVar[str] = "standard inner product"

    def prepare(self, vectors: Floats, plan: Plan) -> Tensor:
        out = plan.put(vectors, SCORES).contiguous()  # products of other steps may be slow
        if float(out.abs().max()) > 1e15:
            raise InputError("scorer dot: entries above 1e15 would overflow; use cosine or rescale the embeddings")
        return out

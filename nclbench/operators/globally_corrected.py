"""Globally corrected retrieval (GC): an item prefers the queries that it is nearest to."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nclbench.operators import Fitted, operators
from nclbench.similarity.maps import TileMap, near
from nclbench.similarity.views import Views


@operators.register("gc")
@dataclass(frozen=True)
class GloballyCorrected:
    """Globally corrected (GC): s_ij - rank_j(i), the number of test queries that item j scores above query i.

    Queries within rounding of each other share a rank. Scores that are not cosines are divided by what they span, so that
    they only break ties between ranks. Needs whole columns of S: they are taken in blocks of about 8 MB, never all at once.
    """

    source: ClassVar[str] = "Dinu et al. 2015; gensim 4.4"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "test queries"
    assumes: ClassVar[str] = "one to one"
    unserved: ClassVar[str] = "it ranks all test queries for an item, so no query can be scored alone"

    def learn(self, views: Views) -> Fitted:
        asked = views.watched("queries", "items")
        asked.whole_columns()
        largest, spread = asked.view.base.largest, asked.view.base.spread
        unit = 1.0 if largest < 1.001 else 2.001 * spread
        tie = near(largest, spread)

        def corrected(x: Tensor) -> Tensor:
            columns = x.T.contiguous()
            bar = columns + tie
            rank = len(x) - torch.searchsorted(columns.sort(dim=1).values, bar, right=True)
            return x / unit - rank.T

        return Fitted(TileMap(corrected, slope=math.inf, scale=1.0, whole_columns=True))

"""Distribution normalisation (DN): both sides are centred by a share of their bank's mean."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from nclbench.operators import Fitted, operators
from nclbench.similarity.maps import column_bias
from nclbench.similarity.reducers import Moments
from nclbench.similarity.views import Views


@operators.register("dn")
@dataclass(frozen=True)
class DistributionNormalisation:
    """Distribution normalisation (DN): s_ij - lam mean_b p_bj.

    That is (t - lam mean bank text) . (v - lam mean bank video), up to a number a query.
    Ranks as NNN with all bank queries and alpha = lam; the mean of the item bank moves whole rows only.
    """

    source: ClassVar[str] = "Zhou et al. 2023 (DN); code of Chowdhury et al. 2024 (NNN)"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("query_bank",)
    fits_on: ClassVar[str] = "query bank"

    lam: float = 0.5

    def learn(self, views: Views) -> Fitted:
        ((mean, _),) = views.fitting("bank").reversed().reduce(Moments())
        return Fitted(column_bias(-self.lam * torch.as_tensor(mean)))

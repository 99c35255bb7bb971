"""The raw scores: the row that every other one is read against."""

from dataclasses import dataclass
from typing import ClassVar

from nclbench.operators import Fitted, operators
from nclbench.similarity.views import Views


@operators.register("none")
@dataclass(frozen=True)
class Raw:
    """Scores as the model gives them."""

    source: ClassVar[str] = "the model itself"
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "nothing"

    def learn(self, views: Views) -> Fitted:
        return Fitted(None)

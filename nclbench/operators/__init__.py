"""Operators: published remedies for hubness, each a frozen dataclass of its parameters.

`learn` looks at similarities and returns vectors over rows and columns and a pure function of a score (`TileMap`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Tensor

from nclbench.errors import UsageError
from nclbench.registry import Registry, show
from nclbench.results import Convergence
from nclbench.scorers import scorers
from nclbench.similarity.maps import TileMap
from nclbench.similarity.reducers import Below
from nclbench.similarity.views import Views, Watched


@dataclass(frozen=True, eq=False)
class Fitted:
    """map: None for raw scores. moved: (M, D) vectors that take the place of the items', if the operator moves them.

    params: what `auto` parameters became, None for those that had no say. notes: what a reader of the number must know.
    """

    map: TileMap | None
    moved: Tensor | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    convergence: Convergence | None = None
    notes: tuple[str, ...] = ()


class Operator(Protocol):
    """source: the paper. needs: banks without which it cannot run. fits_on: what it looks at, its assumption class.

    assumes (optional): what the formula takes for granted: "one to one", "positive scores". unserved (optional): why it
    cannot be served by an index.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    fits_on: ClassVar[str]

    def learn(self, views: Views) -> Fitted: ...


operators: Registry[Operator] = Registry("operator", __name__, aliases={"ncl": "sinkhorn", "qbnorm": "dis"})


# between two names: not the one of 1e+5, nor one inside a quoted text
_PLUS = re.compile(r'\+(?=\s*[a-z])(?=(?:[^"]*"[^"]*")*[^"]*\Z)')


def parse_chain(spec: str) -> tuple[Any, Operator]:
    """`dot+sinkhorn:tau=1` -> (scorer, operator), `sinkhorn` -> (None, operator), `dot` -> (scorer, raw)."""
    parts = [part.strip() for part in _PLUS.split(spec)]
    scorer = None
    if parts[0].partition(":")[0].strip() in scorers.names():
        scorer = scorers.parse(parts.pop(0))
    if len(parts) > 1:
        raise UsageError(f"cannot read {spec!r}: a chain is one scorer and then one operator, such as dot+sinkhorn")
    return scorer, operators.parse(parts[0] if parts else "none")


# a product's logarithm ends at this share of the largest score, and this stands for the largest of all zeros
SMALL = 2.0**-30
LEAST = 1e-100


def chain_name(scorer: Any, operator: Operator) -> str:
    """The canonical spec of a chain; the raw operator is not named after a scorer."""
    shown = show(operator)
    return "+".join([*([show(scorer)] if scorer else []), *([] if scorer and shown == "none" else [shown])])


def turned_round(scores: Watched) -> tuple[str, ...]:
    """A note on negative scores, for operators that multiply: a larger share makes a negative score smaller."""
    (below,) = scores.reduce(Below(0.0))
    count, whole = int(below.sum()), scores.shape[0] * scores.shape[1]
    if not count:
        return ()
    share = f"{100 * count / whole:.1f} %" if count >= whole / 1000 else str(count)
    return (f"{share} of the scores are negative, and a product turns their order round; `is` is the safe form",)


def beyond(k: int, *sides: tuple[int, str]) -> tuple[str, ...]:
    """A note where k is more than there is to take; sides: how many there are of what."""
    few = [f"the {size} {what}" for size, what in sides if k > size]
    return (f"k={k} is more than {' and '.join(few)}: of these all are taken, as with any larger k",) if few else ()


def check_fit(name: str, fit: str) -> None:
    if fit not in ("auto", "bank", "test"):
        raise UsageError(f"{name}:fit={fit} is unknown; use auto, bank or test")


def check_tau(name: str, **taus: float | None) -> None:
    """Temperatures are in units of the scores: CLIP's cosines have 0.01, QB-Norm's beta=20 is tau=0.05."""
    for key, tau in taus.items():
        if tau is not None and not 1e-6 <= tau <= 1e6:
            raise UsageError(f"{name}:{key}={tau} is out of range; give 1e-6 to 1e6 (it is 1 / beta of the papers)")


def check_k(name: str, k: int, least: int = 1, key: str = "k") -> None:
    if k < least:
        raise UsageError(f"{name}:{key}={k} must be at least {least}")

"""Measures of hard negatives: pairs that are not relevant and outrank what is (`nclbench.rivals`)."""

import math

from nclbench.diagnostics import diagnostic
from nclbench.rivals import Rivals

PAPER = "Jiang et al. 2023 (DMAE), the authors' code"
# what the hard negatives count for beside the right item
REPULSION = 0.5


@diagnostic(
    "hard.pairs",
    summary="number of pairs that are not relevant and outrank the right item of their query, or the right query of their item",
    source=PAPER,
    limits=(0, math.inf),
    reading="how many wrong pairs stand above a right one",
    unit="pairs",
)
def pairs(rivals: Rivals) -> float:
    return float(rivals.pairs or 0)


@diagnostic(
    "hard.negnce",
    summary="NegNCE: mean -log p of the right item + half of the mean -log(1 - p) of the hard negatives, p the softmax of a row",
    source=PAPER,
    limits=(0, math.inf),
    reading="the loss of a model that is trained to push hard negatives away, at the scale that stands beside it",
    unit="nats",
)
def negnce(rivals: Rivals) -> float:
    """Of several right items the probabilities are added."""
    assert rivals.attraction is not None and rivals.repulsion is not None
    return rivals.attraction + REPULSION * rivals.repulsion

"""Measures of p, (M,) the probability mass that the queries together give to each item, beside a target (M,).

p_j = sum_i softmax_j(S_ij / tau), so p sums to N (Park et al. 2022, section 3). The target is N / M, the same for all, or n_j,
what the labels want: each query's mass of 1, shared evenly by its relevant items.
"""

import math

import numpy as np

from nclbench.diagnostics import Masses, diagnostic
from nclbench.diagnostics.occurrence import gini as of_shares

PAPER = "Park et al. 2022, sum retrieval probability"


@diagnostic(
    "p.mean_error",
    summary="mean of |p - target| over the items",
    source=PAPER,
    limits=(0, math.inf),
    reading="by how many queries' worth of probability an item is off, on average",
)
def mean_error(mass: Masses, target: Masses) -> float:
    return float(np.abs(mass - target).mean())


@diagnostic(
    "p.max_error",
    summary="largest |p - target|",
    source=PAPER,
    limits=(0, math.inf),
    reading="by how much the worst item is off",
)
def max_error(mass: Masses, target: Masses) -> float:
    return float(np.abs(mass - target).max())


@diagnostic(
    "p.std_error",
    summary="standard deviation of |p - target|",
    source=PAPER,
    limits=(0, math.inf),
    reading="how differently items are off",
)
def std_error(mass: Masses, target: Masses) -> float:
    return float(np.abs(mass - target).std())


@diagnostic(
    "p.under",
    summary="share of items with less than half of their target",
    source=PAPER,
    limits=(0, 1),
    reading="the share of the gallery that gets less than half of what it should",
)
def under(mass: Masses, target: Masses) -> float:
    return float(np.mean(mass < target / 2))


@diagnostic(
    "p.over",
    summary="share of items with more than twice their target (of those with a target of 0, above half a query)",
    source=PAPER,
    limits=(0, 1),
    reading="the share of the gallery that gets more than twice what it should",
)
def over(mass: Masses, target: Masses) -> float:
    return float(np.mean(mass > np.where(target > 0, 2 * target, 0.5)))


@diagnostic(
    "p.gini",
    summary="Gini index of p",
    source=PAPER,
    limits=(0, 1),
    reading="0 is the same mass for all, 1 is all of it on one item",
)
def gini(mass: Masses, target: Masses) -> float:
    """target does not matter: it is an index of p alone."""
    return of_shares(mass)


def lorenz(shares: Masses) -> tuple[Masses, Masses]:
    """(M + 1,) shares of the items, least first, and of what they have together."""
    cumulated = np.concatenate([[0.0], np.cumsum(np.sort(shares))])
    return np.linspace(0, 1, len(cumulated)), cumulated / max(cumulated[-1], 1e-300)

"""Measures of hubness on N_k, (M,) how many queries have each item among their first k. Their mean is k N / M.

A gallery that is shown evenly has 0 everywhere, and so has one of which nothing was shown at all.
"""

import math

import numpy as np

from nclbench.diagnostics import Counts, diagnostic

# of the two exponents in use: scikit-hubness and kiez have 0.5, hub-toolbox 0.75
INEQUALITY_AVERSION = 0.5
# how often its share an item must be shown to be called a hub; by the mean, since 2 k would presume as many queries as items
HUB = 2.0


@diagnostic(
    "skewness",
    summary="third standardised moment of the k-occurrences, 0 where all are equal",
    source="Radovanovic et al. 2010",
    limits=(-math.inf, math.inf),
    reading="0 is even; far above chance, a few items take the places of many",
)
def skewness(counts: Counts) -> float:
    gap = counts - counts.mean()
    spread = float(np.mean(gap**2))
    return float(np.mean(gap**3)) / spread**1.5 if spread else 0.0


@diagnostic(
    "robinhood",
    summary="share of all places that would have to change hands for equality (Hoover index)",
    source="Feldbauer et al. 2018",
    limits=(0, 1),
    reading="the share of all places that would have to be given to other items before all had the same",
)
def robinhood(counts: Counts) -> float:
    return float(np.abs(counts - counts.mean()).sum() / max(2 * counts.sum(), 1))


@diagnostic(
    "gini",
    summary="Gini index of the k-occurrences",
    source="Feldbauer et al. 2018",
    limits=(0, 1),
    reading="0 is even, 1 is one item everywhere",
)
def gini(counts: Counts) -> float:
    """From sorted counts, equal to the mean over all pairs of items."""
    m = len(counts)
    weight = 2 * np.arange(1, m + 1) - m - 1
    return float((weight * np.sort(counts)).sum() / max(m * counts.sum(), 1))


@diagnostic(
    "atkinson",
    summary=f"Atkinson index of the k-occurrences, with exponent {INEQUALITY_AVERSION}",
    source="Feldbauer et al. 2018",
    limits=(0, 1),
    reading="0 is even; items that are hardly ever shown weigh most",
)
def atkinson(counts: Counts, aversion: float = INEQUALITY_AVERSION) -> float:
    power = 1 - aversion
    return max(0.0, 1 - float(np.mean(counts**power) ** (1 / power) / counts.mean())) if counts.any() else 0.0


@diagnostic(
    "antihubs",
    summary="share of items that no query has among its first k",
    source="Radovanovic et al. 2010",
    limits=(0, 1),
    reading="the share of the gallery that nobody is ever shown",
)
def antihubs(counts: Counts) -> float:
    return float(np.mean(counts == 0))


@diagnostic(
    "hubs",
    summary=f"share of all places that go to items shown at least {HUB:g} times as often as the mean",
    source="hub occurrence, Radovanovic et al. 2010; hub-toolbox takes 2 k for the threshold",
    limits=(0, 1),
    reading="the share of all places that goes to items shown at least twice as often as the mean",
)
def hubs(counts: Counts, threshold: float | None = None) -> float:
    """threshold: in occurrences, HUB times the mean where None."""
    least = HUB * counts.mean() if threshold is None else threshold
    return float(counts[counts >= least].sum() / max(counts.sum(), 1))


@diagnostic(
    "largest",
    summary="how many times its fair share the most shown item is shown",
    source="groupie, hub-toolbox (there as a share of the queries)",
    limits=(1, math.inf),
    reading="1 is the same for all; 20 means that one item stands where twenty should",
)
def largest(counts: Counts) -> float:
    return float(counts.max() / counts.mean()) if counts.any() else 1.0

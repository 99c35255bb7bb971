"""Whose fault it is: mass and first places that items take from the right ones (false positives) or lack (false negatives).

w_ij = 1 / |R_i| for each relevant item j of query i is what the labels want, n_j = sum_i w_ij. With P_ij what a query gives,
FP_j = sum_i max(P_ij - w_ij, 0) and FN_j = sum_i max(w_ij - P_ij, 0), so p_j - n_j = FP_j - FN_j for any relevance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nclbench.diagnostics import Masses

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Errors:
    """positive, negative: (M,) FP and FN in queries. wanted: (M,) n."""

    positive: Masses
    negative: Masses
    wanted: Masses


def wishes(query: Places) -> Masses:
    """(P,) w of each relevant pair, from the query of each."""
    return 1 / np.bincount(query)[query] if len(query) else np.zeros(0)


def errors(mass: Masses, query: Places, item: Places, given: Masses) -> Errors:
    """mass: (M,) sum_i P_ij. query, item: (P,) relevant pairs. given: (P,) P_ij of these."""
    wanted = wishes(query)
    met = np.minimum(given, wanted)
    due, right, missed = (_by_item(item, values, len(mass)) for values in (wanted, met, wanted - met))
    return Errors(np.maximum(mass - right, 0), missed, due)


def _by_item(item: Places, values: Masses, items: int) -> Masses:
    return np.bincount(item, values, minlength=items).astype(np.float64)


def first_places(first: Places, query: Places, item: Places, items: int) -> Errors:
    """The same where each query gives all of its mass to its best item. first: (N,) that item."""
    return errors(np.bincount(first, minlength=items).astype(float), query, item, (first[query] == item).astype(float))


def wrong(top: Places, query: Places, item: Places, items: int) -> Places:
    """(M,) how many queries have an item among their first k and want others. top: (N, k).

    A query of which nothing is known to be relevant is neither right nor wrong.
    """
    known, right = np.unique(query), np.sort(query * items + item)
    found = np.zeros(items, dtype=np.int64)
    for place in range(top.shape[1]):  # all places at once would need ten times their memory
        shown = top[known, place]
        asked = known * items + shown
        nearest = right[np.minimum(np.searchsorted(right, asked), len(right) - 1)]
        found += np.bincount(shown[nearest != asked], minlength=items)
    return found


def bins(mass: Masses, target: Masses | float, edges: tuple[float, ...]) -> Places:
    """(M,) in which bin of representation p / target an item is: 0 below the first edge."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.digitize(mass / target, edges)

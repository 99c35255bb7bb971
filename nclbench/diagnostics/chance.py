"""What unevenness chance alone makes: each of N queries shows k different items of M, all equally likely.

Even a perfect model on few queries leaves some items unseen, so a measure says something only beside this.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from nclbench.diagnostics import Counts, of_counts

# as many drawings as fit into so many places, within these limits
_PLACES, _LEAST, _MOST = 20_000_000, 20, 200
_AT_ONCE = 1 << 22
# of an interval: 2.5 % of the drawings lie outside it at each end
_ENDS = (0.025, 0.975)


@lru_cache(maxsize=64)
def chance(queries: int, items: int, k: int) -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of every measure of N_k, with 95 % of the drawings between low and high. k <= items."""
    measures = of_counts()
    values = [[each.function(counts) for each in measures.values()] for counts in drawn(queries, items, k)]
    table = np.array(values)
    low, high = np.quantile(table, _ENDS, axis=0)
    return {
        name: (float(table[:, at].mean()), float(low[at]), float(high[at])) for at, name in enumerate(measures)
    }


def drawn(queries: int, items: int, k: int, times: int | None = None) -> Iterator[Counts]:
    """(M,) N_k of each drawing, the same ones for the same numbers."""
    draw = np.random.default_rng([queries, items, k])
    for _ in range(times or int(np.clip(_PLACES // (queries * k), _LEAST, _MOST))):
        yield np.bincount(_places(draw, queries, items, k), minlength=items)


def _places(draw: np.random.Generator, queries: int, items: int, k: int) -> Counts:
    """(N * k,) items shown, those of one query all different."""
    if k == 1:
        return draw.integers(items, size=queries)
    if k * k > items:
        step = max(1, _AT_ONCE // items)
        lots = (draw.random((min(step, queries - start), items)) for start in range(0, queries, step))
        return np.concatenate([np.argpartition(part, k - 1, axis=1)[:, :k].ravel() for part in lots])
    found = draw.integers(items, size=(queries, k))
    again = np.arange(queries)
    while len(again):
        ordered = np.sort(found[again], axis=1)
        again = again[(ordered[:, 1:] == ordered[:, :-1]).any(1)]
        found[again] = draw.integers(items, size=(len(again), k))
    return found.ravel()

"""Whether the raw scores find anything at all: what is as good as chance, or worse, is mostly a slip in the input."""

import numpy as np

from nclbench.ranking.ranks import Ranking

# fewer pairs, or a smaller gallery, say nothing sure
_PAIRS, _ITEMS = 100, 20
# of the gallery; chance has a half
_REVERSED = 0.75


def doubts(ranking: Ranking | None, direction: str, stored: bool) -> list[str]:
    """A note where relevant items rank as by chance, or last. stored: the scores were given, and not made of vectors.

    The share of the gallery before a relevant item has a mean of 1/2 and a variance of 1/12 where ranks are drawn at random.
    """
    if ranking is None or len(ranking.query) < _PAIRS or ranking.shape[1] < _ITEMS:
        return []
    share = float((ranking.above + ranking.tied / 2).mean()) / (ranking.shape[1] - 1)
    if share > _REVERSED:
        why = "are these distances? larger scores are better here, so give -scores" if stored else "do the rows belong together?"
        return [f"{direction}: relevant items have {100 * share:.0f} % of the gallery before them on average; {why}"]
    if abs(share - 0.5) < 3 * np.sqrt(1 / 12 / len(ranking.query)):
        why = "do queries and items stand in one order" + (", queries as rows?" if stored else ", a row each, of one model?")
        return [f"{direction}: relevant items rank as by chance, in the middle of the gallery on average; {why}"]
    return []

"""What a direction ranks. t2v: every query once. v2t: a video's best own caption among all captions, or, when several
captions describe a video, the best caption of each video among videos (CLIP4Clip's multi-sentence protocol).
"""

from dataclasses import dataclass, replace

import numpy as np

from nclbench.fusion import in_query_order
from nclbench.problem import Integers, Problem, Relevance
from nclbench.ranking.ranks import Request
from nclbench.similarity.groups import Groups
from nclbench.similarity.view import View


@dataclass(frozen=True, eq=False)
class Protocols:
    """The protocols of a problem, whose captions of one video are put side by side so that they can be grouped.

    groups: the queries as columns of v2t, None where no item has several; videos: (G,) the item of each group.
    order: (N,) where the queries stood in the input, None for as they stand. note: why videos cannot be ranked.
    """

    problem: Problem
    groups: Groups | None = None
    videos: Integers | None = None
    order: Integers | None = None
    note: str = ""

    @classmethod
    def of(cls, problem: Problem) -> "Protocols":
        relevance = problem.relevance
        if relevance is None:
            return cls(problem)
        one_each = len(relevance) == len(problem.queries) and bool((np.diff(relevance.query) == 1).all())
        if len(np.unique(relevance.item)) == len(relevance):
            return cls(problem)
        if not one_each:
            relevant = np.bincount(relevance.query, minlength=len(problem.queries))
            bad = int(np.flatnonzero(relevant != 1)[0])
            name, count = problem.queries.ids[bad], relevant[bad]
            return cls(problem, note=f"v2t-videos is left out: it takes one item a query, and {name} has {count}")
        order = np.argsort(relevance.item, kind="stable")
        if (order == np.arange(len(order))).all():
            grouped, place = problem, None
        else:
            grouped, place = in_query_order(problem, order), order
        videos, starts = np.unique(relevance.item[order], return_index=True)
        return cls(grouped, Groups(tuple(int(s) for s in starts), len(order)), videos, place)

    def names(self, reverse: bool) -> tuple[str, ...]:
        if not reverse:
            return ("queries",)
        return ("captions",) if self.groups is None else ("captions", "videos")

    def request(self, protocol: str, seen: View, reverse: bool, top: int) -> Request:
        """What to rank. seen: the scores of the direction as an operator shows them."""
        if protocol == "videos":
            assert self.videos is not None
            best = Relevance.of(self.videos, np.arange(len(self.videos)))
            return Request(replace(seen, groups=self.groups), best)
        relevance = self.problem.relevance
        if relevance is not None and reverse:
            relevance = relevance.reversed()
        return Request(seen, relevance, top)

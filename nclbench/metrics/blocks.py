"""Tie blocks: what metrics need to know of a ranking, all of it integers.

A block is a set of items of one row with the same score that holds at least one relevant item.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Blocks:
    """P relevant pairs sorted by query, then from best to worst; Q queries that have any; T blocks.

    pair_query: (P,) 0..Q-1. above: (P,) items that score more. size: (P,) items in the pair's block, itself included.
    gain: (P,). rows: (Q,) positions of the queries in the ranking.
    """

    pair_query: Integers
    above: Integers
    size: Integers
    gain: Array
    rows: Integers

    @classmethod
    def of(cls, query: Integers, above: Integers, tied: Integers, gain: Array) -> "Blocks":
        """From the columns of a Ranking, all (P,). Pairs are put from best to worst, so that sums over them have the
        same bits however the items stand in the input.
        """
        if (query[1:] > query[:-1]).all():
            return cls._single(query, above, tied + 1, gain)
        order = np.lexsort((-gain, above, query))
        begins = _changes(query[order])
        pair_query = np.cumsum(begins) - 1
        return cls(pair_query, above[order], tied[order] + 1, gain[order], query[order][begins])

    @classmethod
    def _single(cls, query: Integers, above: Integers, size: Integers, gain: Array) -> "Blocks":
        """Each query has one relevant item: a block is a pair, and nothing need be counted."""
        found = cls(np.arange(len(query)), above, size, gain, query)
        each, one, none = found.pair_query, np.ones_like(above), np.zeros_like(above)
        known = {"of_pair": each, "block_query": each, "_first_block": each, "block_above": above, "first_above": above}
        known |= {"block_size": size, "first_size": size, "block_relevant": one, "first_relevant": one, "relevant": one}
        known |= {"relevant_before": none, "order_in_query": none, "order_in_block": none}
        found.__dict__.update(known, _begins=np.ones(len(query), dtype=bool))  # where cached properties look first
        return found

    @cached_property
    def _begins(self) -> npt.NDArray[np.bool_]:
        """(P,) whether a pair is the first of its block."""
        return _changes(self.pair_query) | _changes(self.above)

    @cached_property
    def untied(self) -> bool:
        """Whether no other item has the score of a relevant one, so that all rules and bounds are the same."""
        return bool((self.size == 1).all() and self._begins.all())

    @cached_property
    def of_pair(self) -> Integers:
        """(P,) the block of each pair."""
        return np.cumsum(self._begins) - 1

    @cached_property
    def block_query(self) -> Integers:
        """(T,) blocks are sorted by query and then from best to worst."""
        return self.pair_query[self._begins]

    @cached_property
    def block_above(self) -> Integers:
        return self.above[self._begins]

    @cached_property
    def block_relevant(self) -> Integers:
        """(T,) relevant items in the block."""
        return np.bincount(self.of_pair, minlength=len(self.block_query))

    @cached_property
    def block_size(self) -> Integers:
        # ties within a tolerance need not be transitive: a block is never smaller than its relevant items
        return np.maximum(self.size[self._begins], self.block_relevant)

    @cached_property
    def relevant_before(self) -> Integers:
        """(T,) relevant items of the same query in better blocks."""
        total = np.cumsum(self.block_relevant) - self.block_relevant
        return total - total[self._first_block][self.block_query]

    @cached_property
    def _first_block(self) -> Integers:
        return np.searchsorted(self.block_query, np.arange(len(self.rows)))

    @cached_property
    def first_above(self) -> Integers:
        """(Q,) items above the query's best block."""
        return self.block_above[self._first_block]

    @cached_property
    def first_size(self) -> Integers:
        return self.block_size[self._first_block]

    @cached_property
    def first_relevant(self) -> Integers:
        return self.block_relevant[self._first_block]

    def median_position(self) -> float:
        """The median of all places 1, 2, … that the best blocks fill, each place of each block once."""
        end = int((self.first_above + self.first_size).max())
        steps = np.bincount(self.first_above, minlength=end + 1) - np.bincount(
            self.first_above + self.first_size, minlength=end + 1
        )
        upto = np.cumsum(np.cumsum(steps))
        total = int(upto[-1])
        middle = np.searchsorted(upto, [(total + 1) // 2, total // 2 + 1])
        return float(middle.mean()) + 1

    @cached_property
    def relevant(self) -> Integers:
        """(Q,) relevant items of the query."""
        return np.bincount(self.pair_query, minlength=len(self.rows))

    def sum_pairs(self, values: Array) -> Array:
        """(P,) -> (Q,)"""
        return _sum(self.pair_query, values, len(self.rows))

    def sum_blocks(self, values: Array) -> Array:
        """(T,) -> (Q,)"""
        return _sum(self.block_query, values, len(self.rows))

    @cached_property
    def order_in_query(self) -> Integers:
        """(P,) 0, 1, … within the query from the highest gain to the lowest."""
        return _places(np.lexsort((-self.gain, self.pair_query)), self.pair_query, self.relevant)

    @cached_property
    def order_in_block(self) -> Integers:
        """(P,) 0, 1, … within the block from the highest gain to the lowest."""
        return _places(np.lexsort((-self.gain, self.of_pair)), self.of_pair, self.block_relevant)


def _places(order: Integers, owner: Integers, sizes: Integers) -> Integers:
    """(P,) the place of each pair among those of its owner, as they stand in `order`. sizes: pairs of each owner."""
    place = np.empty(len(order), dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    place[order] = np.arange(len(order)) - starts[owner[order]]
    return place


def _changes(values: Integers) -> npt.NDArray[np.bool_]:
    """(P,) whether a value differs from the one before; the first does."""
    found = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def _sum(owner: Integers, values: Array, count: int) -> Array:
    return np.asarray(np.bincount(owner, weights=values, minlength=count), dtype=float)

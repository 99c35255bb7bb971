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
        order = np.lexsort((-gain, above, query))
        rows, pair_query = np.unique(query[order], return_inverse=True)
        return cls(pair_query, above[order], tied[order] + 1, gain[order], rows)

    @cached_property
    def _unique(self) -> tuple[Integers, Integers, Integers]:
        keys = np.stack([self.pair_query, self.above], 1)
        unique, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        return unique, first, inverse.reshape(-1)

    @property
    def of_pair(self) -> Integers:
        """(P,) the block of each pair."""
        return self._unique[2]

    @cached_property
    def block_query(self) -> Integers:
        """(T,) blocks are sorted by query and then from best to worst."""
        return self._unique[0][:, 0]

    @cached_property
    def block_above(self) -> Integers:
        return self._unique[0][:, 1]

    @cached_property
    def block_relevant(self) -> Integers:
        """(T,) relevant items in the block."""
        return np.bincount(self.of_pair, minlength=len(self.block_query))

    @cached_property
    def block_size(self) -> Integers:
        # ties within a tolerance need not be transitive: a block is never smaller than its relevant items
        return np.maximum(self.size[self._unique[1]], self.block_relevant)

    @cached_property
    def relevant_before(self) -> Integers:
        """(T,) relevant items of the same query in better blocks."""
        total = np.cumsum(self.block_relevant) - self.block_relevant
        return total - total[self._first_block][self.block_query]

    @cached_property
    def _first_block(self) -> Integers:
        return np.searchsorted(self.block_query, np.arange(len(self.rows)))

    @property
    def first_above(self) -> Integers:
        """(Q,) items above the query's best block."""
        return self.block_above[self._first_block]

    @property
    def first_size(self) -> Integers:
        return self.block_size[self._first_block]

    @property
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
    def order_in_block(self) -> Integers:
        """(P,) 0, 1, … within the block from the highest gain to the lowest."""
        order = np.lexsort((-self.gain, self.of_pair))
        place = np.empty(len(order), dtype=np.int64)
        starts = np.cumsum(self.block_relevant) - self.block_relevant
        place[order] = np.arange(len(order)) - starts[self.of_pair[order]]
        return place


def _sum(owner: Integers, values: Array, count: int) -> Array:
    out = np.zeros(count)
    np.add.at(out, owner, values)
    return out

"""What the rest of the program knows of S: its shape, any tile, the defined score of any pair, one loop over tiles.

A base makes tiles; a `View` is a base seen in a direction, through a fitted operator, with items grouped. `sweep` is
the only loop: each tile of the base is made once and every view of it feeds its reducers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nclbench.machine.processes import retried
from nclbench.machine.threads import Counted
from nclbench.plan import SCORE_ROUNDOFF, SUMS, Plan
from nclbench.similarity.grid import disjoint, tiles
from nclbench.similarity.groups import Groups
from nclbench.similarity.halves import Halves
from nclbench.similarity.interfaces import Base, Reducer, within
from nclbench.similarity.maps import NEAR, TileMap

Rows = slice | Tensor


@dataclass(frozen=True, eq=False)
class View:
    """A base seen from its rows (or, `reverse`, from its columns), through an operator, with columns grouped."""

    base: Base
    reverse: bool = False
    map: TileMap | None = None
    groups: Groups | None = field(default=None)

    @property
    def plan(self) -> Plan:
        return self.base.plan

    @property
    def shape(self) -> tuple[int, int]:
        n, m = reversed(self.base.shape) if self.reverse else self.base.shape
        return n, (m if self.groups is None else len(self.groups.starts))

    def reversed(self) -> "View":
        """The same scores from the other side. Only a plain view can be turned: an operator belongs to a direction."""
        assert self.map is None and self.groups is None
        return replace(self, reverse=not self.reverse)

    @cached_property
    def tolerance(self) -> float:
        """Scores this close are ties. Plain scores tie when equal; fitted vectors differ in their last bits."""
        return max(self.base.tolerance, 0.0 if self.map is None else self.map.tolerance(self.base.largest, self.base.spread))

    @cached_property
    def error(self) -> float:
        """Bounds |seen tile - exact|."""
        return self._seen(self.base.error)

    @cached_property
    def roughness(self) -> float:
        """Bounds |seen rough tile - exact|."""
        return self._seen(self.base.roughness)

    def _seen(self, error: float) -> float:
        if self.map is None or self.map.fine:
            return error if self.map is None else NEAR * self.map.size(self.base.largest)
        shift = float(self.map.column[0].abs().max()) + self.base.largest if self.map.shift else 0.0
        return self.map.slope * error + 4 * SCORE_ROUNDOFF * shift

    @property
    def kind(self) -> torch.dtype:
        """Of the widest of its tiles that are not fine ones, as far as its base says so."""
        return getattr(self.base, "kind", SUMS) if self.map is None or self.map.shift else SUMS

    @property
    def fast(self) -> bool:
        """Whether to count with what is compiled."""
        return self.plan.compiles(self.base.shape[0] * self.base.shape[1])

    @property
    def whole(self) -> int | None:
        """The axis of the base that a function of whole columns must see whole."""
        return int(self.reverse) if self.map is not None and self.map.whole_columns else None

    def see(self, x: Tensor, rows: slice, columns: slice) -> tuple[Tensor, slice, slice]:
        """A tile of the base, with the base's rows and columns, as this view shows it."""
        x, rows, columns = (x.T, columns, rows) if self.reverse else (x, rows, columns)
        if self.map is not None:
            x = self.map.on_tile(x, rows, columns)
        if self.groups is not None:
            x, columns = self.groups.best(x, columns)
        return x, rows, columns

    def plain(self, rows: Rows, columns: Rows, fine: bool = False) -> Tensor:
        """Any rows and columns of a view without an operator."""
        make = self.base.fine if fine else self.base.tile
        return make(columns, rows).T if self.reverse else make(rows, columns)

    def look(self, rows: Tensor) -> Tensor:
        """(n,) chosen rows -> (n, M) float64, all columns."""
        everything = slice(0, self.base.shape[0 if self.reverse else 1])
        if self.whole is not None:
            return torch.cat([tile[rows] for _, tile in self._columns(None)], 1)
        x = self.plain(rows, everything, fine=True)
        x = x if self.map is None else self.map.on_tile(x, rows, everything)
        return x if self.groups is None else self.groups.best(x, everything)[0]

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        """(P,), (P,) positions in this view -> (P,) float64 by the definition."""
        if self.groups is not None:
            column, owner = self.groups.members(item)
            scores = replace(self, groups=None).exact(query[owner], column)
            best = scores.new_full((len(item),), -torch.inf)
            return best.scatter_reduce_(0, owner, scores, "amax")
        if self.whole is not None:
            out = torch.empty(len(query), dtype=SUMS, device=query.device)
            wanted, place = torch.unique(item, return_inverse=True)
            for part, tile in self._columns(wanted):
                mine = ((place >= part.start) & (place < part.stop)).nonzero()[:, 0]
                out[mine] = tile[query[mine], place[mine] - part.start]
            return out
        scores = self.base.exact(item, query) if self.reverse else self.base.exact(query, item)
        return scores if self.map is None else self.map.on_pairs(scores, query, item)

    def _columns(self, wanted: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
        """Mapped whole columns (N, m), a few at a time: all of them, or those wanted; slices count among these."""
        assert self.map is not None
        length, count = self.base.shape[int(self.reverse)], self.base.shape[1 - int(self.reverse)]
        columns = torch.arange(count, device=self.plan.device) if wanted is None else wanted
        everything = slice(0, length)
        step = self.plan.strip(length)
        for start in range(0, len(columns), step):
            part = columns[start : start + step]
            x = self.plain(everything, part, fine=True)
            yield slice(start, start + len(part)), self.map.on_tile(x, everything, part)

    def reduce(self, *reducers: Reducer) -> list[Any]:
        return sweep([(self, reducer) for reducer in reducers])

    @property
    def largest(self) -> float:
        return self.base.largest

    @property
    def lean(self) -> float:
        return -self.base.lean if self.reverse else self.base.lean

    @property
    def shelf(self) -> dict[str, Any] | None:
        return self.base.shelf

    @property
    def held(self) -> int:
        return getattr(self.base, "held", 0)

    @property
    def alike(self) -> Tensor | None:
        """(M,) the first column that is the same as each, None where nobody knows."""
        return self.base.alike(int(not self.reverse))

    @property
    def operands(self) -> Halves | None:
        found: Halves | None = getattr(self.base, "operands", None)
        return found.turned() if found and self.reverse else found

    def within(self, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
        """(n, m) of a plain view; fine for a room (n, m) of float64, and in that room if made anew."""
        return within(self.base, columns, rows, room.T).T if self.reverse else within(self.base, rows, columns, room)

    def strip(self, rows: slice, room: Tensor) -> Tensor:
        """(n, M) these rows of a plain view, all columns."""
        return self.within(rows, slice(0, self.shape[1]), room)


Job = tuple[View, Reducer]
Make = Callable[[slice, slice], Tensor]
_SHRINKS = 6  # from 1024 rows and columns down to 32, on a device from 8192 to 256


def sweep(jobs: Sequence[Job]) -> list[Any]:
    """One pass over the base for all jobs, which must share it; the finished values, the same in every process.

    Where a device runs out of memory the pass begins again with tiles of half the side.
    """
    for shrink in range(_SHRINKS):
        try:
            return _swept(jobs, shrink)
        except torch.OutOfMemoryError as error:
            if shrink == _SHRINKS - 1 or not retried(error):
                raise
    raise AssertionError


def _swept(jobs: Sequence[Job], shrink: int) -> list[Any]:
    base = jobs[0][0].base
    assert all(view.base is base for view, _ in jobs)
    plan = base.plan
    kinds = _kinds(jobs)
    grid = tiles(jobs, shrink)
    done = Counted(plan.report, "scores", sum(_size(*tile) for strip in grid for tile in strip))
    common = {
        number: reducer.init(view.shape, plan)
        for number, (view, reducer) in enumerate(jobs)
        if getattr(reducer, "apart", False) and disjoint(grid, int(view.reverse))
    }

    def work(strips: Iterator[list[tuple[slice, slice]]]) -> list[tuple[Tensor, ...]]:
        states = [common.get(number) or reducer.init(view.shape, plan) for number, (view, reducer) in enumerate(jobs)]
        for strip in strips:
            for rows, columns in strip:
                made = {make: make(rows, columns) for make in set(kinds)}
                seen: dict[tuple[int, Make], tuple[Tensor, slice, slice]] = {}
                for number, (view, reducer) in enumerate(jobs):
                    key = (id(view), kinds[number])
                    if key not in seen:
                        seen = {key: view.see(made[kinds[number]], rows, columns)}
                    states[number] = reducer.step(states[number], *seen[key])
                done.add(_size(rows, columns))
        return states

    states, *others = plan.share(work, grid)
    for more in others:
        for number, (_, reducer) in reversed(list(enumerate(jobs))):
            state = more.pop()
            states[number] = state if number in common else reducer.merge(states[number], state)
    return [reducer.finish(plan.agree(reducer, state)) for (_, reducer), state in zip(jobs, states, strict=True)]


def _size(rows: slice, columns: slice) -> int:
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _kinds(jobs: Sequence[Job]) -> list[Make]:
    """Which tiles each job is given: fine, rough where that will do, else those in between, which then are made for both."""
    base = jobs[0][0].base
    fine = [reducer.fine or (view.map is not None and view.map.fine) for view, reducer in jobs]
    rough = all(exact or getattr(reducer, "settles", False) for (_, reducer), exact in zip(jobs, fine, strict=True))
    return [base.fine if exact else base.rough if rough else base.tile for exact in fine]

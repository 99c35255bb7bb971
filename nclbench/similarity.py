"""What the rest of the program knows of S: its shape, any tile, the defined score of any pair, one loop over tiles.

A base makes tiles; a `View` is a base seen in a direction, through a fitted operator, with items grouped. `sweep` is
the only loop: each tile of the base is made once and every view of it feeds its reducers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nclbench.plan import SCORE_ROUNDOFF, SUMS, Plan

Rows = slice | Tensor

# ties under an operator, in proportion to the size of its scores. Fits in another order of summation were seen to
# differ by 1e-14; cold Sinkhorn scores converge towards each other, so a wider band would make ties of differences
TIE = 2.0**-36


class Base(Protocol):
    """Where tiles come from (`nclbench.bases`). error bounds |tile - exact|, largest bounds |score|."""

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def error(self) -> float: ...
    @property
    def largest(self) -> float: ...
    def tile(self, rows: Rows, columns: Rows) -> Tensor: ...
    def fine(self, rows: Rows, columns: Rows) -> Tensor: ...
    def exact(self, query: Tensor, item: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class TileMap:
    """A fitted operator: a pure function of a score, values of its row and values of its column.

    function(x, *row values, *column values) is elementwise. row: vectors (N,), column: vectors (M,).
    slope bounds |df/dx|. scale bounds |f|, by default for a function that adds its vectors to slope x. bias: the
    function is x + column[0], so an index can serve it.
    """

    function: Callable[..., Tensor]
    row: tuple[Tensor, ...] = ()
    column: tuple[Tensor, ...] = ()
    slope: float = 1.0
    scale: float | None = None
    bias: bool = False

    def bound(self, largest: float) -> float:
        """Bounds |f| where |x| is at most `largest`."""
        if self.scale is not None:
            return self.scale
        return self.slope * largest + sum(float(v.abs().max()) for v in (*self.row, *self.column))

    def on_tile(self, x: Tensor, rows: Rows, columns: Rows) -> Tensor:
        kind = x.dtype if self.bias else SUMS
        down = (v[rows, None].to(kind) if v.is_floating_point() else v[rows, None] for v in self.row)
        across = (v[None, columns].to(kind) if v.is_floating_point() else v[None, columns] for v in self.column)
        return self.function(x.to(kind), *down, *across)

    @property
    def bias_values(self) -> npt.NDArray[np.float64] | None:
        """(M,) what is added to each item's scores, if the operator is a bias."""
        return self.column[0].cpu().numpy() if self.bias else None

    def on_pairs(self, scores: Tensor, query: Tensor, item: Tensor) -> Tensor:
        return self.function(scores, *(v[query] for v in self.row), *(v[item] for v in self.column))


def add(x: Tensor, bias: Tensor) -> Tensor:
    return x + bias


def column_bias(bias: Tensor) -> TileMap:
    """x + bias of the item, (M,) in score units. A constant shift ranks nothing, so the mean is taken off."""
    return TileMap(add, column=(bias - bias.mean(),), bias=True)


@dataclass(frozen=True, eq=False)
class Groups:
    """Consecutive columns that count as one item, scored as its best member. starts: (G,) first columns, width: M."""

    starts: tuple[int, ...]
    width: int

    @cached_property
    def of_column(self) -> Tensor:
        sizes = torch.tensor([*self.starts[1:], self.width]) - torch.tensor(self.starts)
        return torch.repeat_interleave(torch.arange(len(self.starts)), sizes)

    def members(self, group: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) groups -> (Q,) columns, and (Q,) which of the P each belongs to."""
        start = torch.tensor([*self.starts, self.width], device=group.device)
        sizes = start[group + 1] - start[group]
        owner = torch.repeat_interleave(torch.arange(len(group), device=group.device), sizes)
        offset = torch.arange(len(owner), device=group.device) - (sizes.cumsum(0) - sizes)[owner]
        return start[group][owner] + offset, owner

    def best(self, x: Tensor, columns: slice) -> tuple[Tensor, slice]:
        """(n, m) scores of these columns -> (n, g) best of each group, and which groups. Cuts must be at starts."""
        owner = self.of_column[columns].to(x.device)
        first, last = int(owner[0]), int(owner[-1]) + 1
        out = x.new_full((x.shape[0], last - first), -torch.inf)
        out.scatter_reduce_(1, (owner - first).expand(x.shape[0], -1), x, "amax")
        return out, slice(first, last)


class Reducer(Protocol):
    """A monoid over the tiles of a view. `init` is the identity, `merge` is associative.

    whole_rows: needs tiles that span all columns. fine: needs float64 tiles. across: a value mixes several rows.
    """

    whole_rows: bool
    fine: bool
    across: bool

    def init(self, shape: tuple[int, int], plan: Plan) -> tuple[Tensor, ...]: ...
    def step(self, state: tuple[Tensor, ...], tile: Tensor, rows: slice, columns: slice) -> tuple[Tensor, ...]: ...
    def merge(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]: ...
    def finish(self, state: tuple[Tensor, ...]) -> Any: ...


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
        return 0.0 if self.map is None else TIE * self.map.bound(self.base.largest)

    @cached_property
    def error(self) -> float:
        """Bounds |seen tile - exact|."""
        if self.map is None:
            return self.base.error
        if not self.map.bias:
            return self.map.slope * self.base.error
        shift = float(self.map.column[0].abs().max())
        return self.base.error + 4 * SCORE_ROUNDOFF * (shift + self.base.largest)

    def see(self, x: Tensor, rows: slice, columns: slice) -> tuple[Tensor, slice, slice]:
        """A tile of the base, with the base's rows and columns, as this view shows it."""
        if self.reverse:
            x, rows, columns = x.T, columns, rows
        if self.map is not None:
            x = self.map.on_tile(x, rows, columns)
        if self.groups is not None:
            x, columns = self.groups.best(x, columns)
        return x, rows, columns

    def look(self, rows: Tensor) -> Tensor:
        """(n,) chosen rows -> (n, M) float64, all columns."""
        everything = slice(0, self.base.shape[0 if self.reverse else 1])
        x = self.base.fine(everything, rows).T if self.reverse else self.base.fine(rows, everything)
        return x if self.map is None else self.map.on_tile(x, rows, everything)

    def exact(self, query: Tensor, item: Tensor) -> Tensor:
        """(P,), (P,) positions in this view -> (P,) float64 by the definition."""
        if self.groups is not None:
            column, owner = self.groups.members(item)
            scores = replace(self, groups=None).exact(query[owner], column)
            best = scores.new_full((len(item),), -torch.inf)
            return best.scatter_reduce_(0, owner, scores, "amax")
        scores = self.base.exact(item, query) if self.reverse else self.base.exact(query, item)
        return scores if self.map is None else self.map.on_pairs(scores, query, item)

    def reduce(self, *reducers: Reducer) -> list[Any]:
        return sweep([(self, reducer) for reducer in reducers])

    def strips(self) -> Iterator[tuple[slice, Tensor]]:
        """This process's strips of whole rows, float64."""
        for rows, columns in _tiles([(self, _WholeRows())]):
            tile, rows, _ = self.see(self.base.fine(rows, columns), rows, columns)
            yield rows, tile


class _WholeRows:
    whole_rows = True


Job = tuple[View, Reducer]


def sweep(jobs: Sequence[Job]) -> list[Any]:
    """One pass over the base for all jobs, which must share it; the finished values, the same in every process."""
    base = jobs[0][0].base
    assert all(view.base is base for view, _ in jobs)
    plan = base.plan
    states = [reducer.init(view.shape, plan) for view, reducer in jobs]
    coarse = any(not reducer.fine for _, reducer in jobs)
    fine = any(reducer.fine for _, reducer in jobs)
    whole = base.shape[0] * base.shape[1] / plan.world
    done = 0
    for rows, columns in _tiles(jobs):
        rough = base.tile(rows, columns) if coarse else None
        exact = base.fine(rows, columns) if fine else None
        seen: dict[tuple[int, bool], tuple[Tensor, slice, slice]] = {}
        for number, (view, reducer) in enumerate(jobs):
            source = exact if reducer.fine else rough
            assert source is not None
            key = (id(view), reducer.fine)
            if key not in seen:
                seen = {key: view.see(source, rows, columns)}
            states[number] = reducer.step(states[number], *seen[key])
        done += (rows.stop - rows.start) * (columns.stop - columns.start)
        plan.report("scores", done, whole)
    return [
        reducer.finish(plan.agree(reducer, state)) for (_, reducer), state in zip(jobs, states, strict=True)
    ]


def _tiles(jobs: Sequence[tuple[View, Any]]) -> Iterator[tuple[slice, slice]]:
    """This process's tiles of the base, cut as every job needs them."""
    base, plan = jobs[0][0].base, jobs[0][0].plan
    whole = {int(not view.reverse) for view, reducer in jobs if reducer.whole_rows}
    assert len(whole) < 2, "one pass cannot give whole rows of both directions"
    cuts: list[list[int]] = []
    for axis in (0, 1):
        length = base.shape[axis]
        allowed = [view.groups.starts for view, _ in jobs if view.groups and axis == int(not view.reverse)]
        if axis in whole:
            cuts.append([0, length])
        elif 1 - axis in whole:
            cuts.append(plan.cuts(length, axis, size=plan.strip(base.shape[1 - axis])))
        else:
            cuts.append(plan.cuts(length, axis, allowed[0] if allowed else None))
    # strips are dealt along the axis whose rows are kept whole, so that one process sees them complete
    yield from plan.tiles((cuts[0], cuts[1]), along=1 if whole == {0} else 0)

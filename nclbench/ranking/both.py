"""Counting in both directions at once: what is compiled reads a tile once for its rows and its columns."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nclbench.compiled.crossing import Bars, crossing
from nclbench.plan import Plan
from nclbench.ranking.counting import CountAbove, Seen
from nclbench.similarity.view import View

State = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class CountBoth:
    """`CountAbove` of the rows, and of the columns, of a view without an operator; each has one pair.

    along: (M,) what an operator adds to the scores of a row, down: (N,) of a column; None for nothing.
    """

    rows: CountAbove
    columns: CountAbove
    along: Tensor | None
    down: Tensor | None
    whole_rows = False
    fine = False
    settles = True
    across = False

    def init(self, shape: tuple[int, int], plan: Plan) -> State:
        return *self.rows.init(shape, plan), *self.columns.init(shape[::-1], plan)

    def step(self, state: State, tile: Tensor, rows: slice, columns: slice) -> State:
        along, down = _added(self.along, columns, tile), _added(self.down, rows, tile)
        of_rows = _bars(self.rows, state[0], rows, columns, tile, along)
        of_columns = _bars(self.columns, state[1], columns, rows, tile, down)
        near_rows, near_columns = crossing(tile.numpy(), of_rows, of_columns)
        self.rows.decide(state[0], Seen(tile, along), rows, columns, torch.from_numpy(near_rows) + rows.start)
        self.columns.decide(state[1], Seen(tile.T, down), columns, rows, torch.from_numpy(near_columns) + columns.start)
        return state

    def merge(self, a: State, b: State) -> State:
        return a[0] + b[0], a[1] + b[1]

    def finish(self, state: State) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """above (N,), tied (N,) of the rows; above (M,), tied (M,) of the columns."""
        return self.rows.finish(state[:1]), self.columns.finish(state[1:])


def simple(view: View, counter: CountAbove) -> bool:
    """Whether a view can be one of the two: each row has one pair, and an operator only adds to scores.

    Several processes must take the same steps, and one may have a compiler where others have none: they count each alone.
    """
    fast = view.plan.world == 1 and view.fast
    plain = view.groups is None and (view.map is None or view.map.shift)
    return fast and plain and torch.equal(counter.query, torch.arange(view.shape[0], device=counter.query.device))


def both(forward: View, rows: CountAbove, backward: View, columns: CountAbove) -> CountBoth:
    """Of a view and of a reversed one, both `simple`, over one base."""
    return CountBoth(rows, columns, _shift(forward), _shift(backward))


def _shift(view: View) -> Tensor | None:
    return None if view.map is None else view.map.column[0]


def _added(values: Tensor | None, part: slice, tile: Tensor) -> Tensor | None:
    return None if values is None else values[part].to(tile.dtype)


def _bars(counter: CountAbove, counts: Tensor, part: slice, along: slice, tile: Tensor, added: Tensor | None) -> Bars:
    """Of the tile's lines `part`, in which scores of `along` stand."""
    over, under, item, sure = (values[part].numpy() for values in (*counter.bars(tile.dtype), counter.item, counts[0]))
    return Bars(over, under, item - along.start, sure, None if added is None else added.numpy())

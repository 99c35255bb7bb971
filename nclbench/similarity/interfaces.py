"""What the loop over tiles needs: of where tiles come from (a base), and of what learns from them (a reducer)."""

from typing import Any, Protocol

from torch import Tensor

from nclbench.plan import SUMS, Plan
from nclbench.similarity.halves import Halves

Rows = slice | Tensor


class Base(Protocol):
    """Where tiles come from (`bases`). error bounds |tile - exact|, largest |score|, spread half of what they span.

    rough: a tile for those who settle what lies within `roughness`, which bounds |rough - exact| and is at least `error`.

    within, where there is one: see the function below. tolerance: how close tied scores are, 0 unless something
    fitted is in them.
    lean: above 0 where the queries' mean scores are the less even ones, below where the items'; 0 where nobody can cheaply say.
    shelf: what one fit leaves for the next, None where nothing is left. ready: tiles need not be made, and whole rows of them
    are read best.
    """

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def error(self) -> float: ...
    @property
    def roughness(self) -> float: ...
    @property
    def largest(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def lean(self) -> float: ...
    @property
    def shelf(self) -> dict[str, Any] | None: ...
    @property
    def ready(self) -> bool: ...
    def alike(self, axis: int) -> Tensor | None: ...
    def tile(self, rows: Rows, columns: Rows) -> Tensor: ...
    def rough(self, rows: Rows, columns: Rows) -> Tensor: ...
    def fine(self, rows: Rows, columns: Rows) -> Tensor: ...
    def exact(self, query: Tensor, item: Tensor) -> Tensor: ...


def within(base: Base, rows: Rows, columns: Rows, room: Tensor) -> Tensor:
    """A tile of a base, the fine one for a room (n, m) of float64: in that room if it is made anew and can be made there.

    Else it is somebody's memory, not to be written to, or new; and stored scores in float64 stay so in spite of a float32 room.
    """
    found: Tensor
    if hasattr(base, "within"):
        found = base.within(rows, columns, room)
    else:
        found = base.fine(rows, columns) if room.dtype == SUMS else base.tile(rows, columns)
    return found


class Over:
    """A base over another one, of which it is what it does not say otherwise."""

    base: Base

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    @property
    def plan(self) -> Plan:
        return self.base.plan

    @property
    def error(self) -> float:
        return self.base.error

    @property
    def roughness(self) -> float:
        return self.base.roughness

    @property
    def largest(self) -> float:
        return self.base.largest

    @property
    def spread(self) -> float:
        return self.base.spread

    @property
    def tolerance(self) -> float:
        return self.base.tolerance

    @property
    def lean(self) -> float:
        return self.base.lean

    @property
    def shelf(self) -> dict[str, Any] | None:
        return self.base.shelf

    @property
    def ready(self) -> bool:
        return self.base.ready

    def alike(self, axis: int) -> Tensor | None:
        return self.base.alike(axis)


class Reducer(Protocol):
    """A monoid over the tiles of a view. `init` is the identity, `merge` is associative.

    whole_rows: needs tiles that span all columns. fine: needs float64 tiles. settles: scores by the definition what lies
    within the roughness of a tile, so that a rough one will do. across: a value mixes several rows.
    A reducer whose `step` writes to what it is given, and there to the rows of the tile alone, may say so with `apart = True`:
    threads that have other rows then share a state.
    """

    whole_rows: bool
    fine: bool
    settles: bool
    across: bool

    def init(self, shape: tuple[int, int], plan: Plan) -> tuple[Tensor, ...]: ...
    def step(self, state: tuple[Tensor, ...], tile: Tensor, rows: slice, columns: slice) -> tuple[Tensor, ...]: ...
    def merge(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]: ...
    def finish(self, state: tuple[Tensor, ...]) -> Any: ...


class Scores(Protocol):
    """What is needed of a similarity: rows are queries, columns are items. operands: what its tiles are products of, if split.

    lean: as a base's, of the rows. held: bytes of scores that are kept for others.
    """

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def largest(self) -> float: ...
    @property
    def reverse(self) -> bool: ...
    @property
    def lean(self) -> float: ...
    @property
    def shelf(self) -> dict[str, Any] | None: ...
    @property
    def alike(self) -> Tensor | None: ...
    @property
    def operands(self) -> Halves | None: ...
    @property
    def held(self) -> int: ...
    def strip(self, rows: slice, room: Tensor) -> Tensor: ...
    def reversed(self) -> "Scores": ...
    def reduce(self, *reducers: Any) -> list[Any]: ...

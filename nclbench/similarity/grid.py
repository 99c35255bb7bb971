"""Where a sweep over a base cuts it into tiles, as all that look at it need them."""

from collections.abc import Sequence
from typing import Any

from nclbench.plan import Plan

# views and their reducers
Jobs = Sequence[tuple[Any, Any]]
# scores that are read together where they need not be made
_READ = 1 << 22
# products of tiles so many times as wide take a twentieth less
_WIDER = 2


def tiles(jobs: Jobs, shrink: int = 0) -> list[list[tuple[slice, slice]]]:
    """This process's strips of tiles of the base, cut as every job needs them."""
    base = jobs[0][0].base
    plan: Plan = base.plan
    whole = {int(not view.reverse) for view, reducer in jobs if reducer.whole_rows}
    whole |= {view.whole for view, _ in jobs if view.whole is not None}
    assert len(whole) < 2, "one pass cannot give whole rows of both directions"
    # what sums scores depends on the tiles in its last bits; and one process may have a compiler where others have none
    certified = plan.world == 1 and all(view.fast and getattr(reducer, "settles", False) for view, reducer in jobs)
    if not whole and base.ready and certified:
        step = max(1, min(plan.tile[0], _READ // base.shape[1]) >> shrink)
        return plan.tiles((plan.cuts(base.shape[0], 0, _starts(jobs, 0), step, even=True), [0, base.shape[1]]))
    cuts: list[list[int]] = []
    for axis in (0, 1):
        length, allowed = base.shape[axis], _starts(jobs, axis)
        if axis in whole:
            cuts.append([0, length])
        elif 1 - axis in whole:
            cuts.append(plan.cuts(length, axis, allowed, max(1, plan.strip(base.shape[1 - axis]) >> shrink)))
        else:
            size, even = plan.tile[axis] * (_WIDER if certified and axis else 1), not (certified and axis)
            cuts.append(plan.cuts(length, axis, allowed, max(1, size >> shrink), even=even))
    # strips are dealt along the axis whose rows are kept whole, so that one process sees them complete
    return plan.tiles((cuts[0], cuts[1]), along=1 if whole == {0} else 0)


def _starts(jobs: Jobs, axis: int) -> Sequence[int] | None:
    """Where groups allow cuts of an axis of the base."""
    return next((view.groups.starts for view, _ in jobs if view.groups and axis == int(not view.reverse)), None)


def disjoint(grid: list[list[tuple[slice, slice]]], axis: int) -> bool:
    """Whether no two strips have lines of this axis in common."""
    places = [{tile[axis].start for tile in strip} for strip in grid]
    return sum(map(len, places)) == len(set().union(*places))

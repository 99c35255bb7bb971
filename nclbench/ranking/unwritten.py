"""Counts of what scores above a pair, from products that are not written to memory, where the plan asks for it."""

from collections.abc import Sequence

from torch import Tensor

from nclbench.plan import SCORES
from nclbench.ranking.counting import CountAbove
from nclbench.similarity.fused import above
from nclbench.similarity.halves import Halves
from nclbench.similarity.view import View


def operands_of(view: View) -> Halves | None:
    """The operands of a view's rough tiles, None where its counts need tiles: of groups, and of operators but biases."""
    found: Halves | None = getattr(view.base, "rough_operands", None)
    plain = view.groups is None and (view.map is None or view.map.shift)
    if found is None or not plain or not view.plan.fused or view.plan.world > 1:
        return None
    return found.turned() if view.reverse else found


def counted(view: View, counter: CountAbove, operands: Halves) -> tuple[Tensor, Tensor]:
    """above (P,), tied (P,), as a pass over tiles finds them.

    A pair's own score lies within the error of its threshold, so that it is never among those that are surely above.
    """
    (counts,) = counter.init(view.shape, view.plan)
    over, under = counter.bars(SCORES)
    bias = counts.new_zeros(view.shape[1], dtype=SCORES) if view.map is None else view.map.column[0].to(SCORES)
    step, whole = view.plan.tile[0], len(counter.query)
    for start in range(0, whole, step):
        pairs = slice(start, min(start + step, whole))
        rows = Halves(operands.left[counter.query[pairs]], operands.right, operands.scale, operands.error)
        sure, row, item = above(rows, bias, over[pairs], under[pairs])
        counts[0, pairs] += sure
        counter.settle(counts, row + start, item)
        view.plan.report("pairs", pairs.stop, whole)
    return counter.finish((counts,))


def all_counted(jobs: Sequence[tuple[View, CountAbove]]) -> list[tuple[Tensor, Tensor]] | None:
    """Of every job, or None where some need tiles, from which then all are counted."""
    found = [(view, counter, operands) for view, counter in jobs if (operands := operands_of(view)) is not None]
    return [counted(*each) for each in found] if len(found) == len(jobs) else None

"""Which queries were won and lost: one row a query whose value of some metric changed."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nclbench.comparison import Comparison

HEADS = (
    "dataset", "direction", "protocol", "model", "spec", "against_model", "against_spec", "metric", "id", "caption",
    "item", "outcome", "before", "after", "rank_before", "rank_after", "first_before", "first_after",
)  # fmt: skip
_SAME = 1e-9


def flips(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    """Rows of `HEADS`: outcome won or lost; before, after: the metric's value; rank of the first relevant item, and the
    best item, under the reference and under the run. Losses of most ranks first.
    """
    for matched, compared in zip(comparison.matched, comparison.compared, strict=True):
        (_, reference), (_, run) = matched.pair.reference, matched.pair.other
        before, after = matched.before, matched.after
        for name in (found.metric for found in compared.differences):
            sign = -1 if run.metrics[name].unit == "rank" else 1
            gain = sign * (after[name] - before[name])
            moved = np.flatnonzero(np.abs(gain) > _SAME)
            order = np.lexsort((before["id"][moved].astype(str), (before["rank"] - after["rank"])[moved], np.sign(gain[moved])))
            for at in moved[order]:
                yield (
                    run.dataset, run.direction, run.protocol, run.model, run.operator.spec, reference.model,
                    reference.operator.spec, name, before["id"][at], after["caption"][at] or before["caption"][at],
                    before["item"][at], "won" if gain[at] > 0 else "lost", float(before[name][at]),
                    float(after[name][at]), float(before["rank"][at]), float(after["rank"][at]),
                    *(next(iter(side["top"][at] or ()), None) for side in (before, after)),
                )  # fmt: skip

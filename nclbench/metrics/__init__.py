"""Metrics: names such as `R@10`, exact definitions, one value a query under a named tie rule.

Tie rules: expected (mean over all orders of tied items), optimistic, pessimistic, midrank (a tied item stands at the
mean position of its block: Collaborative Experts, QB-Norm), clip4clip (every tied position counts as one more query).
"""

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import UsageError, nearest
from nclbench.metrics.blocks import Blocks

TIES = ("expected", "optimistic", "pessimistic", "midrank", "clip4clip")
Array = npt.NDArray[np.floating[Any]]
Function = Callable[[Blocks, int, str], Array]


@dataclass(frozen=True)
class Metric:
    """function(blocks, k, ties) -> (Q,) one value a query. multiple: looks at all relevant items, not one."""

    name: str
    unit: str
    cutoff: bool
    multiple: bool
    summary: str
    source: str
    function: Function
    median: bool = False


@dataclass(frozen=True)
class Named:
    """A metric with its cutoff, as asked for."""

    metric: Metric
    k: int

    def __str__(self) -> str:
        return f"{self.metric.name}@{self.k}" if self.metric.cutoff else self.metric.name


@dataclass(frozen=True, eq=False)
class Measured:
    """value, and its bounds over tie orders; per_query: (Q,) in the unit, the values that were averaged."""

    value: float
    optimistic: float
    pessimistic: float
    unit: str
    per_query: Array
    median: bool


_METRICS: dict[str, Metric] = {}
_ALIASES = {"hit": "R", "hit_rate": "R", "success": "R", "medr": "MdR", "meanr": "MnR", "map": "mAP", "ndcg": "nDCG"}
_FORM = re.compile(r"([A-Za-z_]+)(?:@(\d+))?\Z")


def metric(
    name: str,
    *,
    unit: str,
    summary: str,
    source: str,
    cutoff: bool = False,
    multiple: bool = False,
    median: bool = False,
) -> Callable[[Function], Function]:
    """Decorator that gives a function its name."""

    def keep(function: Function) -> Function:
        if name in _METRICS:
            raise ValueError(f"metric {name!r} is taken")
        _METRICS[name] = Metric(name, unit, cutoff, multiple, summary, source, function, median)
        return function

    return keep


def metrics() -> dict[str, Metric]:
    """All metrics by name."""
    _load()
    return dict(sorted(_METRICS.items()))


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def parse(text: str) -> Named:
    """`R@10` -> Named(R, 10). Names are told apart by case only where they must be (R@k is a hit, recall@k a share)."""
    known = metrics()
    match = _FORM.match(text.strip())
    name = match[1] if match else text
    lowered = {key.lower(): key for key in known} | _ALIASES
    found = known.get(name) or known.get(lowered.get(name.lower(), ""))
    if match is None or found is None:
        slip = re.fullmatch(r"([A-Za-z]+)[-_ ]?([1-9][0-9]{0,8})", text.strip())
        meant = known.get(lowered.get(slip[1].lower(), slip[1])) if slip else None
        if slip and meant is not None and meant.cutoff:
            raise UsageError(f"unknown metric {text!r}; did you mean '{meant.name}@{slip[2]}'?")
        forms = [f"{each.name}@10" if each.cutoff else each.name for each in known.values()]
        raise UsageError(f"unknown metric {text!r}{nearest(text, forms)}")
    if found.cutoff and len((match[2] or "").lstrip("0")) > 9:
        raise UsageError(f"metric {text[:40]!r}: {found.name}@k takes a k of at most 999999999")
    k = int(match[2] or 0) if found.cutoff else 0
    if found.cutoff != (match[2] is not None) or (found.cutoff and k == 0):
        form = f"{found.name}@10" if found.cutoff else found.name
        raise UsageError(f"metric {text!r} cannot be read; write {form}")
    return Named(found, k)


def check_ties(rule: str) -> str:
    if rule not in TIES:
        raise UsageError(f"unknown tie rule {rule!r}{nearest(rule, TIES)}")
    return rule


def measure(blocks: Blocks, names: Sequence[Named], ties: str = "expected") -> dict[str, Measured]:
    """Every named metric over the queries that have a relevant item."""
    found = {}
    for named in names:
        if ties == "clip4clip" and named.metric.multiple:
            raise UsageError(f"{named} is not defined under --ties clip4clip, which knows one relevant item a query")
        per_query = named.metric.function(blocks, named.k, ties)
        best = worst = plain = _average(per_query, named.metric, None)
        if not blocks.untied:
            best, worst = (_bound(blocks, named, rule, per_query, plain) for rule in TIES[1:3])
        value = plain
        if ties == "clip4clip":
            weighed = _average(per_query, named.metric, blocks.first_size)
            value = blocks.median_position() if named.metric.median else weighed
        found[str(named)] = Measured(value, best, worst, named.metric.unit, per_query, named.metric.median)
    return found


def _bound(blocks: Blocks, named: Named, rule: str, known: Array, average: float) -> float:
    """The average under a tie rule, which is the known one where no query has other values."""
    values = named.metric.function(blocks, named.k, rule)
    return average if np.array_equal(values, known) else _average(values, named.metric, None)


def _average(values: Array, metric: Metric, weights: npt.NDArray[np.int64] | None) -> float:
    if metric.median:
        return float(np.median(values))
    return _mean(values) if weights is None else _mean(values * weights) / _mean(weights)


def _mean(values: Array | npt.NDArray[np.int64]) -> float:
    """The same bits in any order of the queries: the sum is rounded once."""
    if values.dtype.kind == "i" or (values == np.rint(values)).all():
        return float(values.sum()) / len(values)
    return math.fsum(values.tolist()) / len(values)

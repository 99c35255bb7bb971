"""What is asked of results, read from words such as `t2v.R@1>=45` and `t2v.R@1=0.5`."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nclbench.errors import UsageError, nearest
from nclbench.files import printable
from nclbench.results import Run, Value

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_THRESHOLD = re.compile(r"\s*(?:([^.\s<>=]+)\.)?([^<>=]+?)\s*(>=|<=|>|<)\s*(\S+)\s*\Z")
_LIMIT = re.compile(r"\s*(?:([^.\s<>=]+)\.)?([^<>=]+?)\s*=\s*(\S+)\s*\Z")
SELECTORS = ("t2v", "v2t", "v2t-videos")


@dataclass(frozen=True)
class Rule:
    """text: as it was given. selector: the direction, None for all. sign: of a threshold, "" of a maximal regression."""

    text: str
    selector: str | None
    metric: str
    sign: str
    number: float

    def holds(self, value: float) -> bool:
        return _COMPARED[self.sign](value, self.number)

    def concerns(self, run: Run) -> bool:
        return self.selector is None or run.selector == self.selector


def threshold(text: str) -> Rule:
    """`t2v.R@1>=45`, in the metric's own unit. UsageError for anything else."""
    match = _THRESHOLD.match(text)
    if match is None:
        raise UsageError(f"cannot read --threshold {printable(text)!r}; write t2v.R@1>=45")
    return _rule(text, "--threshold", *match.groups())


def regression(text: str) -> Rule:
    """`t2v.R@1=0.5`: how much worse it may get. UsageError for anything else, or a limit below 0."""
    match = _LIMIT.match(text)
    if match is None:
        raise UsageError(f"cannot read --max-regression {printable(text)!r}; write t2v.R@1=0.5")
    rule = _rule(text, "--max-regression", match[1], match[2], "", match[3])
    if rule.number < 0:
        raise UsageError(f"--max-regression {printable(text)!r}: how much worse it may get is at least 0")
    return rule


def figure(run: Run, rule: Rule) -> tuple[str, Value] | None:
    """The metric or single diagnostic that a rule names, as the run spells it; None where it has none of that name."""
    found = {name.lower(): (name, value) for name, value in run.figures.items()}
    return found.get(rule.metric.lower())


def check_known(rules: Sequence[Rule], runs: Sequence[Run]) -> None:
    """UsageError for a rule that concerns no run, or a metric that none of its runs has."""
    for rule in rules:
        mine = [run for run in runs if rule.concerns(run)]
        if not mine:
            known = sorted({run.selector for run in runs})
            raise UsageError(f"{printable(rule.text)!r}: no run of {rule.selector!r}{nearest(str(rule.selector), known)}")
        known = sorted({name for run in mine for name in run.figures})
        if known and not any(figure(run, rule) for run in mine):
            spelled = [*known, *(f"{selector}.{name}" for selector in SELECTORS for name in known if "." in rule.metric)]
            raise UsageError(f"{printable(rule.text)!r}: no run has it{nearest(rule.metric, map(printable, spelled))}")


def _rule(text: str, option: str, selector: str | None, metric: str, sign: str, number: str) -> Rule:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{option} {printable(text)!r}: {printable(number)!r} is not a number")
    if selector is not None and selector not in SELECTORS:
        # a name of a diagnostic has a dot of its own, as p.under
        selector, metric = (None, f"{selector}.{metric}")
    return Rule(text.strip(), selector, metric, sign, value)

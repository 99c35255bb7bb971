"""Whether results may pass: thresholds, regressions against a baseline, golden queries, queries that came or went."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]
ON_MISSING = ("fail", "warn", "ignore")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    kind: threshold, regression, golden or queries. name: what, such as `t2v.R@1`; model, spec: of which run. before,
    after, limit: unrounded, None where there is none; unit: of them. low, high: the 95 % interval of the difference,
    where it was tested. because: the whole reason as a sentence. queries: ids to look at, the worst first.
    """

    kind: str
    name: str
    model: str
    spec: str
    status: Status
    because: str
    unit: str = ""
    before: float | None = None
    after: float | None = None
    limit: float | None = None
    low: float | None = None
    high: float | None = None
    queries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """All checks of one call. notes: what could not be looked at, and does not decide."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        return sum(check.status == "fail" for check in self.checks)

    @property
    def passed(self) -> bool:
        return not self.failed

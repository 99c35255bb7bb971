"""Whether results made again are the same, and if not, what else is not: inputs, versions, parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nclbench.results import Results, Run

# figures are sums of many terms; anything more than their rounding is a difference
TOLERANCE = 1e-9
_KINDS = {"input": "an input is another one", "environment": "versions or settings are others"}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was. kind: input, environment, run, parameter or figure; only environment may differ
    without harm. then, now: as they are written in results, None for absent.
    """

    kind: str
    where: str
    what: str
    then: Any
    now: Any


def findings(then: Results, now: Results, hashes: Mapping[str, str | None]) -> list[Finding]:
    """All that differs, causes first. hashes: the digest of each input as it is now, by its path; None where it is gone."""
    found = [
        Finding("input", str(entry.get("path")), "sha256", entry.get("sha256"), hashes.get(str(entry.get("path"))))
        for entry in then.inputs
        if hashes.get(str(entry.get("path"))) != entry.get("sha256")
    ]
    names = dict.fromkeys([*then.environment, *now.environment])
    found += [
        Finding("environment", "", name, then.environment.get(name), now.environment.get(name))
        for name in names
        if then.environment.get(name) != now.environment.get(name)
    ]
    before, after = ({_name(run): run for run in results.runs} for results in (then, now))
    found += [Finding("run", name, "row", "there", None) for name in before if name not in after]
    found += [Finding("run", name, "row", None, "there") for name in after if name not in before]
    for name, run in before.items():
        if name in after:
            found += _differences(name, run, after[name])
    return found


def why(found: Sequence[Finding]) -> str:
    """The likely cause of figures that differ; empty where nothing does that matters."""
    if all(finding.kind == "environment" for finding in found):
        return ""
    causes = [text for kind, text in _KINDS.items() if any(finding.kind == kind for finding in found)]
    causes += ["parameters resolve otherwise"] if any(finding.kind == "parameter" for finding in found) else []
    return " and ".join(causes) or "no input, version or parameter is another one: was the file edited?"


def _name(run: Run) -> str:
    return f"{run.dataset} {run.model} {run.selector} {run.operator.spec}"


def _differences(name: str, then: Run, now: Run) -> Iterator[Finding]:
    params = dict.fromkeys([*then.operator.params, *now.operator.params])
    for key in params:
        values = then.operator.params.get(key), now.operator.params.get(key)
        if values[0] != values[1]:
            yield Finding("parameter", name, key, *values)
    for key in ("fitted_on", "transductive", "unavailable"):
        values = getattr(then.operator, key), getattr(now.operator, key)
        if values[0] != values[1]:
            yield Finding("parameter", name, key, *values)
    for metric in dict.fromkeys([*then.metrics, *now.metrics]):
        one, other = (run.metrics[metric].value if metric in run.metrics else None for run in (then, now))
        if one is None or other is None or abs(one - other) > TOLERANCE * max(1.0, abs(one)):
            yield Finding("figure", name, metric, one, other)

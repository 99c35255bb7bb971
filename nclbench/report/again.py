"""What differs between results and the same made again, as lines for people and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from nclbench.comparison.again import Finding, why
from nclbench.files import printable
from nclbench.report.json import safe

SCHEMA = "nclbench.verification/1"


def as_json(found: Sequence[Finding], runs: int) -> str:
    """One object; `same` says whether figures and inputs are."""
    cause = why(found)
    data = {"schema": SCHEMA, "same": not cause, "runs": runs, "why": cause, "findings": [asdict(each) for each in found]}
    return safe(json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1)) + "\n"


def as_lines(found: Sequence[Finding], runs: int) -> str:
    """A line a finding, the verdict last."""
    lines = [
        " ".join(filter(None, [f"{each.kind}:", printable(each.where), f"{printable(each.what)}:"]))
        + f" {_shown(each.then)} -> {_shown(each.now)}"
        for each in found
    ]
    cause = why(found)
    lines.append(f"DIFFERENT: {cause}" if cause else f"same: {runs} run{'s' * (runs != 1)} made again to the same figures")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = printable(f"{value:.10g}" if isinstance(value, float) else value)
    return text if len(text) <= 80 else f"{text[:79]}…"

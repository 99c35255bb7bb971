"""A verdict as a table, as JSON, as JUnit XML and as what GitHub Actions reads."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib import import_module
from xml.etree import ElementTree

from nclbench.files import printable
from nclbench.gate import Check, Verdict
from nclbench.report import DIALECTS
from nclbench.report.cells import Cell, Group, Note, Row, Table
from nclbench.report.csv import lines
from nclbench.report.json import safe
from nclbench.report.table import shown

SCHEMA = "nclbench.gate/1"
COLUMNS = ("baseline", "value", "change", "limit", "verdict")


def render(verdict: Verdict, format: str) -> str:
    """The verdict as text, with a final newline."""
    if format == "json":
        data = {
            "schema": SCHEMA,
            "passed": verdict.passed,
            "failed": verdict.failed,
            "checks": [asdict(check) for check in verdict.checks],
            "notes": list(verdict.notes),
        }
        return safe(json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1)) + "\n"
    if format == "csv":
        names = [field.name for field in fields(Check) if field.name != "queries"]
        rows = ([*(getattr(check, name) for name in names), " ".join(check.queries)] for check in verdict.checks)
        return lines([*names, "queries"], rows)
    return str(import_module(f"nclbench.report.{DIALECTS[format]}").render(table(verdict)))


def table(verdict: Verdict) -> Table:
    """One row a check; what failed or is doubtful has its reason in a note."""
    said: dict[str, str] = {}
    rows = []
    for check in verdict.checks:
        sign = () if check.status == "ok" else (said.setdefault(_reason(check), str(len(said) + 1)),)
        rows.append(_row(check, sign))
    several = len({check.model for check in verdict.checks}) > 1
    title = f"gate: {'passed' if verdict.passed else 'FAILED'} ({verdict.failed} of {len(verdict.checks)} failed)"
    return Table(
        caption="",
        labels=(*(("model",) if several else ()), "spec", "metric"),
        metrics=COLUMNS,
        groups=(Group("", title, (tuple(rows),)),),
        notes=(*(Note(sign, text) for text, sign in said.items()), *(Note("", printable(note)) for note in verdict.notes)),
        legend="",
        signatures=(),
    )


def junit(verdict: Verdict) -> str:
    """One test case a check; warnings pass and say why in their output."""
    suite = ElementTree.Element(
        "testsuite", name="nclbench gate", tests=str(len(verdict.checks)), failures=str(verdict.failed), errors="0"
    )
    for check in verdict.checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"gate.{check.kind}", name=printable(f"{check.name} of {check.model} {check.spec}")
        )
        if check.status == "fail":
            ElementTree.SubElement(case, "failure", message=_reason(check))
        elif check.status == "warn":
            ElementTree.SubElement(case, "system-out").text = _reason(check)
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def annotations(verdict: Verdict) -> list[str]:
    """A workflow command of GitHub Actions for each check that did not pass."""
    kinds = {"fail": "error", "warn": "warning"}
    return [
        f"::{kinds[check.status]} title={_property(f'nclbench gate: {printable(check.name)}')}::{_data(_reason(check))}"
        for check in verdict.checks
        if check.status in kinds
    ]


def outputs(verdict: Verdict) -> str:
    """The lines for GITHUB_OUTPUT."""
    return f"passed={'true' if verdict.passed else 'false'}\nfailed={verdict.failed}\n"


def explained(verdict: Verdict) -> list[str]:
    """A line a check: which value, flag and file made the verdict."""
    return [f"{check.status}: {printable(f'{check.model} {check.spec}')}: {_reason(check)}" for check in verdict.checks]


def _reason(check: Check) -> str:
    looked = f"; look at {', '.join(check.queries)}" if check.queries else ""
    return printable(f"{check.because}{looked}")


def _row(check: Check, signs: Sequence[str]) -> Row:
    change = None if check.before is None or check.after is None else check.after - check.before
    cells = [Cell("–" if value is None else _figure(check, value), value) for value in (check.before, check.after)]
    moved = "–" if change is None else f"{change:+.1f}" if check.unit != "fraction" else f"{change:+.3f}"
    if check.low is not None and check.high is not None:
        moved += f" [{check.low:+.1f} to {check.high:+.1f}]"
    return Row(
        dataset="", split="", model=printable(check.model), scorer="", direction="", protocol="",
        spec=printable(check.spec), fitted_on="", standing="", transductive=False, unavailable="",
        remark=_reason(check), signature="", metric=printable(check.name), signs=tuple(signs),
        cells=(
            *cells,
            Cell(moved, change),
            Cell("–" if check.limit is None else f"{check.limit:g}", check.limit),
            Cell(check.status if check.status != "fail" else "FAIL", float(check.status != "fail")),
        ),
    )  # fmt: skip


def _figure(check: Check, value: float) -> str:
    return f"{value:.0f}" if check.kind == "queries" else shown(value, check.unit)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

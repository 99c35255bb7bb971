"""`nclbench gate`: what fails and what does not, exit codes, and what continuous integration is told."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from test_cli import run as nclbench
from test_report import hostile

from nclbench.comparison import Saved
from nclbench.comparison.paired import mcnemar
from nclbench.errors import InputError, UsageError
from nclbench.gate import Check, Verdict
from nclbench.gate.checks import judge
from nclbench.gate.rules import regression, threshold
from nclbench.report import gate as report
from nclbench.results import Applied, Results, Run, Value
from nclbench.sinks.results import write_folder, write_json

N = 1000


def results(lost: int = 0, won: int = 0, *, spec: str = "none", names: Any = None, direction: str = "t2v") -> Results:
    """1000 queries of which 480 are found, but for the first `lost`; and `won` others that are."""
    hit = np.arange(N) < 480
    hit[:lost] = False
    hit[480 : 480 + won] = True
    rank = np.where(hit, 1.0, 9.0)
    # which one falls furthest is known
    rank[: min(lost, 3)] = [700.0, 600.0, 500.0][: min(lost, 3)]
    values = {"R@1": 100.0 * (rank <= 1), "R@5": 100.0 * (rank <= 5), "MnR": rank}
    metrics = {
        name: Value(float(each.mean()), "rank" if name == "MnR" else "percent", N, float(each.mean()), float(each.mean()))
        for name, each in values.items()
    }
    run = Run("msrvtt", "test", "clip", direction, "queries", Applied(spec, spec, {}), "cosine", metrics, f"{direction}|{spec}")
    names = [f"q{number}" for number in range(N)] if names is None else names
    keys = {"dataset": "msrvtt", "model": "clip", "spec": spec, "direction": direction, "protocol": "queries"}
    filled = {name: np.full(N, value, dtype=object) for name, value in keys.items()}
    queries = {
        **filled,
        "id": np.array(names, dtype=object),
        "caption": np.array([f"text of {name}" for name in names], dtype=object),
        "rank": rank,
        "relevant": np.ones(N, dtype=np.int64),
        "item": np.array([f"v{number}" for number in range(N)], dtype=object),
        **values,
    }
    items = {**filled, "id": np.array([f"v{number}" for number in range(N)], dtype=object)}
    return Results((run,), queries=queries, items=items)


def joined(*parts: Results) -> Saved:
    return Saved("new.json", Results.joined(parts))


def against(new: Results, limit: str = "t2v.R@1=0.5", old: Results | None = None, **options: Any) -> Verdict:
    return judge(Saved("new.json", new), Saved("old.json", old or results()), limits=[regression(limit)], **options)


# --- the verdict --------------------------------------------------------------------------------------------------


def test_a_point_within_the_noise_does_not_fail_and_three_points_do() -> None:
    one, three = results(lost=25, won=15), results(lost=45, won=15)
    assert [check.status for check in against(one, significant_only=True).checks] == ["warn"]
    assert against(one, significant_only=True).passed
    assert not against(three, significant_only=True).passed
    assert not against(one).passed, "without --significant-only a limit is a limit"
    (check,) = against(three, significant_only=True).checks
    assert (check.before, check.after, check.limit) == (48.0, 45.0, 0.5)
    assert check.low is not None and check.high is not None and check.low < -3 < check.high < 0
    assert "a real difference" in check.because and check.queries == ("q0", "q1", "q2")


def test_a_limit_is_what_may_be_lost_and_gains_are_never_regressions() -> None:
    assert against(results(lost=5), "t2v.R@1=0.5").passed
    assert not against(results(lost=6), "t2v.R@1=0.5").passed
    assert against(results(won=100), "R@1=0").passed
    assert not against(results(lost=3), "t2v.MnR=0.5").passed, "a rank that grows is worse"
    assert against(results(won=100), "t2v.MnR=0").passed


def test_limits_hold_for_every_run_that_they_name() -> None:
    new = joined(results(), results(lost=50, spec="dsl"), results(lost=50, direction="v2t"))
    old = Saved("old.json", Results.joined([results(), results(spec="dsl"), results(direction="v2t")]))

    def failed(limit: str, **options: Any) -> list[tuple[str, str]]:
        return [(c.name, c.spec) for c in judge(new, old, limits=[regression(limit)], **options).checks if c.status == "fail"]

    assert failed("R@1=1") == [("t2v.R@1", "dsl"), ("v2t.R@1", "none")]
    assert failed("t2v.R@1=1") == [("t2v.R@1", "dsl")]
    assert failed("R@1=1", specs=["none"]) == [("v2t.R@1", "none")]


@pytest.mark.parametrize(
    ("rule", "passed"),
    [("t2v.R@1>=48", True), ("t2v.R@1 > 48", False), ("r@1>=48.1", False), ("MnR<=5.16", True), ("t2v.MnR < 5", False)],
)
def test_thresholds_are_in_the_units_of_the_metric(rule: str, passed: bool) -> None:
    verdict = judge(Saved("new.json", results()), thresholds=[threshold(rule)])
    assert verdict.passed == passed
    assert rule.strip() in verdict.checks[0].because


def test_thresholds_read_diagnostics_too() -> None:
    found = results()
    entry = {"antihubs@10": {"value": 0.04, "unit": "fraction"}, "p.under": {"value": 0.3, "unit": "fraction"}}
    found = replace(found, runs=(replace(found.runs[0], diagnostics=entry),))
    rules = [threshold("t2v.antihubs@10<=0.05"), threshold("p.under<=0.2"), threshold("t2v.p.under<=0.4")]
    assert [check.status for check in judge(Saved("n", found), thresholds=rules).checks] == ["ok", "fail", "ok"]


def test_a_threshold_on_a_run_without_figures_fails() -> None:
    bare = results(spec="dis").runs[0]
    bare = replace(bare, metrics={}, operator=replace(bare.operator, unavailable="no bank"))
    verdict = judge(Saved("n", replace(results(), runs=(results().runs[0], bare))), thresholds=[threshold("t2v.R@1>=1")])
    assert [check.status for check in verdict.checks] == ["ok", "fail"]
    assert "no bank" in verdict.checks[1].because


def test_which_way_a_diagnostic_is_worse_is_not_guessed() -> None:
    """More antihubs are worse; as a percentage they would have been taken for a gain."""
    few, many = (
        replace(run, diagnostics={"antihubs@10": {"value": value, "unit": "fraction"}})
        for value, run in zip((0.1, 0.5), results().runs * 2, strict=True)
    )
    baseline, now = Saved("a", replace(results(), runs=(few,))), Saved("b", replace(results(), runs=(many,)))
    with pytest.raises(UsageError, match="antihubs@10 nobody can say which way is worse; use --threshold"):
        judge(now, baseline, limits=[regression("antihubs@10=0.01")])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"ties": "optimistic"}}, "ties are expected in one and optimistic in the other"),
        ({"signature": "t2v|q:1000|g:500|op:none"}, "ranks 1000 items in one and 500 items in the other"),
    ],
)
def test_figures_under_other_rules_are_no_regression_and_no_gain(changes: Any, words: str) -> None:
    """Optimistic ties, or half the gallery, would pass any limit."""
    one = replace(results().runs[0], signature="t2v|q:1000|g:1000|op:none")
    baseline, now = (Saved(name, replace(results(), runs=(run,))) for name, run in (("a", one), ("b", replace(one, **changes))))
    assert judge(baseline, Saved("c", baseline.results), limits=[regression("R@1=0")]).passed
    with pytest.raises(InputError, match=words):
        judge(now, baseline, limits=[regression("R@1=0")])


def test_only_what_has_a_limit_is_in_the_family_of_tests() -> None:
    """A row that `--spec` leaves out, or that the baseline has under another operator alone, corrects nothing."""
    other = results(lost=45, won=15, spec="csls")
    now = Saved("now", Results.joined([results(lost=45, won=15), other]))
    for baseline, specs in ((results(), ()), (Results.joined([results(), results(spec="csls")]), ("none",))):
        verdict = judge(now, Saved("main", baseline), limits=[regression("R@1=0.5")], significant_only=True, specs=specs,
                        on_missing="ignore")  # fmt: skip
        (check,) = verdict.checks
        assert f"p {mcnemar(15, 45):.2g} after Holm" in check.because


def test_golden_queries_stay_on_top() -> None:
    found = judge(Saved("new.json", results(lost=2)), Saved("old.json", results()), golden=["q0", "text of q1", "q2"], top=5)
    assert [(check.status, check.before, check.after) for check in found.checks] == [
        ("fail", 1.0, 700.0), ("fail", 1.0, 600.0), ("ok", 1.0, 1.0),
    ]  # fmt: skip
    assert judge(Saved("new.json", results(lost=2)), golden=["q1"], top=600).passed


@pytest.mark.parametrize(("rule", "statuses"), [("fail", ["fail", "ok"]), ("warn", ["warn", "ok"]), ("ignore", ["ok"])])
def test_queries_that_came_or_went(rule: str, statuses: list[str]) -> None:
    names = [f"q{number}" for number in range(N)]
    names[7] = "new one"
    verdict = against(results(names=names), on_missing=rule)
    assert [check.status for check in verdict.checks] == statuses
    if rule != "ignore":
        assert verdict.checks[0].queries == ("q7", "new one")
        assert "1 queries of old.json are gone and 1 are new" in verdict.checks[0].because
    gone = judge(Saved("new.json", results()), golden=["q9999"], on_missing=rule)
    assert gone.checks[0].status == ("fail" if rule == "fail" else "warn")


def test_runs_that_went_fail_and_new_ones_are_noted() -> None:
    old = Saved("old.json", Results.joined([results(), results(spec="dsl")]))
    verdict = judge(joined(results(), results(spec="gc")), old, limits=[regression("R@1=1")])
    assert [(check.status, check.spec) for check in verdict.checks] == [("fail", "dsl"), ("ok", "none")]
    assert verdict.notes == ("t2v gc of clip is not in the baseline",)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda: threshold("t2v.R@1=45"), "cannot read --threshold"),
        (lambda: threshold("t2v.R@1>=high"), "'high' is not a number"),
        (lambda: threshold("t2v.R@1>=nan"), "'nan' is not a number"),
        (lambda: regression("t2v.R@1>=1"), "cannot read --max-regression"),
        (lambda: regression("t2v.R@1=-1"), "at least 0"),
        (lambda: judge(Saved("n", results()), thresholds=[threshold("v2t.R@1>=1")]), "no run of 'v2t'"),
        (lambda: judge(Saved("n", results()), thresholds=[threshold("R@2>=1")]), "no run has it; did you mean 'R@"),
        (lambda: judge(Saved("n", results()), limits=[regression("R@1=1")]), "needs --baseline"),
        (lambda: judge(Saved("n", results())), "nothing to check"),
        (lambda: judge(Saved("n", results()), thresholds=[threshold("R@1>=1")], specs=["dsl"]), "no run of dsl"),
        (lambda: judge(Saved("n", results()), thresholds=[threshold("R@1>=1")], specs=["nine"]), "did you mean 'none'"),
        (lambda: judge(Saved("n", results()), thresholds=[threshold("t2vv.R@1>=1")]), "did you mean 't2v.R@1'"),
    ],
)
def test_rules_about_nothing_are_refused(what: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        what()


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json(results(), tmp_path / "main.json")
    write_json(results(lost=25, won=15), tmp_path / "noise.json")
    write_json(results(lost=45, won=15), tmp_path / "worse.json")
    (tmp_path / "golden.txt").write_text("# what we show on stage\nq0\n\ntext of q470\n", encoding="utf-8")
    return tmp_path


RULES = ["--baseline", "main.json", "--max-regression", "t2v.R@1=0.5"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["noise.json", *RULES, "--significant-only"], 0),
        (["noise.json", *RULES], 1),
        (["worse.json", *RULES, "--significant-only"], 1),
        (["main.json", *RULES], 0),
        (["main.json", "--threshold", "t2v.R@1>=48"], 0),
        (["main.json", "--threshold", "t2v.R@1>=49"], 1),
        (["main.json", "--golden", "golden.txt"], 0),
        (["worse.json", "--golden", "golden.txt"], 1),
        (["main.json"], 2),
        (["main.json", "--accept"], 2),
        (["main.json", *RULES, "--on-missing", "shrug"], 2),
        (["main.json", "--golden", "none.txt"], 4),
        (["none.json", *RULES], 4),
        (["golden.txt", *RULES], 3),
    ],
)
def test_the_exit_code_is_the_verdict(folder: Path, arguments: list[str], code: int) -> None:
    done = nclbench("gate", *arguments, "--json", cwd=folder)
    assert done.returncode == code, done.stderr
    if code in (0, 1):
        assert json.loads(done.stdout)["passed"] == (code == 0)
    else:
        assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


def test_a_config_file_says_it_all(folder: Path) -> None:
    (folder / "nclbench.toml").write_text(
        '[gate]\nbaseline = "main.json"\nthreshold = ["t2v.R@1 >= 44"]\nmax-regression = ["t2v.R@1=0.5"]\n'
        'significant-only = true\ngolden = "golden.txt"\ngolden-top = 800\non-missing = "warn"\n'
    )
    assert nclbench("gate", "noise.json", cwd=folder).returncode == 0
    done = nclbench("gate", "worse.json", "--explain", cwd=folder)
    assert done.returncode == 1
    assert re.search(r"\| none \(1\) +\| t2v.R@1 +\| +48.0 \| +45.0 \| +-3.0 \\\[-4", done.stdout)
    assert "gate: FAILED (1 of 4 failed)" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("fail: clip none: t2v.R@1 went from 48 to 45, --max-regression t2v.R@1=0.5; a real difference")


def test_continuous_integration_is_told_in_its_own_words(folder: Path) -> None:
    github = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output.txt", "GITHUB_ACTIONS": "true"}
    (folder / "summary.md").write_text("before\n")
    done = nclbench("gate", "worse.json", *RULES, "--junit", "out.xml", "--json", "-q", cwd=folder, **github)
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"] == 1, "annotations do not stand in the data"
    assert done.stderr.splitlines() == [
        "::error title=nclbench gate%3A t2v.R@1::t2v.R@1 went from 48 to 45, --max-regression t2v.R@1=0.5; look at q0, q1, q2"
    ]
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("before\n**gate: FAILED") and "| t2v.R@1 |" in summary
    assert (folder / "output.txt").read_text() == "passed=false\nfailed=1\n"
    suite = ElementTree.parse(folder / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "from 48 to 45" in str(suite.find("testcase/failure").get("message"))  # type: ignore[union-attr]
    quiet = nclbench("gate", "worse.json", *RULES, "-q", cwd=folder, GITHUB_ACTIONS="", GITHUB_STEP_SUMMARY="", GITHUB_OUTPUT="")
    assert quiet.stderr == "", "annotations under GitHub Actions only"


def test_accept_moves_the_baseline(folder: Path) -> None:
    done = nclbench("gate", "worse.json", *RULES, "--accept", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "accepted: main.json is now what worse.json says\n")
    assert "FAILED" in done.stdout
    for kind in ("json", "queries.parquet", "items.parquet"):
        assert (folder / f"main.{kind}").read_bytes() == (folder / f"worse.{kind}").read_bytes()
    assert nclbench("gate", "worse.json", *RULES, cwd=folder).returncode == 0
    first = nclbench("gate", "noise.json", "--baseline", "new.json", "--max-regression", "R@1=1", "--accept", cwd=folder)
    assert first.returncode == 0 and (folder / "new.queries.parquet").exists()
    same = nclbench("gate", "main.json", *RULES, "--accept", cwd=folder)
    assert same.returncode == 2 and "are the baseline already" in same.stderr


def test_accept_takes_nothing_but_results(folder: Path) -> None:
    (folder / "broken.json").write_text('{"schema":')
    for baseline in ("new.json", "main.json"):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        done = nclbench("gate", "broken.json", "--baseline", baseline, "--accept", cwd=folder)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_accept_needs_no_rule_and_decides_before_it_reports(folder: Path) -> None:
    done = nclbench("gate", "noise.json", "--baseline", "main.json", "--accept", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert (folder / "main.json").read_bytes() == (folder / "noise.json").read_bytes()
    done = nclbench("gate", "main.json", *RULES, "--accept", "--junit", "out.xml", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "") and not (folder / "out.xml").exists()


def test_rows_of_the_old_baseline_never_stay_beside_the_new_one(folder: Path) -> None:
    for path in folder.glob("worse.*.parquet"):
        path.unlink()
    assert nclbench("gate", "worse.json", *RULES, "--accept", cwd=folder).returncode == 0
    assert [path.name for path in folder.glob("main.*")] == ["main.json"]


def test_a_baseline_in_a_folder_gets_its_rows_where_they_are_read(folder: Path) -> None:
    write_folder(results(), folder / "out")
    done = nclbench("gate", "worse.json", "--baseline", "out/results.json", "--accept", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "out").iterdir()} == {"results.json", "queries.parquet", "items.parquet"}
    assert (folder / "out/queries.parquet").read_bytes() == (folder / "worse.queries.parquet").read_bytes()


def test_every_format_has_the_verdict(folder: Path) -> None:
    for format in ("table", "md", "html", "latex", "csv"):
        done = nclbench("gate", "worse.json", *RULES, "-f", format, cwd=folder, COLUMNS="")
        assert done.returncode == 1
        assert "fail" in done.stdout.lower() and "45.0" in done.stdout
    assert next(csv.DictReader(io.StringIO(done.stdout)))["queries"] == "q0 q1 q2"


def test_rows_are_needed_only_for_what_looks_at_queries(folder: Path) -> None:
    for path in folder.glob("*.parquet"):
        path.unlink()
    assert nclbench("gate", "worse.json", *RULES, cwd=folder).returncode == 1
    done = nclbench("gate", "worse.json", *RULES, "--significant-only", cwd=folder)
    assert done.returncode == 4 and "main.queries.parquet: no such file" in done.stderr


def test_nothing_heavy_is_imported(folder: Path) -> None:
    code = (
        f"import sys; sys.argv[1:] = ['gate', 'worse.json', *{RULES!r}, '--significant-only', '-f', 'md', '-q']\n"
        "import nclbench.cli\ntry: nclbench.cli.main()\nexcept SystemExit as end: assert end.code == 1\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'h5py') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_hostile_names_stay_text(name: str) -> None:
    verdict = Verdict((Check("golden", name, name, name, "fail", f"because of {name}", queries=(name,)),), (name,))
    for format in ("md", "csv", "html", "latex", "json"):
        text = report.render(verdict, format)
        assert all(c.isprintable() or c == "\n" for c in text)
    assert ElementTree.fromstring(report.junit(verdict)).get("failures") == "1"
    (line,) = report.annotations(verdict)
    assert line.isprintable() and line.startswith("::error title=nclbench gate%3A")
    assert line.count("::") >= 2 and "::" not in line.split("title=")[1].split("::")[0]

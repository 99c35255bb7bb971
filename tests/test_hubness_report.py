"""`nclbench hubness-report` as people and CI run it: text, files, limits, two models, no labels, bad input."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from test_cli import run

from nclbench import Results, evaluate
from nclbench.audit.advice import advise
from nclbench.audit.conditions import Condition
from nclbench.audit.figures import drawn
from nclbench.audit.findings import findings
from nclbench.audit.page import render
from nclbench.audit.people import hubs, starved
from nclbench.audit.sections import markdown, sections
from nclbench.audit.states import directions
from nclbench.errors import InputError, UsageError
from nclbench.plan import Plan
from nclbench.problem import Problem, Relevance

FIGURES = ("representation", "sorted", "lorenz", "occurrence", "errors", "changes")


def write(path: Path, noise: float = 0.7, shift: float = 2.0, order: Any = None) -> Path:
    """50 captions of 40 clips, every seventh clip leaning towards the mean query."""
    draw = np.random.default_rng(6)
    items = draw.normal(size=(40, 16))
    items[::7] += shift * 0.4
    queries = items[np.arange(50) % 40] + noise * draw.normal(size=(50, 16)) + 0.5
    order = np.arange(40) if order is None else order
    with h5py.File(path, "w") as file:
        file["text_embeddings"] = queries
        file["video_embeddings"] = items[order]
        file["text_ids"] = [f"cap{n}" for n in range(50)]
        file["video_ids"] = [f"clip{n}" for n in order]
        file["text_video_ids"] = [f"clip{n % 40}" for n in range(50)]
        file["captions"] = [f"somebody does thing {n}" for n in range(50)]
        file.attrs["logit_scale"] = 20.0
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("hubs") / "clips.h5")


def planted(seed: int = 3) -> Problem:
    """400 queries of 300 items, of which item 7 stands in nearly every list and item 11 in none."""
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(400, 300))
    scores[np.arange(400), np.arange(400) % 300] += 2.0
    scores[:, 7] += 4.0
    scores[:, 11] -= 9.0
    return factories.of_scores(scores, Relevance.of_items(np.arange(400) % 300))


# ------------------------------------------------------------------------------------------ what is said


def test_planted_hub_and_starved_item_are_named_first() -> None:
    (found, *_) = directions(evaluate(planted(), ["sinkhorn:tau=0.5"], hubness=True, tau=0.5, direction="t2v"))
    assert hubs(found, 1)[0].name == "v7" and starved(found, 1)[0].name == "v11"
    verdicts = {each.name: each for each in findings(found)}
    for name in ("largest@10", "skewness@10"):
        assert verdicts[name].verdict == "fail"
        raw, after = verdicts[name].values
        assert raw is not None and after is not None and after[0] < raw[0] / 2
    assert verdicts["wrong.top10"].verdict == "fail"
    hub = hubs(found, 1)[0]
    assert hub.shown[0] > 300 > hub.shown[1] and hub.stolen[0] is not None and hub.stolen[0] > 50


@pytest.mark.parametrize(("n", "m"), [(8, 40), (40, 8), (1, 5), (5, 1), (3, 3), (1, 1)])
def test_small_sides_have_short_lists(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nclbench.audit.figures.ENDINGS", ("svg",))
    scores = np.random.default_rng(n + m).normal(size=(n, m))
    problem = factories.of_scores(scores, Relevance.of_items(np.arange(n) % m))
    results = evaluate(problem, ["csls:k=1"], hubness=True, tau=0.5)
    found = directions(results)
    assert {each.name: each.cutoff for each in found} == {
        "t2v": max(k for k in (1, 5, 10) if k <= m), "v2t": max(k for k in (1, 5, 10) if k <= n)
    }  # fmt: skip
    for each in found:
        assert min(each.occurrence(state).min() for state in each.states) >= 0
        assert all(0 <= finding.chance[0] < np.inf for finding in findings(each) if finding.chance)
    assert "| -1 |" not in markdown(sections(found, []))
    assert render(results, found, []) and drawn(found)


def test_few_errors_and_few_queries_fail_nobody() -> None:
    draw = np.random.default_rng(0)
    easy = factories.of_scores(draw.normal(size=(50, 400)) + 30 * np.eye(50, 400), Relevance.of_items(np.arange(50)))
    (found, *_) = directions(evaluate(easy, hubness=True, tau=1.0, direction="t2v"))
    assert {each.verdict for each in findings(found) if each.name.startswith(("p.", "wrong"))} == {"info"}
    pair = [
        evaluate(factories.of_scores(draw.normal(size=(300, 300)) + shift * np.eye(300), model=name), hubness=True, tau=1.0)
        for name, shift in (("a", 2.0), ("b", 4.5))
    ]
    (found, *_) = directions(Results.joined(pair))
    assert found.labels == ("a: raw", "b: raw")
    (wrong,) = (each for each in findings(found) if each.name == "wrong.top10")
    assert wrong.values[1] is not None and wrong.values[1][1] in ("ok", "info")
    (helped,) = (each for each in findings(found) if each.name == "helped")
    assert helped.values[0] is None and helped.values[1] is not None and helped.values[1][0] > 0.3


def test_an_even_gallery_is_found_even() -> None:
    draw = np.random.default_rng(1)
    scores = draw.normal(size=(300, 300)) + 30 * np.eye(300)
    (found, *_) = directions(evaluate(factories.of_scores(scores), hubness=True, tau=1.0, direction="t2v"))
    verdicts = {each.name: each.verdict for each in findings(found)}
    assert {verdicts[name] for name in ("largest@10", "hubs@10", "antihubs@10", "p.wanted.under", "p.wanted.over")} == {"ok"}


def test_advice_gains_on_folds_and_says_so() -> None:
    problem = factories.hubs(300, 300, 24, 1, noise=1.5)
    advice = advise(problem, "t2v", 0.1, Plan())
    assert advice.gain is not None and advice.gain[0] > 0 and advice.gain[1] < advice.gain[0] < advice.gain[2]
    again = evaluate(problem, [advice.spec], metrics="R@1", direction="t2v", folds=5)
    assert [run.metrics["R@1"].value for run in again.runs] == [advice.before, advice.after]
    assert again.runs[1].operator.fitted_on == "test-folds(5)"
    assert f"--normalize {advice.spec} --bank folds=5 brings R@1 from" in advice.text and "5 folds" in advice.text
    nothing = advise(factories.of_scores(np.eye(300) + 1e-3 * np.arange(300)[:, None]), "t2v", 0.1, Plan())
    assert nothing.spec == "" and nothing.text.startswith("nothing: none of csls")
    blind = advise(replace(problem, relevance=None), "v2t", 0.1, Plan())
    assert blind.measure == "gini@10" and blind.gain is None and blind.after < blind.before


def test_advice_takes_a_sample_where_scores_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from nclbench.audit import advice

    monkeypatch.setattr(advice, "_SCORES", 300 * 220)
    assert advise(factories.hubs(300, 300, 24, 1), "t2v", 0.1, Plan()).queries == 220
    monkeypatch.setattr(advice, "_SCORES", 300 * 20)
    assert advise(factories.hubs(300, 300, 24, 1), "t2v", 0.1, Plan()).text.startswith("no advice: 300 items are too many")


def test_sections_hold_nothing_that_markdown_or_terminals_obey() -> None:
    problem = factories.hubs(30, 30, 8, 4)
    names = tuple(f"|*[x](y)`\x1b[31m{n}" for n in range(30))
    hostile = replace(problem, items=replace(problem.items, ids=names), model="a|b")
    found = directions(evaluate(hostile, ["csls:k=3"], hubness=True))
    text = markdown(sections(found, []))
    assert "\x1b" not in text
    for line in text.splitlines():
        assert not line.startswith("| ") or line.count(" | ") in (5, 6, 7, 8)


# ------------------------------------------------------------------------------------------ the command


def test_terminal_text_says_all(model: Path) -> None:
    done = run("hubness-report", "--emb", model, "--normalize", "sinkhorn:tau=0.05")
    assert done.returncode == 0, done.stderr
    for text in (
        "## t2v: 50 queries, 40 items", "## v2t: 40 items, 50 captions", "## t2v: shown most", "## t2v: most starved",
        "- try: ", "by chance", "warn", "somebody does thing", "a fair share",
    ):  # fmt: skip
        assert text in done.stdout, text
    assert "wrote" not in done.stderr


def test_page_results_rows_and_figures(model: Path, tmp_path: Path) -> None:
    done = run(
        "hubness-report", "--emb", model, "--normalize", "sinkhorn:tau=0.05", "--normalize", "dsl:tau=0.05",
        "-o", tmp_path / "r.html", "--out-dir", tmp_path / "all", "--figures", tmp_path / "figures",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page == (tmp_path / "all" / "report.html").read_text("utf-8")
    assert "somebody does thing 17" in page and "://" not in page.split('id="bundle"')[0]
    results = json.loads((tmp_path / "all" / "results.json").read_text("utf-8"))
    items = parquet.read_table(tmp_path / "all" / "items.parquet").to_pydict()
    assert len(items["id"]) == 3 * (40 + 50)
    raw = next(run for run in results["runs"] if run["direction"] == "t2v" and run["operator"]["spec"] == "none")
    counts = np.array(items["occurrence@10"][:40])
    assert raw["diagnostics"]["antihubs@10"]["value"] == np.mean(counts == 0)
    assert raw["diagnostics"]["p.mean_error"]["value"] == pytest.approx(np.abs(np.array(items["p"][:40]) - 50 / 40).mean())
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"{way}-{name}.{end}" for way in ("t2v", "v2t") for name in FIGURES for end in ("pdf", "svg", "png")}
    assert (tmp_path / "figures" / "t2v-lorenz.pdf").read_bytes().startswith(b"%PDF")
    again = run("hubness-report", "--emb", model, "--normalize", "sinkhorn:tau=0.05", "--normalize", "dsl:tau=0.05",
                "--no-advice", "-q", "--figures", tmp_path / "again")  # fmt: skip
    assert again.returncode == 0
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_figures_do_not_depend_on_the_settings_of_a_user() -> None:
    import matplotlib as mpl

    scores = np.random.default_rng(1).normal(size=(30, 30)) + np.eye(30)
    problem = factories.of_scores(scores, Relevance.of_items(np.arange(30)))
    found = directions(evaluate(problem, ["csls:k=3"], hubness=True, tau=0.5, direction="t2v"))
    plain = drawn(found)
    theirs = {"savefig.dpi": 80, "figure.dpi": 50, "figure.autolayout": True, "figure.constrained_layout.use": False}
    with mpl.rc_context(theirs):
        assert drawn(found) == plain


def test_figures_of_many_operators_have_a_panel_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    draw, specs = np.random.default_rng(0), ["sinkhorn:tau=0.1", "csls", "is:tau=0.1,fit=test", "nicdm", "is:tau=0.2"]
    scores = draw.uniform(size=(60, 50)).astype(np.float32)
    problem = factories.of_scores(scores, Relevance.of_items(np.arange(60) % 50))
    kept: list[Figure] = []
    save = Figure.savefig

    def keeping(figure: Figure, *words: Any, **more: Any) -> None:
        kept.append(figure)
        save(figure, *words, **more)

    monkeypatch.setattr(Figure, "savefig", keeping)
    monkeypatch.setattr("nclbench.audit.figures.ENDINGS", ("svg",))
    for several, panels in ((specs, (4, 1, 1, 5, 4, 5)), (specs[:3], (1, 1, 1, 1, 1, 1))):
        kept.clear()
        found = directions(evaluate(problem, several, hubness=True, tau=0.1, direction="t2v"))
        assert len(drawn(found)) == len(kept) == 6
        shown = [sum(axes.get_visible() for axes in figure.axes) for figure in kept]
        assert tuple(shown) == panels
        for figure in kept:
            assert len(figure.legends) <= 1 and not any(axes.get_legend() for axes in figure.axes)
        titles = {axes.get_title() for figure in kept for axes in figure.axes if axes.get_title()}
        assert ("csls" in titles) == (panels[0] > 1) and "raw" not in titles


def test_the_text_says_by_which_scores_the_ten_are_chosen(model: Path) -> None:
    done = run("hubness-report", "--emb", model, "--normalize", "csls", "--no-advice")
    assert done.stdout.count("- chosen by raw alone; the page (-o report.html) sorts all of them") == 4
    alone = run("hubness-report", "--emb", model, "--no-advice")
    assert "chosen by" not in alone.stdout


def test_rows_as_csv(model: Path, tmp_path: Path) -> None:
    done = run("hubness-report", "--emb", model, "--no-advice", "--out-dir", tmp_path, "--csv", "-q")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "queries.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50 + 40 + 40 and json.loads(rows[0]["top"])[0].startswith("clip")
    assert rows[0]["id"] == "cap0" and rows[0]["right"] == "clip0"
    assert not (tmp_path / "queries.parquet").exists()


def test_json_is_the_results_and_what_is_said_of_them(model: Path) -> None:
    done = run("hubness-report", "--emb", model, "--normalize", "csls:k=3", "--json", "-q")
    data = json.loads(done.stdout)
    assert {"runs", "findings", "hubs", "starved", "advice"} <= set(data)
    assert {each["verdict"] for each in data["findings"]} <= {"ok", "warn", "fail", "info"}
    first = data["hubs"][0]
    assert first["rank"] == 1 and first["states"]["raw"]["occurrence"] >= data["hubs"][1]["states"]["raw"]["occurrence"]
    assert data["findings"][0]["chance"]["low"] <= data["findings"][0]["chance"]["mean"] <= data["findings"][0]["chance"]["high"]


def test_limits_end_with_one(model: Path, tmp_path: Path) -> None:
    common = ("hubness-report", "--emb", model, "--no-advice", "-q", "-o", tmp_path / "r.md")
    assert run(*common, "--fail-on", "antihubs@10>0.9", "--fail-on", "v2t.p.over>1").returncode == 0
    done = run(*common, "--normalize", "csls:k=3", "--fail-on", "t2v.skewness@10>=-9", "--fail-on", "gini@1>1")
    assert done.returncode == 1
    assert done.stderr.startswith("failed: t2v csls:k=3: skewness@10 is ") and done.stderr.count("\n") == 1
    assert (tmp_path / "r.md").read_text("utf-8").startswith("## t2v")


def test_two_models_side_by_side(model: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.h5", noise=0.2, order=np.random.default_rng(2).permutation(40))
    done = run("hubness-report", "--compare", model, other, "--no-advice", "-f", "json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert set(data["hubs"][0]["states"]) == {"clips: raw", "other: raw"}
    alone = json.loads(run("hubness-report", "--emb", other, "--no-advice", "--json").stdout)
    shown = {each["id"]: each["states"]["raw"]["occurrence"] for each in alone["hubs"] if each["direction"] == "t2v"}
    beside = {each["id"]: each["states"]["other: raw"]["occurrence"] for each in data["hubs"] if each["direction"] == "t2v"}
    assert set(shown) & set(beside) and all(shown[name] == beside[name] for name in set(shown) & set(beside))
    smaller = tmp_path / "smaller.h5"
    with h5py.File(other) as full, h5py.File(smaller, "w") as file:
        for key in full:
            full.copy(key, file)
        for key in ("video_ids", "text_video_ids"):
            del file[key]
        file["video_ids"] = [f"film{n}" for n in range(40)]
        file["text_video_ids"] = [f"film{n % 40}" for n in range(50)]
    refused = run("hubness-report", "--compare", model, smaller, "--no-advice")
    assert refused.returncode == 3
    assert "items differ from those of the first model: 40 are missing, such as clip0" in refused.stderr


def test_logged_queries_without_labels(model: Path, tmp_path: Path) -> None:
    done = run("hubness-report", "--emb", model, "--no-labels", "--normalize", "csls:k=3", "--out-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gini@10 from" in done.stdout and "wrong raw" not in done.stdout
    items = parquet.read_table(tmp_path / "items.parquet").to_pydict()
    assert "p" in items and "fp" not in items
    queries = parquet.read_table(tmp_path / "queries.parquet").to_pydict()
    assert "won" not in queries and "top" in queries


@pytest.mark.parametrize(
    ("given_options", "code", "line"),
    [
        (("--fail-on", "antihub@10>0.2"), 2, "did you mean 'antihubs@10'?"),
        (("--fail-on", "antihubs>0.2"), 2, "unknown diagnostic 'antihubs'"),
        (("--fail-on", "p.over=3"), 2, "write NAME>NUMBER, such as antihubs@10>0.2"),
        (("--fail-on", "p.bank.over>0", "-o", "r.html"), 3, "p.bank.over is not defined for t2v raw"),
        (("--fail-on", "antihubs@7>0"), 2, "unknown diagnostic 'antihubs@7'"),
        (("--normalize", "sinkhorn:fit=bank", "--fail-on", "hubs@10>=0"), 3, "there is no row that it could be about"),
        (("--json", "-o", "r.md"), 2, "-o r.md and --json contradict each other"),
        (("-o", "r.pdf"), 2, ".pdf is no kind of report; use .html, .json, .md or .txt"),
        (("-f", "latex"), 2, "use table, md or json"),
        (("--tau", "0"), 2, "--tau is 0.0; it must be positive"),
        (("--csv",), 2, "give --out-dir DIR"),
        (("--thumbnails", "nowhere", "-o", "r.html"), 4, "nowhere: no such folder"),
        (("--normalize", "sinkorn"), 2, "did you mean 'sinkhorn'?"),
        (("--direction", "t2w"), 2, "did you mean 't2v'?"),
        (("other.h5",), 2, "give files as --emb FILE, or --compare A B"),
    ],
)
def test_mistakes_get_one_line(model: Path, tmp_path: Path, given_options: tuple[str, ...], code: int, line: str) -> None:
    done = run("hubness-report", "--emb", model, "--no-advice", "-q", *given_options, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1) and line in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_never_writes_over_what_it_reads(model: Path) -> None:
    before = model.read_bytes()
    done = run("hubness-report", "--emb", model, "-f", "md", "-o", model.with_suffix(".html"), "--no-advice", "-q")
    assert done.returncode == 0
    link = model.with_name("same.html")
    link.hardlink_to(model)
    assert run("hubness-report", "--emb", model, "-o", link, "--no-advice").returncode == 2
    assert model.read_bytes() == before


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_limits_are_read_or_refused(text: str) -> None:
    try:
        found = Condition.parse(text)
    except UsageError:
        return
    assert found.sign in (">", ">=", "<", "<=")


def test_a_limit_on_what_nobody_has_is_an_error() -> None:
    found = directions(evaluate(factories.hubs(40, 30, 8, 4), ["gc"], hubness=True))
    assert list(Condition.parse("antihubs@10>=0").broken(found, True)) != []
    with pytest.raises(InputError, match="p.over is not defined for t2v gc"):
        list(Condition.parse("p.over>0").broken(found, True))
    assert list(Condition.parse("p.over>=0%").broken(found, False)) != []
    assert Condition.parse("antihubs@10>20%").bound == 0.2
    assert list(Condition.parse("t2v.R@1<101").broken(found, True))[0].startswith("t2v gc: R@1 is ")

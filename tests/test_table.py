"""`nclbench table`: rows and columns that are chosen, differences, intervals and tests, HTML, LaTeX that compiles."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_cli import run as nclbench
from test_compare import results as evaluated
from test_report import example, hostile, run

from nclbench.errors import UsageError
from nclbench.files import printable
from nclbench.report import dialect
from nclbench.report.cells import Extra, Table
from nclbench.report.latex import Layout
from nclbench.report.latex import render as latex
from nclbench.report.pivot import pivot
from nclbench.report.table import build
from nclbench.results import Results, Run, Value
from nclbench.sinks.results import write_json

TEX = shutil.which("pdflatex")


def texts(table: Table) -> list[list[str]]:
    return [[*(getattr(row, name) for name in table.labels), *(cell.text for cell in row.cells)] for row in table.rows]


# --- rows and columns ---------------------------------------------------------------------------------------------


def test_directions_stand_side_by_side() -> None:
    table = pivot(example(), None, ["R@1", "MdR"])
    assert (table.labels, table.over, table.metrics) == (("spec",), ("t2v", "t2v", "v2t", "v2t"), ("R@1", "MdR") * 2)
    assert table.spans == [("t2v", 2), ("v2t", 2)]
    assert texts(table) == [
        ["none", "48.0", "2.0", "45.8", "2.0"],
        ["csls:k=10", "49.0", "2.0", "n/a", "n/a"],
        ["sinkhorn:tau=0.01", "53.9", "1.0", "53.0", "1.0"],
        ["dsl", "53.9", "1.0", "–", "–"],
    ]
    blocks = [[row.spec for row in block] for block in table.groups[0].blocks]
    assert blocks == [["none", "csls:k=10"], ["sinkhorn:tau=0.01", "dsl"]]
    assert [[cell.mark for cell in row.cells] for row in table.rows] == [
        ["second", "best", "", ""],
        ["best", "best", "", ""],
        ["best", "best", "", ""],
        ["best", "best", "", ""],
    ]


def test_columns_keep_the_order_that_was_asked_for() -> None:
    table = pivot(example(), ["operator"], ["v2t.R@1", "t2v.MnR", "v2t.r@5"])
    assert list(zip(table.over, table.metrics, strict=True)) == [("v2t", "R@1"), ("t2v", "MnR"), ("v2t", "R@5")]


@pytest.mark.parametrize(
    ("rows", "cols", "words"),
    [
        (["modle"], None, "--rows: unknown label 'modle'; did you mean 'model'"),
        (None, ["v2x.R@1"], "--cols 'v2x.R@1': no run of 'v2x'; did you mean 'v2t'"),
        (None, ["t2v.R@7"], "no run has a metric 'R@7'"),
        (["model"], ["R@1"], "two runs of t2v would stand in one row .model.; add operator to --rows"),
    ],
)
def test_what_cannot_be_shown_is_refused(rows: list[str] | None, cols: list[str] | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        pivot(example(), rows, cols)


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="they are the same run twice"):
        pivot(Results.joined([example(), example()]), None, ["R@1"])


def test_datasets_are_groups_unless_they_are_labels_and_never_compete() -> None:
    runs = [run(spec, dataset=name, R_1=value) for name, value in (("a", 1.0), ("b", 9.0)) for spec in ("none", "x")]
    table = pivot(Results(tuple(runs)), ["operator"], ["R@1"])
    assert [group.title for group in table.groups] == ["a test", "b test"]
    assert pivot(Results(tuple(runs)), ["dataset", "operator"], ["R@1"]).groups[0].title == ""
    assert [row.cells[0].mark for row in table.rows] == ["best"] * 4


OTHERWISE = [
    ({"options": {"ties": "optimistic"}}, "ties expected", "ties optimistic"),
    ({"signature": "t2v|R@k:hit|ties:expected|q:500|g:1000|op:x"}, "1000 queries", "500 queries"),
    ({"signature": "t2v|R@k:hit|ties:expected|q:1000|g:500|op:x"}, "1000 items", "500 items"),
]


@pytest.mark.parametrize(("changes", "one", "other"), OTHERWISE)
def test_figures_under_other_terms_never_compete(changes: dict[str, Any], one: str, other: str) -> None:
    """Optimistic ties or half the gallery would win any table."""
    stamp = "t2v|R@k:hit|ties:expected|q:1000|g:1000|op:x"
    few = [replace(run(spec, R_1=value), signature=stamp) for spec, value in (("a", 40.0), ("b", 41.0))]
    others = [replace(run(spec, R_1=value), **{"signature": stamp, **changes}) for spec, value in (("c", 50.0), ("d", 60.0))]
    none = replace(run("e", unavailable="why"), signature="t2v|q:7|g:7")
    runs = Results((few[0], others[0], none, others[1], few[1]))
    for table in (build(runs), pivot(runs, ["operator"], ["R@1"])):
        marks = {row.spec: row.cells[0].mark for row in table.rows}
        assert marks == {"a": "second", "b": "best", "c": "second", "d": "best", "e": ""}
        remarks = {row.spec: row.remark for row in table.rows}
        assert (remarks["a"], remarks["d"]) == (f"{one}: ranked apart", f"{other}: ranked apart")
        assert remarks["e"] == "n/a: why" and "ties" not in table.caption
        assert {f"{one}: ranked apart", f"{other}: ranked apart"} <= {note.text for note in table.notes}
    assert [row.spec for row in build(runs).rows] == ["a", "e", "b", "c", "d"]
    with pytest.raises(UsageError, match=f"one is of {one}, one of {other}: make a table of each"):
        pivot(Results((few[0], replace(few[0], **changes))), None, ["R@1"])


def test_rounding_of_sums_decides_no_mark() -> None:
    table = build(Results((run("a", R_1=48.1), run("b", R_1=48.1 + 1e-13), run("c", R_1=48.0999), run("d", R_1=2.0))))
    assert [row.cells[0].mark for row in table.rows] == ["best", "best", "second", ""]


def test_a_row_whose_directions_stand_differently_has_signs_at_its_figures() -> None:
    """Sinkhorn with a bank of queries only: t2v may be set beside the raw row, v2t may not."""
    runs = (
        run(R_1=40.0),
        run("sinkhorn", fitted_on="query-bank", R_1=42.0),
        run(direction="v2t", R_1=39.0),
        run("sinkhorn", "v2t", fitted_on="test-queries", R_1=47.0),
    )
    table = pivot(Results(runs), None, ["R@1"])
    raw, sinkhorn = table.rows
    assert [[row.spec for row in block] for block in table.groups[0].blocks] == [["none"], ["sinkhorn"]]
    assert (sinkhorn.signs, [cell.signs for cell in sinkhorn.cells]) == ((), [(), ("†",)])
    assert [cell.mark for cell in raw.cells] == ["second", ""], "nothing competes with the transductive figure"
    assert [cell.mark for cell in sinkhorn.cells] == ["best", ""]
    assert [note.sign for note in table.notes] == ["†"]


def test_csv_has_unrounded_figures_and_all_that_stands_beside_them() -> None:
    def beside(each: Run, metric: str) -> tuple[Extra, ...]:
        return (Extra("+0.1", {"difference": 0.125, "significant": "false"}, ("n.s.",)),) if each.operator.spec == "dsl" else ()

    lines = list(csv.DictReader(io.StringIO(dialect(pivot(example(), None, ["t2v.R@1"], beside=beside), "csv"))))
    assert [line["t2v.R@1"] for line in lines] == ["48.0", "49.04", "53.9", "53.9"]
    assert [(line["t2v.R@1 difference"], line["t2v.R@1 significant"]) for line in lines] == [("", "")] * 3 + [("0.125", "false")]
    assert [line["standing"] for line in lines] == ["inductive", "inductive", "transductive", "transductive"]


# --- HTML ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Cells of each row, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        assert {name for name, _ in attrs} <= {"class", "colspan", "align", "rules"}

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.lasttag not in ("tr", "li", "pre", "ul", "table"):
            self.rows[-1][-1] += data


def test_html_is_one_table_with_titles_over_columns() -> None:
    page = Page(dialect(pivot(example(), None, ["R@1", "MdR"]), "html"))
    rows = [[cell.strip() for cell in row] for row in page.rows]
    assert rows[:2] == [["", "t2v", "v2t"], ["operator", "R@1", "MdR", "R@1", "MdR"]]
    assert rows[2] == ["none1", "48.0", "2.0", "45.8", "2.0"]
    assert '<td align="right"><u>48.0</u></td>' in page.text and 'rules="groups"' in page.text
    assert page.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "b", "u", "sup", "ul", "li", "pre"}


@settings(max_examples=300, deadline=None)
@given(hostile, hostile)
def test_hostile_names_stay_text_in_html(spec: str, model: str) -> None:
    text = dialect(build(Results((run(spec, model=model, R_1=1.0), run(model="other", R_1=2.0)))), "html")
    assert all(c.isprintable() or c == "\n" for c in text)
    page = Page(text)
    assert page.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "b", "u", "sup", "ul", "li", "pre"}
    if model != "other":
        assert page.rows[2][:2] == [printable(model), printable(spec)]


@settings(max_examples=200, deadline=None)
@given(hostile, st.sampled_from(["md", "csv", "html", "latex"]))
def test_hostile_names_stay_text_in_chosen_rows(name: str, format: str) -> None:
    assume(name != "b")  # the same run twice is refused
    runs = (run(name, R_1=1.0), run("b", R_1=2.0), run(name, "v2t", R_1=3.0, dataset=name or "x"))
    for rows in (["operator", "dataset"], ["operator"]):
        text = dialect(pivot(Results(runs), rows, ["R@1"]), format)
        assert all(c.isprintable() or c == "\n" for c in text)


# --- LaTeX --------------------------------------------------------------------------------------------------------


def test_latex_spans_floats_and_aligned_columns() -> None:
    text = latex(pivot(example(), None, ["R@1", "MnR"]), Layout(siunitx=True, float=True, caption="50 % & more", label="tab:a"))
    assert text.splitlines()[0] == "% needs booktabs and siunitx"
    assert "\\begin{table}\n\\centering\n\\caption{50 \\% \\& more}\n\\label{tab:a}\n\\begin{tabular}" in text
    assert r"{lS[table-format=2.1]S[table-format=2.1]S[table-format=2.1]S[table-format=1.1]}" in text
    assert " & \\multicolumn{2}{c}{t2v} & \\multicolumn{2}{c}{v2t} \\\\\n\\cmidrule(lr){2-3} \\cmidrule(lr){4-5}\n" in text
    assert r"operator & {R@1} & {MnR} & {R@1} & {MnR} \\" in text
    assert r"sinkhorn:tau=0.01$^{\dagger,3}$ & {\textbf{53.9}} & {\phantom{0}\textbf{9.8}} & 53.0 & 7.7 \\" in text
    assert r"csls:k=10$^{2}$ & {\textbf{49.0}} & {\textbf{12.9}} & {n/a} & {n/a} \\" in text
    assert text.endswith("\\end{table}\n") and r"\ifinner" not in text


def test_latex_refuses_what_would_break_it() -> None:
    table = pivot(example(), None, ["R@1"], beside=lambda each, metric: (Extra("+1", {"difference": 1.0}),))
    with pytest.raises(UsageError, match="siunitx aligns bare figures"):
        latex(table, Layout(siunitx=True))
    with pytest.raises(UsageError, match=r"--label 'a\}b': use letters"):
        latex(table, Layout(float=True, label="a}b"))


def test_what_stands_beside_a_figure_is_not_bold() -> None:
    def beside(each: Run, metric: str) -> tuple[Extra, ...]:
        return (Extra("-1.5", {"difference": -1.5}, ("n.s.",)),)

    assert r"\textbf{48.0} {\scriptsize $-$1.5$^\mathrm{n.s.}$} \\" in latex(
        build(Results((run(R_1=48.0), run("b", R_1=1.0))), beside=beside)
    )


def compiled(folder: Path, tables: list[str]) -> str:
    """The log of a run of TeX over a document that inputs each table; fails if TeX does."""
    if TEX is None:
        assert not os.environ.get("CI"), "continuous integration must have pdflatex, booktabs and siunitx"
        pytest.skip("pdflatex is not installed")
    for number, text in enumerate(tables):
        (folder / f"t{number}.tex").write_text(text, encoding="utf-8")
    inputs = "\n".join(rf"\input{{t{number}.tex}}\clearpage" for number in range(len(tables)))
    (folder / "main.tex").write_text(
        "\\documentclass{article}\n\\usepackage[a3paper,landscape,margin=1cm]{geometry}\n"
        f"\\usepackage{{booktabs,siunitx}}\n\\begin{{document}}\n{inputs}\n\\end{{document}}\n",
        encoding="utf-8",
    )
    command = [TEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    return log


def variants(found: Results) -> Iterator[str]:
    table = pivot(found, ["model", "operator"], ["R@1", "MdR"])
    yield dialect(build(found), "latex")
    yield dialect(table, "latex")
    yield latex(table, Layout(siunitx=True))
    yield latex(table, Layout(siunitx=True, float=True, caption=found.runs[0].model, label="tab:a"))
    yield latex(
        pivot(found, ["model", "operator"], ["R@1"], beside=lambda each, metric: (Extra("-1.5", {"d": 1.5}, ("*",)),)),
        Layout(float=True, caption=found.runs[0].operator.spec),
    )


def test_tables_compile(tmp_path: Path) -> None:
    compiled(tmp_path, list(variants(example())))


# every character that means something to LaTeX, alone and in the company that makes it dangerous
WICKED = (
    r"\input{/etc/passwd}", r"\end{tabular}", "%", "a & b \\\\", "#1 $x$ ^_^ ~", "{", "}", "]", "[1ex]", "*", '"a"', "\\",
    "--- '' `` ,, ?` !`", "\x00\x1b[31m\x9b\u202e\u2066", "=1+1", "<script>|</script>", "^^41^^M", "\u0130\ufeffé模 🎬",
    "\ud800", "–", "@@", "\\par\n\n\\fi",
)  # fmt: skip


def test_wicked_names_compile(tmp_path: Path) -> None:
    # what the font lacks is another matter than what LaTeX does with it
    names = [name.encode("ascii", "ignore").decode() for name in WICKED]
    runs = []
    for at, name in enumerate(names):
        for direction in ("t2v", "v2t"):
            reason = name if at % 5 == 4 else None
            each = run(
                name, direction, model=f"{name} {at}", unavailable=reason, R_1=float(at), MdR=2.0, dataset=name
            )
            runs.append(replace(each, signature=name))
    tables = list(variants(Results(tuple(runs))))
    log = compiled(tmp_path, tables)
    assert "passwd" not in re.sub(r"\s", "", log), "nothing is read"


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(max_codepoint=0x7E), max_size=20), min_size=300, max_size=400))
def test_thousands_of_names_compile(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    table = build(Results(tuple(run(name, model=name, R_1=1.0) for name in names)))
    rows = latex(table).split("\\midrule\n", 1)[1].splitlines()
    body = [line for line in rows if line.endswith("\\\\") and not line.startswith("\\multi") and " & " in line][: len(names)]
    text = "\n".join(f"\\begin{{tabular}}{{llllrrrr}}\n{line}\n\\end{{tabular}}\n" for line in body)
    compiled(tmp_path_factory.mktemp("tex"), [text])


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table")
    write_json(evaluated(captions=1), path / "a.json")
    write_json(evaluated(seed=1, captions=1, model="other"), path / "b.json")
    write_json(example(), path / "example.json")
    return path


def test_differences_and_tests_are_those_of_compare(folder: Path) -> None:
    done = nclbench("compare", "a.json", "-m", "R@1", "--json", cwd=folder)
    wanted = {(each["direction"], each["spec"]): each for each in json.loads(done.stdout)["comparisons"]}
    done = nclbench("table", "a.json", "--cols", "R@1", "--delta", "none", "--significance", "-f", "csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in csv.DictReader(io.StringIO(done.stdout)) if line["spec"] != "none"]
    for direction in ("t2v", "v2t"):
        each = wanted[direction, line["spec"]]
        assert float(line[f"{direction}.R@1 difference"]) == pytest.approx(each["difference"])
        assert float(line[f"{direction}.R@1 p (Holm)"]) == each["adjusted"]
        assert line[f"{direction}.R@1 significant"] == str(each["significant"]).lower()
    done = nclbench("table", "a.json", "b.json", "--delta", "model", "--intervals", "-m", "R@1", "-f", "md", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "differences are from the rows of model" in done.stdout
    assert re.search(r"\| other .* [+-]\d+\.\d \\\[\d+\.\d to \d+\.\d\\\] \|", done.stdout)


def test_differences_are_of_like_things_or_not_given(folder: Path, tmp_path: Path) -> None:
    """A model that was evaluated on another dataset, or under another tie rule, has no difference, and a note says so."""
    other = evaluated(seed=1, captions=1, model="other")
    for name, runs in (
        ("set", [replace(each, dataset="another") for each in other.runs]),
        ("ties", [replace(each, options={"ties": "optimistic"}) for each in other.runs]),
    ):
        write_json(replace(other, runs=tuple(runs)), tmp_path / f"{name}.json")
        done = nclbench("table", str(folder / "b.json"), str(folder / "a.json"), str(tmp_path / f"{name}.json"), "--delta",
                        "model", "-m", "R@1", "-f", "csv")  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = [line for line in csv.DictReader(io.StringIO(done.stdout)) if line["model"] == "other"]
        given = [bool(line["R@1 difference"]) for line in lines]
        assert given.count(True) == given.count(False) == len(other.runs)
        notes = done.stderr.splitlines()
        assert len(notes) == len(other.runs) and all("no difference, the rows are of" in note for note in notes)
        alone = nclbench("table", str(folder / "a.json"), str(tmp_path / f"{name}.json"), "--delta", "model", "-q")
        assert (alone.returncode, alone.stdout) == (2, "") and "nothing to compare" in alone.stderr


def test_every_format_is_the_same_bytes_twice(folder: Path) -> None:
    for format in ("table", "md", "csv", "html", "latex", "json"):
        command = ["table", "a.json", "--delta", "none", "--significance", "-m", "R@1", "-f", format]
        found = {nclbench(*command, cwd=folder, SOURCE_DATE_EPOCH=date).stdout for date in ("0", "1")}
        assert len(found) == 1 and found != {""}


def test_check_says_where_a_committed_table_differs(folder: Path) -> None:
    assert nclbench("table", "a.json", "-o", "t.tex", cwd=folder).returncode == 0
    done = nclbench("table", "a.json", "--check", "t.tex", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = (folder / "t.tex").read_text().splitlines()
    lines[4] += " "
    (folder / "t.tex").write_text("\n".join(lines))
    done = nclbench("table", "a.json", "--check", "t.tex", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "t.tex: differs from the results, first in line 5; write it again with -o t.tex\n"
    assert nclbench("table", "a.json", "--check", "none.tex", cwd=folder).returncode == 4
    assert nclbench("table", "b.json", "--check", "t.tex", cwd=folder).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--siunitx", "-f", "md"], "--siunitx is for LaTeX"),
        (["--label", "x", "-f", "latex"], "add --float"),
        (["--cols", "R@1", "-m", "R@5"], "--cols names the metrics"),
        (["--check", "t.tex", "-o", "t.tex"], "--check writes nothing"),
        (["--rows", "color"], "unknown label 'color'"),
        (["--delta", "sinkhorn"], "--baseline 'sinkhorn' is none of"),
        (["-f", "htm"], "did you mean 'html'"),
        (["--json", "-o", "t.tex"], "-o t.tex and --json contradict each other"),
        (["-f", "csv", "-o", "t.json"], "-o t.json and -f csv contradict each other"),
        (["-f", "md", "--check", "t.tex"], "-o t.tex and -f md contradict each other"),
    ],
)
def test_mistakes_get_one_line(folder: Path, arguments: list[str], words: str) -> None:
    done = nclbench("table", "a.json", *arguments, cwd=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert words in done.stderr


@pytest.mark.parametrize("command", [("table",), ("compare",), ("gate", "--threshold", "R@1>=1")])
def test_a_folder_or_no_runs_get_one_line(folder: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    write_json(Results(()), tmp_path / "none.json")
    (tmp_path / "out").mkdir()
    write_json(example(), tmp_path / "out" / "results.json")
    for path, words in (
        (".", ".: a folder; give a results file"),
        ("", ".: a folder; give a results file"),
        ("out", "out: a folder; give a results file, as out/results.json"),
        ("none.json", "none.json: no runs in it"),
    ):
        done = nclbench(*command, path, cwd=tmp_path)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1), done.stderr
        assert words in done.stderr


@pytest.mark.parametrize("format", ["md", "csv", "json", "html"])
@pytest.mark.parametrize("cols", [[], ["--cols", "R@1", "--delta", "none"]])
def test_nothing_heavy_is_imported(folder: Path, format: str, cols: list[str]) -> None:
    code = (
        f"import sys; sys.argv[1:] = ['table', 'a.json', '-f', {format!r}, *{cols!r}]\n"
        "import nclbench.cli\ntry: nclbench.cli.main()\nexcept SystemExit as end: assert not end.code\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'h5py', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_diagnostics_have_columns_but_no_tests(folder: Path, tmp_path: Path) -> None:
    overlap = {"overlap@10": {"value": 0.5, "unit": "fraction"}}
    found = Results(tuple(replace(each, diagnostics=overlap) for each in evaluated(captions=1).runs))
    table = pivot(found, None, ["overlap@10"])
    assert {cell.text for row in table.rows for cell in row.cells} == {"0.500"}
    assert Value(0.5, "fraction", 0, 0.5, 0.5).low is None

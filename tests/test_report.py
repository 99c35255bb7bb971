"""Tables and dialects: whole texts, the rules of best and second best, and hostile names in every format."""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from nclbench.cli.terminal import show, stdout_console
from nclbench.errors import UsageError
from nclbench.files import printable
from nclbench.report import FORMATS, render
from nclbench.report.latex import escape as latex_escape
from nclbench.report.table import build
from nclbench.results import Applied, Convergence, Results, Run, Value

UNITS = {"MdR": "rank", "MnR": "rank", "p.under": "fraction"}


def run(
    spec: str = "none",
    direction: str = "t2v",
    *,
    fitted_on: str = "nothing",
    unavailable: str | None = None,
    spread: float = 0.0,
    dataset: str = "msrvtt-1ka",
    model: str = "clip_b32",
    end: Convergence | None = None,
    oracle: bool = False,
    protocol: str = "",
    options: dict[str, str] | None = None,
    **figures: float,
) -> Run:
    """A run by hand. figures: metrics with `_` for `@`; spread: how far the tie orders of R@1 reach, both ways."""
    named = {name.replace("_", "@"): value for name, value in figures.items()}
    values = {
        name: Value(
            value,
            UNITS.get(name, "percent"),
            1000,
            value + spread * (name == "R@1"),
            value - spread * (name == "R@1"),
        )
        for name, value in named.items()
    }
    transductive = fitted_on == "test-queries"
    return Run(
        dataset=dataset,
        split="test",
        model=model,
        direction=direction,
        protocol=protocol or ("queries" if direction == "t2v" else "captions"),
        operator=Applied(spec, spec.partition(":")[0], {}, fitted_on, transductive, unavailable),
        scorer="cosine",
        metrics={} if unavailable else values,
        signature=f"{direction}|op:{spec}|transductive:{'yes' if transductive else 'no'}",
        ties={"queries": 12, "items": 13} if spread else {},
        convergence=end,
        oracle=oracle,
        options=options or {},
    )


def example() -> Results:
    """Two operators fitted on a bank, one of them n/a in v2t, and two transductive rows, both ways."""
    sinkhorn = "sinkhorn:tau=0.01"
    return Results(
        (
            run(R_1=48.0, R_5=73.0, MdR=2.0, MnR=13.129),
            run("csls:k=10", fitted_on="query-bank", R_1=49.04, R_5=72.5, MdR=2.0, MnR=12.9),
            run(
                sinkhorn,
                fitted_on="test-queries",
                end=Convergence(132, 9.6e-5, True),
                R_1=53.9,
                R_5=78.0,
                MdR=1.0,
                MnR=9.8,
            ),
            run("dsl", fitted_on="test-queries", R_1=53.9, R_5=77.0, MdR=1.0, MnR=9.9),
            run(direction="v2t", spread=0.2, R_1=45.8, R_5=74.1, MdR=2.0, MnR=8.7),
            run("csls:k=10", "v2t", unavailable="v2t needs an item bank | and there is none"),
            run(
                sinkhorn,
                "v2t",
                fitted_on="test-queries",
                end=Convergence(1000, 0.012, False),
                spread=0.2,
                R_1=53.0,
                R_5=79.2,
                MdR=1.0,
                MnR=7.7,
            ),
        )
    )


MARKDOWN = """\
dataset msrvtt-1ka, split test, model clip_b32, scorer cosine

**t2v**

| operator                | fitted on    |         R@1 |         R@5 |     MdR |         MnR |
| ----------------------- | ------------ | ----------: | ----------: | ------: | ----------: |
| none                    | nothing      | <u>48.0</u> |    **73.0** | **2.0** | <u>13.1</u> |
| csls:k=10               | query-bank   |    **49.0** | <u>72.5</u> | **2.0** |    **12.9** |
| sinkhorn:tau=0.01 † (1) | test-queries |    **53.9** |    **78.0** | **1.0** |     **9.8** |
| dsl †                   | test-queries |    **53.9** | <u>77.0</u> | **1.0** |  <u>9.9</u> |

**v2t**

| operator                | fitted on    |         R@1 |         R@5 |     MdR |         MnR |
| ----------------------- | ------------ | ----------: | ----------: | ------: | ----------: |
| none (2)                | nothing      |        45.8 |        74.1 |     2.0 |         8.7 |
| csls:k=10 (3)           | nothing      |         n/a |         n/a |     n/a |         n/a |
| sinkhorn:tau=0.01 † (4) | test-queries |        53.0 |        79.2 |     1.0 |         7.7 |

- **best** and <u>second best</u> by unrounded value, † rows apart; ties share the mark
- † transductive: fitted on the test queries together; ranked apart
- (1) converged, 132 iterations, marginal error 9.6e-05
- (2) R@1 between 45.6 and 46.0 over tie orders; 12 tied queries
- (3) n/a: v2t needs an item bank \\| and there is none
- (4) NOT converged, 1000 iterations, marginal error 0.012; R@1 between 52.8 and 53.2 over tie orders; 12 tied queries

```text
t2v|op:none|transductive:no
t2v|op:csls:k=10|transductive:no
t2v|op:sinkhorn:tau=0.01|transductive:yes
t2v|op:dsl|transductive:yes
v2t|op:none|transductive:no
v2t|op:csls:k=10|transductive:no
v2t|op:sinkhorn:tau=0.01|transductive:yes
```
"""

LATEX = r"""% needs booktabs
% dataset msrvtt-1ka, split test, model clip_b32, scorer cosine
% t2v|op:none|transductive:no
% t2v|op:csls:k=10|transductive:no
% t2v|op:sinkhorn:tau=0.01|transductive:yes
% t2v|op:dsl|transductive:yes
% v2t|op:none|transductive:no
% v2t|op:csls:k=10|transductive:no
% v2t|op:sinkhorn:tau=0.01|transductive:yes
\begin{tabular}{llrrrr}
\toprule
operator & fitted on & R@1 & R@5 & MdR & MnR \\
\midrule
\multicolumn{6}{@{}l}{\emph{t2v}} \\
none & nothing & \underline{48.0} & \textbf{73.0} & \textbf{2.0} & \underline{13.1} \\
csls:k=10 & query-bank & \textbf{49.0} & \underline{72.5} & \textbf{2.0} & \textbf{12.9} \\
\cmidrule{1-6}
sinkhorn:tau=0.01$^{\dagger,1}$ & test-queries & \textbf{53.9} & \textbf{78.0} & \textbf{1.0} & \textbf{9.8} \\
dsl$^\dagger$ & test-queries & \textbf{53.9} & \underline{77.0} & \textbf{1.0} & \underline{9.9} \\
\midrule
\multicolumn{6}{@{}l}{\emph{v2t}} \\
none$^{2}$ & nothing & 45.8 & 74.1 & 2.0 & 8.7 \\
csls:k=10$^{3}$ & nothing & n/a & n/a & n/a & n/a \\
\cmidrule{1-6}
sinkhorn:tau=0.01$^{\dagger,4}$ & test-queries & 53.0 & 79.2 & 1.0 & 7.7 \\
\bottomrule
\end{tabular}%
\ifinner\else\par\smallskip\noindent\parbox{\linewidth}{\footnotesize\raggedright
\textbf{Best} and \underline{second best} by unrounded value, $^\dagger$ rows apart; ties share the mark\\
$^\dagger$ transductive: fitted on the test queries together; ranked apart\\
$^{1}$ converged, 132 iterations, marginal error 9.6e-05\\
$^{2}$ R@1 between 45.6 and 46.0 over tie orders; 12 tied queries\\
$^{3}$ n/a: v2t needs an item bank \textbar{} and there is none\\
$^{4}$ NOT converged, 1000 iterations, marginal error 0.012; R@1 between 52.8 and 53.2 over tie orders; 12 tied queries}\fi%
"""  # noqa: E501

CSV = """\
dataset,split,model,scorer,direction,protocol,spec,fitted_on,standing,R@1,R@5,MdR,MnR,unavailable,remark,signature
msrvtt-1ka,test,clip_b32,cosine,t2v,queries,none,nothing,inductive,48.0,73.0,2.0,13.129,,,t2v|op:none|transductive:no
msrvtt-1ka,test,clip_b32,cosine,t2v,queries,csls:k=10,query-bank,inductive,49.04,72.5,2.0,12.9,,,t2v|op:csls:k=10|transductive:no
msrvtt-1ka,test,clip_b32,cosine,t2v,queries,sinkhorn:tau=0.01,test-queries,transductive,53.9,78.0,1.0,9.8,,"converged, 132 iterations, marginal error 9.6e-05",t2v|op:sinkhorn:tau=0.01|transductive:yes
msrvtt-1ka,test,clip_b32,cosine,t2v,queries,dsl,test-queries,transductive,53.9,77.0,1.0,9.9,,,t2v|op:dsl|transductive:yes
msrvtt-1ka,test,clip_b32,cosine,v2t,captions,none,nothing,inductive,45.8,74.1,2.0,8.7,,R@1 between 45.6 and 46.0 over tie orders; 12 tied queries,v2t|op:none|transductive:no
msrvtt-1ka,test,clip_b32,cosine,v2t,captions,csls:k=10,nothing,inductive,,,,,v2t needs an item bank | and there is none,n/a: v2t needs an item bank | and there is none,v2t|op:csls:k=10|transductive:no
msrvtt-1ka,test,clip_b32,cosine,v2t,captions,sinkhorn:tau=0.01,test-queries,transductive,53.0,79.2,1.0,7.7,,"NOT converged, 1000 iterations, marginal error 0.012; R@1 between 52.8 and 53.2 over tie orders; 12 tied queries",v2t|op:sinkhorn:tau=0.01|transductive:yes
"""  # noqa: E501

TERMINAL = """\
dataset msrvtt-1ka, split test, model clip_b32, scorer cosine

t2v
operator                 fitted on        R@1     R@5    MdR     MnR
────────────────────────────────────────────────────────────────────
none                     nothing       _48.0_  *73.0*  *2.0*  _13.1_
csls:k=10                query-bank    *49.0*  _72.5_  *2.0*  *12.9*
╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
sinkhorn:tau=0.01 † (1)  test-queries  *53.9*  *78.0*  *1.0*   *9.8*
dsl †                    test-queries  *53.9*  _77.0_  *1.0*   _9.9_

v2t
operator                 fitted on        R@1     R@5    MdR     MnR
────────────────────────────────────────────────────────────────────
none (2)                 nothing         45.8    74.1    2.0     8.7
csls:k=10 (3)            nothing          n/a     n/a    n/a     n/a
╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌
sinkhorn:tau=0.01 † (4)  test-queries    53.0    79.2    1.0     7.7

*best* and _second best_ by unrounded value, † rows apart; ties share the mark
† transductive: fitted on the test queries together; ranked apart
(1) converged, 132 iterations, marginal error 9.6e-05
(2) R@1 between 45.6 and 46.0 over tie orders; 12 tied queries
(3) n/a: v2t needs an item bank | and there is none
(4) NOT converged, 1000 iterations, marginal error 0.012; R@1 between 52.8 and
    53.2 over tie orders; 12 tied queries

t2v|op:none|transductive:no
t2v|op:csls:k=10|transductive:no
t2v|op:sinkhorn:tau=0.01|transductive:yes
t2v|op:dsl|transductive:yes
v2t|op:none|transductive:no
v2t|op:csls:k=10|transductive:no
v2t|op:sinkhorn:tau=0.01|transductive:yes
"""


def shown(results: Results, **options: object) -> str:
    stream = io.StringIO()
    show(build(results), Console(file=stream, **{"width": 80, **options}))  # type: ignore[arg-type]
    return stream.getvalue()


def marks(results: Results, metric: str = "R@1") -> dict[str, str]:
    return {row.spec: row.cells[0].mark for row in build(results, metrics=[metric]).rows}


@pytest.mark.parametrize(("format", "expected"), [("md", MARKDOWN), ("latex", LATEX), ("csv", CSV)])
def test_dialects_are_exactly_this(format: str, expected: str) -> None:
    assert render(example(), format) == expected
    assert render(example(), format) == render([example()], format)


def test_terminal_is_exactly_this() -> None:
    assert shown(example()) == TERMINAL


def test_json_is_the_results_themselves() -> None:
    text = render(example(), "json")
    assert Results.from_json(json.loads(text)) == example()
    assert len(json.loads(render([example(), example()], "json"))["runs"]) == 14


def test_unknown_formats_and_metrics_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"unknown format 'latx'; did you mean 'latex'\?"):
        render(example(), "latx")
    with pytest.raises(UsageError, match=r"no run has a metric 'R@2'; did you mean 'R@"):
        render(example(), "md", metrics=["R@2"])


def test_columns_follow_the_request_the_defaults_and_the_diagnostics() -> None:
    assert build(example(), metrics=["MnR", "R@1"]).metrics == ("MnR", "R@1")
    assert build(Results((run(mAP=1.0, Rsum=3.0),))).metrics == ("mAP", "Rsum")
    bare = run()
    overlap = {"overlap@10": {"value": 0.51234, "unit": "fraction"}, "top": [1]}
    unlabelled = replace(bare, diagnostics=overlap)
    table = build(Results((unlabelled, unlabelled)))
    assert table.metrics == ("overlap@10",)
    assert [(row.cells[0].text, row.cells[0].mark) for row in table.rows] == [("0.512", "")] * 2
    assert build(Results((replace(run(mAP=1.0), diagnostics=overlap),))).metrics == ("mAP",)
    assert [cell.text for cell in build(Results((bare,))).rows[0].cells] == ["–"] * 5


def test_best_and_second_go_by_unrounded_values_and_ties_share() -> None:
    near = Results((run("a", R_1=48.04), run("b", R_1=48.01), run("c", R_1=48.04), run("d", R_1=10.0)))
    assert marks(near) == {"a": "best", "b": "second", "c": "best", "d": ""}
    ranks = Results((run("a", MnR=9.0), run("b", MnR=7.0), run("c", MnR=8.0)))
    assert marks(ranks, "MnR") == {"a": "", "b": "best", "c": "second"}


def test_nothing_is_marked_where_nothing_competes() -> None:
    assert marks(Results((run("a", R_1=1.0),))) == {"a": ""}
    assert marks(Results((run("a", R_1=1.0), run("b", unavailable="no bank")))) == {"a": "", "b": ""}
    assert marks(Results((run("a", R_1=1.0), run("b", R_1=float("nan"))))) == {"a": "", "b": ""}
    assert build(Results((run("a", R_1=1.0),))).legend == ""


def test_best_is_never_chosen_across_the_line() -> None:
    table = build(
        Results(
            (
                run("t1", fitted_on="test-queries", R_1=90.0),
                run("raw", R_1=40.0),
                run("t2", fitted_on="test-queries", R_1=80.0),
                run("bank", fitted_on="query-bank", R_1=41.0),
                run("seen", R_1=99.0, oracle=True),
                run("folds", fitted_on="test-folds(5)", R_1=95.0),
            )
        )
    )
    assert [[row.spec for row in block] for block in table.groups[0].blocks] == [
        ["raw", "bank"],
        ["folds"],
        ["t1", "t2"],
        ["seen"],
    ]
    assert [(row.spec, row.signs, row.cells[0].mark) for row in table.rows] == [
        ("raw", (), "second"),
        ("bank", (), "best"),
        ("folds", ("§",), ""),
        ("t1", ("†",), "best"),
        ("t2", ("†",), "second"),
        ("seen", ("‡",), ""),
    ]
    assert [note.sign for note in table.notes] == ["§", "†", "‡"]


def test_datasets_do_not_compete_and_get_a_column() -> None:
    msvd = (run(dataset="msvd", R_1=50.0), run("b", dataset="msvd", R_1=51.0))
    table = build(Results((run(R_1=40.0), msvd[0], run("b", R_1=39.0), msvd[1])))
    assert table.labels == ("dataset", "spec", "fitted_on")
    assert table.caption == "split test, model clip_b32, scorer cosine"
    assert [(row.dataset, row.spec, row.cells[0].mark) for row in table.rows] == [
        ("msrvtt-1ka", "none", "best"),
        ("msrvtt-1ka", "b", "second"),
        ("msvd", "none", "second"),
        ("msvd", "b", "best"),
    ]


def test_directions_stand_in_order_with_their_protocol() -> None:
    runs = (run(direction="v2t", protocol="videos", R_1=1.0), run(direction="v2t", R_1=1.0), run(R_1=1.0))
    assert [group.title for group in build(Results(runs)).groups] == [
        "t2v",
        "v2t (best caption among all captions)",
        "v2t-videos (best caption per video, among videos)",
    ]


def test_a_tie_rule_that_is_not_the_default_is_said() -> None:
    assert build(Results((run(R_1=1.0, options={"ties": "clip4clip"}),))).caption.endswith("ties clip4clip")


def test_decimals_of_percent_ranks_and_fractions() -> None:
    results = Results((run(R_1=48.04, MnR=13.129),))
    assert [cell.text for cell in build(results, decimals=2).rows[0].cells] == ["48.04", "13.13"]
    fraction = replace(run(), metrics={"p.under": Value(0.12345, "fraction", 9, 0.2, 0.1)})
    row = build(Results((fraction,))).rows[0]
    assert (row.cells[0].text, row.remark) == ("0.123", "p.under between 0.100 and 0.200 over tie orders")


hostile = st.text(st.characters() | st.sampled_from("\\{}&%$#_^~|`*[]<>\"'-=+@\t\r\n\x1b\x9b\u202e,;:/"), max_size=30)
TOKENS = re.compile(
    r"(\\textbackslash|\\textasciitilde|\\textasciicircum|\\textless|\\textgreater|\\textbar|\\char34|\\char96"
    r"|\\textendash)\{\}|\\([&%$#_{}])|\{([\[\]*])\}|([-',])\{\}(?=\4)|([^\\{}&%$#_~^\[\]*<>|\"`])"
)
NAMED = {r"\textasciitilde": "~", r"\textasciicircum": "^", r"\textless": "<", r"\textgreater": ">", r"\textbar": "|"}
NAMED |= {r"\textbackslash": "\\", r"\textendash": "–", r"\char34": '"', r"\char96": "`"}


def unlatex(text: str) -> str:
    """The text that LaTeX would set; fails on anything but the escapes that are allowed."""
    found, at = "", 0
    while at < len(text):
        match = TOKENS.match(text, at)
        assert match, f"raw LaTeX at {text[at:]!r}"
        found += NAMED.get(match[1], "") + "".join(filter(None, match.groups()[1:]))
        at = match.end()
    return found


@settings(max_examples=300, deadline=None)
@given(hostile, hostile)
def test_hostile_names_stay_text_in_csv_markdown_json_and_latex(spec: str, model: str) -> None:
    results = Results((run(spec, model=model, R_1=1.0), run(model="other", unavailable=model)))
    name, safe = printable(model), printable(spec)

    text = render(results, "csv")
    line = list(csv.DictReader(io.StringIO(text, newline="")))[0]
    for column, wanted in (("model", name), ("spec", safe)):
        assert line[column] == (f"'{wanted}" if wanted.startswith(("=", "+", "-", "@")) else wanted)
    assert all(c.isprintable() or c == "\n" for c in text)

    text = render(results, "md")
    assert all(c.isprintable() or c == "\n" for c in text)
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert len(rows) == 4 or model == "other"
    assert {len(re.findall(r"(?:\\.|[^\\|])+", line)) for line in rows} == {3 + (model != "other")}
    assert all(re.fullmatch(r"(?:\\.|[^\\<`$]|<u>|</u>)*", line) for line in rows)

    text = render(results, "json")
    assert all(c.isprintable() or c == "\n" for c in text)
    assert json.loads(text)["runs"][0]["operator"]["spec"] == spec

    assert unlatex(latex_escape(name)) == name.replace("\ufffd", "?")
    assert all(c.isprintable() for c in latex_escape(model))
    unlatex(latex_escape(model))


@settings(max_examples=30, deadline=None)
@given(hostile)
def test_hostile_names_do_not_change_the_shape_of_latex(spec: str) -> None:
    lines = render(Results((run(spec, R_1=1.0), run("b", R_1=2.0))), "latex").splitlines()
    body = lines[lines.index(r"\midrule") + 2 : lines.index(r"\bottomrule")]
    second, best = r" & nothing & \underline{1.0} \\", r"b & nothing & \textbf{2.0} \\"
    assert body == [latex_escape(printable(spec)) + second, best]
    before = lines[: lines.index(r"\begin{tabular}{llr}")]
    assert all(line.startswith("% ") for line in before)


@settings(max_examples=100, deadline=None)
@given(hostile, st.integers(20, 120))
def test_hostile_names_reach_no_terminal_and_figures_are_never_cut(spec: str, width: int) -> None:
    text = shown(Results((run(spec, R_1=12.3, R_5=45.6, MnR=13.1), run("b", R_1=9.8))), width=width)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert all(figure in text for figure in ("12.3", "45.6", "13.1", "9.8"))
    plain = shown(Results((run("[/bold][red]x[/] \x1b[31m :smile:", R_1=1.0),)), force_terminal=True)
    assert "[/bold][red]x[/] \ufffd[31m :smile:" in plain


@pytest.mark.parametrize(
    ("env", "tty", "wanted", "refused"),
    [
        ({}, False, [], ["\x1b"]),
        ({"GITHUB_ACTIONS": "true", "PY_COLORS": "1", "TTY_COMPATIBLE": "1"}, False, [], ["\x1b"]),
        ({"FORCE_COLOR": "1"}, False, ["\x1b[1m", "36m"], []),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, [], ["\x1b"]),
        ({}, True, ["\x1b[1m", "\x1b[4m", "36m"], []),
        ({"NO_COLOR": "1"}, True, ["\x1b[1m", "\x1b[4m"], ["36m"]),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    env: dict[str, str], tty: bool, wanted: list[str], refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "COLORTERM", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **env}.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: tty)
    monkeypatch.setattr(sys, "stdout", stream)
    show(build(example()), stdout_console())
    assert all(code in stream.getvalue() for code in wanted)
    assert not any(code in stream.getvalue() for code in refused)
    assert tty or max(map(len, stream.getvalue().splitlines())) > 80, "a pipe is not wrapped"


def test_text_formats_need_no_heavy_import() -> None:
    code = (
        "import sys; from nclbench.results import Results; from nclbench.report import FORMATS, render\n"
        "for format in FORMATS: format == 'latex' or render(Results(()), format)\n"
        "print([name for name in ('torch', 'pandas', 'rich', 'scipy', 'jinja2', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("format", FORMATS)
def test_no_run_at_all_is_an_empty_table(format: str) -> None:
    assert render(Results(()), format).endswith("\n")


def test_folds_beside_another_bank_stand_apart_and_oracle_rows_keep_their_dagger() -> None:
    runs = (run(R_1=1.0), run("dbsn", fitted_on="item-bank+test-folds(5)", R_1=2.0))
    (group,) = build(Results(runs)).groups
    assert [[row.standing for row in block] for block in group.blocks] == [["inductive"], ["folds"]]
    seen = run("csls", fitted_on="test-queries", R_1=3.0)
    table = build(Results((replace(seen, oracle=True),)))
    assert table.groups[0].blocks[0][0].signs == ("‡", "†")
    assert {note.sign for note in table.notes} == {"‡", "†"}

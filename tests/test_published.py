"""Published rows: each is the one that was read, cited, marked where its protocol differs, and never ranked."""

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import run as nclbench
from test_report import run
from test_table import Page, compiled

from nclbench.errors import InputError, UsageError
from nclbench.report import dialect
from nclbench.report.latex import Layout
from nclbench.report.latex import render as latex
from nclbench.report.pivot import pivot
from nclbench.report.published import SIGN, cited, with_published
from nclbench.report.table import build
from nclbench.reported import Reported
from nclbench.results import Results
from nclbench.sinks.results import write_json
from nclbench.sources import datasets
from nclbench.sources.published import bibtex, placed, references

ROOT = Path(__file__).parents[1]
READ = ROOT.parent / "shared" / "reference" / "published_results.csv"
ROWS = [(name, row) for name in datasets.names() for row in datasets.get(name).published]
NAMED = {
    "flickr30k": ("flickr30k",), "coco-5k": ("mscoco", "mscoco_captions"),
    **dict.fromkeys(("msrvtt-1ka", "msrvtt-1kb", "msrvtt-full"), ("msrvtt",)),
}  # fmt: skip
SPLITS = {
    "msrvtt-1ka": ("1k-A", "1k-A (9k train)", "1k-A (7k train)"), "msrvtt-1kb": ("1k-B",), "msrvtt-full": ("Full",),
    "coco-5k": ("5k", "test"), "vatex": ("Full", "test", "Vatex (English) HGR split", "Vatex (English) random 1k5 split"),
}  # fmt: skip
SAID = {
    "none": ("none", "none (training-caption denoising)"), "QB-Norm": ("QB-Norm",), "DSL": ("DSL (train and test)",),
    "IS": ("inverted softmax",), "unknown": ("not stated",),
}  # fmt: skip


def results(dataset: str = "msrvtt-1ka", **more: float) -> Results:
    runs = [run(spec, way, dataset=dataset, R_1=40.0 + at, R_5=70.0) for way in ("t2v", "v2t") for at, spec in enumerate("ab")]
    return Results(tuple(runs))


def specs(found: Results) -> dict[str, str]:
    """What is said of each method's protocol in t2v."""
    return {each.row.method: "; ".join(each.differs) for each in placed(found.runs) if each.row.direction == "t2v"}


# --- what is shipped ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not READ.is_file(), reason="the table of what was read is not on this machine")
def test_every_row_is_one_that_was_read() -> None:
    left = Counter()
    with READ.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            figures = tuple((name, float(line[name])) for name in ("R@1", "R@5", "R@10", "MdR", "MnR") if line[name])
            way = "t2v" if line["direction"].startswith("t") else "v2t"
            # one source is said in other words than it was noted in
            source = line["source"] if "X-CLIP abstract" not in line["source"] else "abstract of arXiv:2207.07285"
            key = (line["method"], line["backbone"], line["dataset"].lower(), line["split"], way, line["postproc"], figures)
            left[*key, source, line["kind"]] += 1
    for name, row in ROWS:
        fits = [
            key
            for key, count in left.items()
            if count
            and key[:2] == (row.method, row.backbone)
            and key[2] in NAMED.get(name, (name,))
            and key[3] in SPLITS.get(name, ("Full", "test", "test 1k", "val1"))
            and key[4] == row.direction
            and key[5] in SAID[row.test_norm]
            and dict(key[6]) == dict(row.metrics)
            and key[7] == row.source
        ]
        assert fits, (name, row)
        assert any(("mean of 3 runs" in key[8]) == ("mean of 3 runs" in row.note) for key in fits), row
        left[fits[0]] -= 1
    kinds = {key[8] for key, count in left.items() if count and key[3] != "see source" and key[2] not in ("queryd", "flickr8k")}
    assert kinds == {"measured here", "user report in issue", "paper abstract"}


def test_the_documentation_counts_them() -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    counts = Counter(name for name, _ in ROWS)
    assert dict(re.findall(r"^\| `([\w-]+)` \| (\d+) \|$", page, re.M)) == {name: str(n) for name, n in counts.items()}
    assert f" {len(ROWS)} rows with source" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_key_has_an_entry_and_every_entry_a_row() -> None:
    assert {row.key for _, row in ROWS} == set(references())
    for key, entry in references().items():
        assert re.match(rf"@(inproceedings|article|misc)\{{{key},\n", entry)
        assert entry.count("{") == entry.count("}") and entry.endswith("\n}\n")
        assert {"author", "title"} <= set(re.findall(r"^  (\w+) = ", entry, re.M))
    assert bibtex(["yang2024dgl", "liu2019ce", "liu2019ce"]) == references()["liu2019ce"] + "\n" + references()["yang2024dgl"]


def test_rows_without_provenance_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "datasets_meta" / "msrvtt-1kb.toml").read_text(encoding="utf-8")
    source = 'source = "github albanie/collaborative-experts@7eb3b9d README.md"'
    last = "[[published]]" + text.rsplit("[[published]]", 1)[1]
    assert last.count(source) == 1
    for new, message in (
        (last.replace(source, ""), r"published\[3\]: key 'source' is missing"),
        (last.replace(source, 'source = " "'), "source is empty: rows of unknown provenance"),
        (last.replace('"none"', '"dls"'), "unknown test_norm 'dls'"),
        (last.replace('"test"', '"tset"'), "published: no split 'tset'; did you mean 'test'"),
        (last.replace("R@1", "R@2"), "unknown metric 'R@2'"),
        (last.replace('"R@1" = ', '"R@1" = "x", "R@50" = '), "metrics: R@1: found 'x', expected float"),
        (last.replace("liu2019ce", "liu}2019"), "is no BibTeX key"),
        (f"{last}\n{last}", "stands there twice"),
    ):
        path = tmp_path / "msrvtt-1kb.toml"
        path.write_text(text.replace(last, new), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            datasets.read(path)


# --- what differs -------------------------------------------------------------------------------------------------


def test_protocols_are_compared() -> None:
    said = specs(results())
    assert said["TS2-Net"].startswith("inverted softmax at test time")
    assert said["X-CLIP"] == "test-time normalisation not stated"
    assert said["CAMoE"] == "DSL at test time, over all test queries together (transductive)"
    assert said["DRL WTI+seqTransf"] == said["HBI"] == ""
    assert set(specs(Results(tuple(replace(each, split="val") for each in results().runs))).values()) >= {
        "split test, not val",
        "DSL at test time, over all test queries together (transductive); split test, not val",
    }
    larger = tuple(replace(each, signature=f"{each.direction}|q:1000|g:5000|op:a") for each in results().runs)
    assert specs(Results(larger))["HBI"] == "gallery of 1,000 items (test), not 5000"
    assert specs(results("msvd"))["X-Pool"] == "27,763 queries in t2v (test), not 1,000"
    assert specs(results("vatex"))["TS2-Net"] == "the source does not say which split or list of items"
    assert specs(results("msrvtt-full"))["MDMMT"] == "59,800 queries in t2v (test), not 1,000"


def test_an_unstated_v2t_protocol_matters_where_items_have_several_captions() -> None:
    def v2t(name: str) -> set[str]:
        return {text for each in placed(results(name).runs) if each.row.direction == "v2t" for text in each.differs}

    assert "v2t protocol not stated" in v2t("flickr30k")
    assert v2t("msrvtt-1ka") == {"DSL at test time, over all test queries together (transductive)"}


def test_the_stated_v2t_protocol_is_held_against_that_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Reported("M", "test", "v2t", "none", {"R@1": 50.0}, "liu2019ce", "s", v2t_protocol="videos")
    own = replace(datasets.get("flickr30k"), published=(row,))
    monkeypatch.setattr(datasets, "get", lambda name: own)
    captions, videos = (run(direction="v2t", protocol=name, dataset="flickr30k", R_1=1.0) for name in ("captions", "videos"))
    (alone,) = placed([captions])
    assert (alone.selector, alone.differs) == ("v2t", ("v2t among videos, not among captions",))
    (both,) = placed([captions, videos])
    assert (both.selector, both.differs) == ("v2t-videos", ())


def test_unknown_datasets_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--with-published: unknown dataset 'msrvtt-1k0'; did you mean 'msrvtt-1k"):
        placed(results("msrvtt-1k0").runs)
    with pytest.raises(UsageError, match="--with-published: no reported row of youcook2"):
        placed(results("youcook2").runs)


# --- tables -------------------------------------------------------------------------------------------------------


def test_rows_stand_in_groups_of_their_own_and_move_no_marks() -> None:
    own = build(results())
    table = with_published(own, placed(results().runs))
    assert [group.title for group in table.groups] == ["t2v", "v2t", "t2v, published", "v2t, published"]
    assert table.groups[:2] == own.groups and table.legend == own.legend
    added = [row for group in table.groups[2:] for block in group.blocks for row in block]
    assert {cell.mark for row in added for cell in row.cells} == {""}
    assert max(row.cells[0].value or 0 for row in added) > 41.0, "they would have been the best"
    assert {row.standing for row in added} == {"published"}
    assert table.labels == ("model", "backbone", "cited", "spec", "fitted_on")
    for row in added:
        assert (SIGN in row.signs) == (row.spec != "none"), row
    texts = {note.sign: note.text for note in table.notes}
    assert "another protocol" in texts[SIGN]
    (camoe,) = [row for row in added if row.model == "CAMoE" and row.direction == "t2v"]
    assert camoe.signs[0] == "†" and texts["†"].startswith("transductive"), "in every format, of published rows too"
    assert texts[camoe.signs[2]] == camoe.remark
    assert set(cited(table)) == {row.key for name, row in ROWS if name == "msrvtt-1ka"}


def test_only_rows_with_a_figure_are_shown() -> None:
    table = with_published(build(results(), metrics=["R@5"]), placed(results().runs))
    assert "wang2024tmass" not in cited(table) and "wang2022drl" in cited(table)
    none = build(Results((run(nDCG_10=2.0),)))
    without = with_published(none, placed(results().runs))
    assert without.notes[-1].text == "No published row has any of these figures."
    assert replace(without, notes=none.notes) == none


def test_directions_join_in_chosen_columns() -> None:
    table = with_published(pivot(results(), None, ["R@1"]), placed(results().runs))
    assert [group.title for group in table.groups] == ["", "published"]
    rows = {(row.model, row.remark): [cell.text for cell in row.cells] for row in table.groups[1].blocks[0]}
    assert rows["DRL WTI+seqTransf+CDCR", "trained on 9k"] == ["47.6", "45.1"]
    assert rows["HBI", ""] == ["48.2", "–"]
    apart = with_published(pivot(results(), ["model", "operator", "direction"], ["R@1"]), placed(results().runs))
    assert {(row.direction, row.cells[1].text) for row in apart.groups[1].blocks[0] if row.model == "DGL (A100)"} == {
        ("t2v", "–"),
        ("v2t", "43.5"),
    }


def test_two_benchmarks_have_groups_of_their_own() -> None:
    both = Results.joined([results(), results("didemo")])
    table = with_published(build(both), placed(both.runs))
    assert [group.title for group in table.groups[2:4]] == ["t2v, published on msrvtt-1ka", "t2v, published on didemo"]
    assert table.labels[:4] == ("dataset", "model", "backbone", "cited")


def test_figures_have_no_more_places_than_their_source() -> None:
    table = with_published(build(results("msrvtt-full"), decimals=3), placed(results("msrvtt-full").runs), 3)
    rows = {row.model: [cell.text for cell in row.cells] for row in table.rows if row.direction == "t2v"}
    assert (rows["MDMMT"], rows["CE"][0], rows["clip_b32"]) == (["22.87", "49.67"], "10.0", ["41.000", "70.000"])


def test_latex_cites_and_compiles(tmp_path: Path) -> None:
    found = placed(results().runs)
    side = with_published(pivot(results(), None, ["R@1", "R@5"]), found)
    text = latex(with_published(build(results()), found))
    assert r"CAMoE &  & \cite{cheng2021camoe} & DSL$^{\dagger,\P,5}$ & test-queries & 48.8 & \textendash{} \\" in text
    assert r"\emph{t2v, published}" in text
    tables = [text, latex(side), latex(side, Layout(siunitx=True, float=True, caption="c", label="tab:p"))]
    compiled(tmp_path, tables)


def test_html_markdown_and_csv() -> None:
    table = with_published(build(results()), placed(results().runs))
    page = Page(dialect(table, "html"))
    wanted = ["CAMoE", "", "cheng2021camoe", "DSL†,¶,5", "test-queries", "48.8", "–"]
    assert wanted in [[cell.strip() for cell in row] for row in page.rows]
    text = dialect(table, "md")
    assert re.search(r"\| CAMoE +\| +\| cheng2021camoe +\| DSL † ¶ \(5\) +\| test-queries +\| +48\.8 \| +– \|", text)
    assert text.startswith("dataset msrvtt-1ka, split test, scorer cosine\n"), "the model is a column now"
    lines = list(csv.DictReader(io.StringIO(dialect(table, "csv"))))
    (camoe,) = [line for line in lines if line["model"] == "CAMoE" and line["direction"] == "t2v"]
    assert (camoe["standing"], camoe["cited"], camoe["spec"], camoe["R@1"], camoe["R@5"]) == (
        "published", "cheng2021camoe", "DSL", "48.8", "",
    )  # fmt: skip
    assert camoe["remark"].startswith("DSL at test time")
    assert [line["cited"] for line in lines[:4]] == [""] * 4
    pivoted = dialect(with_published(pivot(results(), None, ["R@1"]), placed(results().runs)), "csv")
    assert pivoted.startswith("model,backbone,cited,spec,standing,t2v.R@1,v2t.R@1,")


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published")
    write_json(results(), path / "a.json")
    write_json(results("mine"), path / "mine.json")
    return path


def test_the_command_writes_the_table_and_its_bibliography(folder: Path) -> None:
    done = nclbench("table", "a.json", "--with-published", "--bib", "c.bib", "-o", "t.tex", "-m", "R@5", cwd=folder)
    assert (done.returncode, done.stderr.splitlines()) == (0, ["wrote c.bib", "wrote t.tex"])
    keys = re.findall(r"^@\w+\{(\w+),$", (folder / "c.bib").read_text(encoding="utf-8"), re.M)
    assert keys == sorted(set(re.findall(r"\\cite\{(\w+)\}", (folder / "t.tex").read_text(encoding="utf-8"))))
    assert nclbench("table", "a.json", "--with-published", "--check", "t.tex", "-m", "R@5", cwd=folder).returncode == 0
    assert nclbench("table", "a.json", "--check", "t.tex", "-m", "R@5", cwd=folder).returncode == 1


def test_json_has_them_beside_the_runs_and_is_read_again(folder: Path) -> None:
    done = nclbench("table", "a.json", "--with-published", "--json", cwd=folder)
    found = json.loads(done.stdout)
    assert len(found["runs"]) == 4 and len(found["published"]) == 43
    (camoe,) = [row for row in found["published"] if row["method"] == "CAMoE" and row["direction"] == "t2v"]
    assert (camoe["dataset"], camoe["metrics"], camoe["test_norm"], camoe["key"], len(camoe["differs"])) == (
        "msrvtt-1ka", {"R@1": 48.8}, "DSL", "cheng2021camoe", 1,
    )  # fmt: skip
    (folder / "again.json").write_text(done.stdout, encoding="utf-8")
    assert nclbench("table", "again.json", cwd=folder).stdout == nclbench("table", "a.json", cwd=folder).stdout
    assert "published" not in json.loads(nclbench("table", "a.json", "--json", cwd=folder).stdout)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mine.json", "--with-published"], "--with-published: unknown dataset 'mine'"),
        (["a.json", "--bib", "c.bib"], "add --with-published"),
        (["a.json", "--with-published", "--bib", "c.bib", "--check", "t.tex"], "leave --check out"),
        (["a.json", "--with-published", "--bib", "x.bib", "-o", "x.bib"], "would both write it"),
        (["a.json", "--with-published", "--bib", "a.json"], "that is an input"),
        (["a.json", "--with-published", "--bib", ""], "--bib needs a name"),
    ],
)
def test_mistakes_get_one_line(folder: Path, arguments: list[str], words: str) -> None:
    done = nclbench("table", *arguments, cwd=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert words in done.stderr


@pytest.mark.parametrize("format", ["md", "csv", "json", "html"])
def test_nothing_heavy_is_imported(folder: Path, format: str) -> None:
    code = (
        f"import sys; sys.argv[1:] = ['table', 'a.json', '--with-published', '--bib', 'h.bib', '-f', {format!r}]\n"
        "import nclbench.cli\ntry: nclbench.cli.main()\nexcept SystemExit as end: assert not end.code\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'h5py', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_terminal_shows_them(folder: Path) -> None:
    done = nclbench("table", "a.json", "--with-published", "-f", "table", cwd=folder, COLUMNS="")
    assert done.returncode == 0
    assert re.search(r"^CAMoE .* cheng2021camoe +DSL † ¶ \(5\) +test-queries +48\.8 +–", done.stdout, re.M)
    shown = nclbench("datasets", "show", "msrvtt-1ka", cwd=folder).stdout
    assert "test_norm DSL: R@1 48.8 [cheng2021camoe:" in " ".join(shown.split())

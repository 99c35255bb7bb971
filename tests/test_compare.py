"""`nclbench compare`: which runs are set against which, what is refused, and what is printed and written."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import of_vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import REAL, run
from test_report import hostile

from nclbench import evaluate
from nclbench.comparison import Comparison, Saved
from nclbench.comparison.compare import compare
from nclbench.comparison.paired import holm, mcnemar
from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.problem import Relevance
from nclbench.report import FORMATS
from nclbench.report import comparison as report
from nclbench.results import Results
from nclbench.sinks.results import write_json
from nclbench.sinks.rows import read

OF = np.repeat(np.arange(20), 3)


def results(noise: float = 1.5, seed: int = 0, model: str = "model", captions: int = 3, specs: Any = ("csls:k=3",)) -> Results:
    """20 videos with three captions each, or one."""
    videos = np.random.default_rng(7).normal(size=(20, 11))
    of = OF[:: 3 // captions]
    texts = videos[of] + noise * np.random.default_rng(seed).normal(size=(len(of), 11))
    relevance = Relevance.of_items(of)
    return evaluate(of_vectors(texts.astype("f4"), videos.astype("f4"), relevance, model=model), list(specs))


def saved(*found: Results) -> list[Saved]:
    return [Saved(f"{name}.json", each) for name, each in zip("abcd", found, strict=False)]


def against(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    return [
        (run.selector, run.operator.spec, part.name, reference.operator.spec)
        for (part, reference), (_, run) in ((each.pair.reference, each.pair.other) for each in comparison.compared)
    ]


# --- which against which ------------------------------------------------------------------------------------------


def test_rows_of_one_file_are_set_against_its_raw_rows() -> None:
    found = compare(saved(results(specs=("csls:k=3", "is:tau=0.1,fit=test"))), resamples=100)
    assert sorted(against(found)) == sorted(
        (selector, spec, "a.json", "none")
        for selector in ("t2v", "v2t", "v2t-videos")
        for spec in ("csls:k=3", "is:tau=0.1,fit=test")
    )


def test_two_files_are_compared_spec_by_spec_with_the_first_or_the_named_one() -> None:
    parts = saved(results(), results(seed=1))
    found = against(compare(parts, resamples=100))
    assert [each for each in found if each[0] == "t2v"] == [
        ("t2v", "none", "a.json", "none"),
        ("t2v", "csls:k=3", "a.json", "csls:k=3"),
    ]
    assert {each[2] for each in against(compare(parts, baseline="b.json", resamples=100))} == {"b.json"}
    within = against(compare(parts, baseline="csls:k=3", resamples=100))
    assert {(spec, reference) for _, spec, _, reference in within} == {("none", "csls:k=3")}
    assert len(within) == 6


def test_a_model_can_be_the_baseline_and_an_ambiguous_one_is_refused() -> None:
    both = Results.joined([results(model="one"), results(seed=1, model="two")])
    found = compare(saved(both), baseline="one", resamples=100)
    assert {each.pair.reference[1].model for each in found.compared} == {"one"}
    assert {each.pair.other[1].model for each in found.compared} == {"two"}
    with pytest.raises(UsageError, match="several models .one, two. and none is 'three'"):
        compare(saved(both, results(model="three")), resamples=100)
    assert {each.pair.reference[1].model for each in compare(saved(both, results(model="two", seed=5))).compared} == {"two"}


def test_what_has_no_counterpart_is_said_and_nothing_at_all_is_refused() -> None:
    parts = saved(results(specs=("csls:k=3",)), results(seed=1, specs=("csls:k=4", "csls:k=3")))
    found = compare(parts, resamples=100)
    assert all("csls:k=4 of b.json: nothing to compare it with" in note for note in found.notes)
    assert len(found.notes) == 3
    with pytest.raises(UsageError, match="nothing to compare; give two"):
        compare(saved(results(specs=())), resamples=100)
    with pytest.raises(UsageError, match="--baseline 'nome' .*did you mean 'none'"):
        compare(saved(results()), baseline="nome", resamples=100)


def test_rows_without_figures_are_left_out_with_the_reason() -> None:
    found = compare(saved(results(specs=("is:tau=0.1,fit=bank", "csls:k=3"))), resamples=100)
    assert {spec for _, spec, _, _ in against(found)} == {"csls:k=3"}
    assert any("is:tau=0.1,fit=bank of a.json: left out" in note for note in found.notes)


# --- what is computed ---------------------------------------------------------------------------------------------


def test_differences_are_those_of_the_figures_and_tests_those_of_the_rows() -> None:
    before, after = results(captions=1), results(seed=1, captions=1)
    names = ("R@1", "R@5", "MRR", "MdR", "mAP", "nDCG@10")
    found = compare(saved(before, after), metrics=names, resamples=500)
    old, new = ({(r.selector, r.operator.spec): r.metrics for r in each.runs} for each in (before, after))
    for each in found.compared:
        key = each.pair.other[1].selector, each.pair.other[1].operator.spec
        for difference in each.differences:
            assert difference.before == pytest.approx(old[key][difference.metric].value)
            assert difference.after == pytest.approx(new[key][difference.metric].value)
            assert difference.difference == pytest.approx(difference.after - difference.before)
            assert difference.low <= difference.difference <= difference.high
            assert (difference.queries, difference.clusters) == (20, None)
            assert difference.test == ("McNemar" if difference.metric in ("R@1", "R@5") else "permutation")
            if difference.test == "McNemar":
                assert difference.p == mcnemar(difference.won, difference.lost)
                assert 5 * (difference.won - difference.lost) == pytest.approx(difference.difference)
    every = [difference for each in found.compared for difference in each.differences]
    assert len(every) == found.tests == 2 * 2 * len(names)
    assert [difference.adjusted for difference in every] == holm([difference.p for difference in every])


def test_captions_of_one_video_are_clusters_and_hits_of_them_are_not_mcnemars() -> None:
    found = compare(saved(results(), results(seed=1)), metrics=["R@1"], resamples=100)
    assert [(each.pair.other[1].selector, d.clusters, d.test) for each in found.compared[:1] for d in each.differences] == [
        ("t2v", 20, "permutation")
    ]
    videos = [d for each in found.compared for d in each.differences if each.pair.other[1].selector == "v2t-videos"]
    assert {(d.queries, d.clusters) for d in videos} == {(20, None)}


def test_better_and_won_know_that_low_ranks_are_good() -> None:
    found = compare(saved(results(noise=4.0, captions=1), results(noise=0.5, captions=1)), metrics=["MnR", "R@1"], resamples=100)
    for each in found.compared:
        for difference in each.differences:
            assert difference.better and difference.won > difference.lost
            assert (difference.difference < 0) == (difference.metric == "MnR")


def test_the_seed_and_nothing_else_counts() -> None:
    parts = saved(results(), results(seed=1))
    assert compare(parts, resamples=200).compared == compare(parts, resamples=200).compared
    assert compare(parts, resamples=200, seed=1).compared != compare(parts, resamples=200).compared


# --- what is refused ----------------------------------------------------------------------------------------------


def renamed(found: Results, table: str, old: str, new: str) -> Results:
    columns = dict(getattr(found, table))
    columns["id"] = np.array([new if name == old else name for name in columns["id"]], dtype=object)
    if table == "items":
        queries = dict(found.queries)
        queries["item"] = np.array([new if name == old else name for name in queries["item"]], dtype=object)
        found = replace(found, queries=queries)
    return replace(found, **{table: columns})


def test_other_queries_are_refused_by_name_or_intersected() -> None:
    one, other = results(captions=1), renamed(results(seed=1, captions=1), "queries", "q3", "q99")
    match = "b.json against a.json, t2v: other queries, only in a.json: 'q3' .1 of 20.; only in b.json: 'q99' .1 of 20.; "
    with pytest.raises(InputError, match=match):
        compare(saved(one, other), resamples=100)
    found = compare(saved(one, other), metrics=["R@1"], intersect=True, resamples=100)
    t2v = found.compared[0].differences[0]
    assert t2v.queries == 19
    kept = (one.queries["id"] != "q3") & (one.queries["spec"] == "none") & (one.queries["direction"] == "t2v")
    assert t2v.before == pytest.approx(one.queries["R@1"][kept].mean())
    assert found.notes[0].endswith("2 queries that only one of the results has were left out")


def test_other_galleries_relevant_items_and_tie_rules_are_refused() -> None:
    one = results(captions=1)
    with pytest.raises(InputError, match="t2v: other galleries, only in a.json: 'v4' .1 of 20.; only in b.json: 'v77'"):
        compare(saved(one, renamed(one, "items", "v4", "v77")), intersect=True, resamples=100)
    items = one.queries["item"].copy()
    items[2] = "v5"
    with pytest.raises(InputError, match="query 'q2' wants the item v2 in one and v5 in the other"):
        compare(saved(one, replace(one, queries={**one.queries, "item": items})), resamples=100)
    midrank = tuple(replace(run, options={**run.options, "ties": "midrank"}) for run in one.runs)
    with pytest.raises(InputError, match="ties are expected in one and midrank in the other"):
        compare(saved(one, replace(one, runs=midrank)), resamples=100)


def test_rows_that_are_not_there_or_there_twice_are_refused() -> None:
    one = results(captions=1)
    with pytest.raises(InputError, match=r"b.json: no rows of queries for t2v none beside it; write both again"):
        compare(saved(one, replace(one, queries={})), resamples=100)
    twice = {name: np.concatenate([values, values]) for name, values in one.queries.items()}
    with pytest.raises(InputError, match="b.json: t2v none has rows of the same id twice"):
        compare(saved(one, replace(one, queries=twice)), resamples=100)
    with pytest.raises(UsageError, match="do not all have a metric 'R@2'; did you mean 'R@"):
        compare(saved(one, one), metrics=["R@2"], resamples=100)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare")
    write_json(results(captions=1), path / "a.json")
    write_json(results(seed=1, captions=1), path / "b.json")
    write_json(renamed(results(seed=1, captions=1), "queries", "q3", "q99"), path / "c.json")
    return path


def test_rows_come_back_as_they_were(folder: Path) -> None:
    first = results(captions=1)
    for name in ("queries", "items"):
        back, table = read(folder / f"a.{name}.parquet"), getattr(first, name)
        assert set(back) == set(table)
        for column, values in table.items():
            np.testing.assert_array_equal(back[column], values)
    assert list(read(folder / "a.queries.parquet", ["id", "rank"])) == ["id", "rank"]


def test_json_and_csv_have_every_difference(folder: Path) -> None:
    done = run("compare", "a.json", "b.json", "--resamples", "200", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert (data["schema"], data["correction"], data["tests"]) == ("nclbench.comparison/1", "Holm", 20)
    done = run("compare", "a.json", "b.json", "--resamples", "200", "-f", "csv", cwd=folder)
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(lines) == 20
    for line, entry in zip(lines, data["comparisons"], strict=True):
        assert (line["spec"], line["metric"], line["against_model"]) == (entry["spec"], entry["metric"], "model")
        assert float(line["p"]) == entry["p"] and float(line["low"]) == entry["low"]


def test_every_difference_of_the_table_is_significant_or_said_not_to_be(folder: Path) -> None:
    for format in ("table", "md", "latex"):
        done = run("compare", "a.json", "b.json", "-m", "R@1", "--resamples", "200", "-f", format, cwd=folder, COLUMNS="")
        assert done.returncode == 0, done.stderr
        rows = [line for line in done.stdout.splitlines() if " R@1 " in line]
        assert len(rows) == 4
        assert all(("n.s." in line) != ("*" in line) for line in rows)
        assert "Holm's correction over 4 comparisons" in " ".join(done.stdout.split())


def test_flips_are_written_with_ranks_and_best_items(folder: Path, tmp_path: Path) -> None:
    flips = tmp_path / "flips.csv"
    done = run("compare", "a.json", "b.json", "-m", "R@1", "--by-query", str(flips), "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(flips.read_text())))
    found = {
        (entry["direction"], entry["spec"], outcome): entry[outcome]
        for entry in json.loads(done.stdout)["comparisons"]
        for outcome in ("won", "lost")
    }
    for (direction, spec, outcome), count in found.items():
        mine = [row for row in rows if (row["direction"], row["spec"], row["outcome"]) == (direction, spec, outcome)]
        assert len(mine) == count
        for row in mine:
            ahead = float(row["rank_after"]) < float(row["rank_before"])
            assert ahead == (outcome == "won")
            assert (row["first_after"] == row["item"]) == ahead
    assert sum(found.values()) == len(rows) > 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.json"], 0, ""),
        (["a.json", "c.json"], 3, "only in a.json: 'q3'"),
        (["a.json", "c.json", "--missing", "intersect"], 0, "left out"),
        (["a.json", "c.json", "--missing", "ignore"], 2, "unknown --missing 'ignore'"),
        (["a.json", "x.json"], 4, "x.json: no such file"),
        (["a.json", "b.json", "-m", "R@3"], 2, "R@3"),
        (["a.json", "b.json", "-o", "a.json"], 2, "would be written over"),
        (["a.json", "b.json", "-o", "out.csv", "--by-query", "out.csv"], 2, "both write it"),
        (["a.json", "b.json", "--by-query", "b.queries.parquet"], 2, "would be written over"),
        (["b.json", "--baseline", "a.json"], 0, ""),
        (["b.json", "--baseline", "sinkhorn"], 2, "--baseline 'sinkhorn' is none of"),
    ],
)
def test_exit_codes_and_one_line(folder: Path, arguments: list[str], code: int, words: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run("compare", *arguments, "--resamples", "100", cwd=folder)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert not code or (len(done.stderr.splitlines()), done.stdout) == (1, "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_files_of_rows_that_cannot_be_read_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("b.json", "b.items.parquet", "b.queries.parquet"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "b.queries.parquet").write_bytes(b"PAR1 not at all")
    done = run("compare", str(folder / "a.json"), "b.json", cwd=tmp_path)
    assert done.returncode == 3 and "b.queries.parquet: cannot be read as Parquet" in done.stderr
    (tmp_path / "b.queries.parquet").unlink()
    done = run("compare", str(folder / "a.json"), "b.json", cwd=tmp_path)
    assert done.returncode == 4 and "b.queries.parquet: no such file; nclbench eval -o" in done.stderr


def test_nothing_heavy_is_imported(folder: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['compare', 'a.json', 'b.json', '--resamples', '100', '-f', 'md', '-q']\n"
        "import nclbench.cli\ntry: nclbench.cli.main()\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'pandas', 'scipy', 'h5py') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_line_starts_without_numpy_so_that_its_threads_can_be_set() -> None:
    code = "import sys, os, nclbench.cli; from nclbench.cli import saved; print('numpy' in sys.modules); saved.one_thread()"
    code += "\nprint(os.environ['OPENBLAS_NUM_THREADS'])"
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "1"]


@settings(max_examples=60, deadline=None)
@given(hostile, st.sampled_from(FORMATS))
def test_hostile_names_stay_text(name: str, format: str) -> None:
    def named(found: Results) -> Results:
        runs = tuple(replace(each, model=name) for each in found.runs)
        columns = {**found.queries, "model": np.full(len(found.queries["id"]), name, dtype=object)}
        items = {**found.items, "model": np.full(len(found.items["id"]), name, dtype=object)}
        return replace(found, runs=runs, queries=columns, items=items)

    text = report.render(compare(saved(results(captions=1), named(results(captions=1, seed=1))), resamples=100), format)
    assert all(c.isprintable() or c == "\n" for c in text)
    if format == "json":
        assert json.loads(text)["comparisons"][0]["model"] == name
    if format == "csv":
        found = next(csv.DictReader(io.StringIO(text, newline="")))["model"]
        assert found == ("'" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else "") + printable(name)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared data are not here")
def test_real_figures_of_msrvtt(tmp_path: Path) -> None:
    for name in ("video", "titles"):
        path = REAL / "cap4video_msrvtt1ka" / f"msrvtt_{name}_matrix.npy"
        spec = "sinkhorn:tau=0.01,fit=test"
        done = run("eval", "--emb", str(path), "--normalize", spec, "-q", "-o", f"{name}.json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = run("compare", "video.json", "-m", "R@1", "--json", cwd=tmp_path)
    t2v, v2t = json.loads(done.stdout)["comparisons"]
    assert (t2v["before"], t2v["after"], t2v["won"], t2v["lost"]) == (48.0, 53.9, 93, 34)
    assert t2v["test"] == "McNemar" and t2v["p"] == pytest.approx(1.606e-7, rel=1e-3) and t2v["significant"]
    assert v2t["test"] == "permutation", "tied captions make fractional hits"
    done = run("compare", "titles.json", "video.json", "-m", "R@1", "--json", cwd=tmp_path)
    assert [round(entry["difference"], 1) for entry in json.loads(done.stdout)["comparisons"]] == [18.3, 20.7, 17.6, 19.6]

"""`nclbench sweep`: what a grid means, what is chosen, that the reported split has no say, and that the rows admit it."""

import json
import math
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import warm

from nclbench import Problem, evaluate, load
from nclbench.cli import app
from nclbench.errors import InputError, MissingError, NclbenchError, UsageError
from nclbench.grids import LIMIT, expand, refuse
from nclbench.metrics import parse
from nclbench.operators import operators, parse_chain
from nclbench.sinks import save
from nclbench.sweep import canonical, grids, sweep
from nclbench.sweep.chosen import read
from nclbench.sweep.document import render
from nclbench.sweep.noise import margin, per_query
from nclbench.sweep.table import sentences

BEST = 2.0


def planted(n: int = 120, spread: float = 3.0, seed: int = 0, bank: int = 7) -> Problem:
    """Hubs of any size, and a bank whose mean score of an item is half of how much of a hub it is: best alpha = 2."""
    draw = np.random.default_rng(seed)
    hub = spread * draw.normal(size=n)
    scores = np.eye(n) + 0.3 * draw.normal(size=(n, n)) + hub
    return factories.of_scores(scores, query_bank=np.tile(hub / BEST, (bank, 1)))


def cli(*arguments: Any) -> None:
    app([str(each) for each in arguments], prog_name="nclbench", standalone_mode=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits of one task with a query bank each, and a training file with labels."""
    folder = tmp_path_factory.mktemp("splits")
    for name, seed in (("val", 1), ("test", 2), ("train", 3)):
        task = factories.hubs(60, 60, 9, seed=seed, noise=1.2)
        banked = replace(task, query_bank=factories.embeddings("qb", factories.hubs(70, 60, 9, seed=seed + 9).queries.vectors))
        save(replace(banked, split=name, dataset="toy", model=name), folder / f"{name}.npz")
    return folder


# ------------------------------------------------------------------------------------------------------- the grammar


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("is:tau=0.01..1/log3", ["0.01", "0.1", "1.0"]),
        ("is:tau=0.005..0.1/log4", ["0.005", "0.0136", "0.0368", "0.1"]),
        ("is:tau=0.1..0.5/lin3", ["0.1", "0.3", "0.5"]),
        ("csls:k=1..10/log5", ["1", "2", "3", "6", "10"]),
        ("csls:k=1..3/lin9", ["1", "2", "3"]),
        ("is:fit=auto|bank|test", ["auto", "bank", "test"]),
        ("invgc:local=true|false", ["true", "false"]),
        ("is:tau=0.1|0.2|0.1", ["0.1", "0.2"]),
        ("is:tau=0.0100..0.01001/lin3", ["0.01", "0.010005", "0.01001"]),
        ("is:tau=1e-3..1e-1/log3", ["0.001", "0.01", "0.1"]),
    ],
)
def test_a_grid_is_read_as_written(template: str, values: list[str]) -> None:
    (grid,) = grids([template])
    assert list(grid.axes[0].values) == values
    assert len(grid.specs) == len(values)


@pytest.mark.parametrize("seed", range(20))
def test_every_spec_of_a_grid_is_canonical_and_there_is_one_for_every_combination(seed: int) -> None:
    draw = np.random.default_rng(seed)
    low = float(10 ** draw.uniform(-4, 1))
    count, scale = int(draw.integers(2, 12)), str(draw.choice(["log", "lin"]))
    template = f"dis:tau={low!r}..{low * 3!r}/{scale}{count},k=1|2|5,fit=auto|test"
    (grid,) = grids([template])
    assert len(grid.specs) == len(set(grid.specs)) == 6 * count
    assert all(canonical(spec) == spec for spec in grid.specs)
    taus = [operators.parse(spec).tau for spec in grid.specs[::6]]  # type: ignore[attr-defined]
    assert taus[0] == low and taus[-1] == low * 3 and taus == sorted(taus)
    exact = np.geomspace(low, low * 3, count) if scale == "log" else np.linspace(low, low * 3, count)
    np.testing.assert_allclose(taus, exact, rtol=6e-3)
    for spec, at in zip(grid.specs, grid.at, strict=True):
        assert f"k={grid.axes[1].values[at[1]]}" in spec or grid.axes[1].values[at[1]] == "1"


def test_a_grid_may_stand_anywhere_in_a_chain_and_equal_points_are_run_once() -> None:
    (grid,) = grids(["dot+is:tau=0.1|1,fit=test"])
    assert grid.specs == ("dot+is:tau=0.1,fit=test", "dot+is:tau=1.0,fit=test")
    (same,) = grids(["is:tau=1|1.0|2"])
    assert same.specs == ("is:tau=1.0", "is:tau=2.0") and same.at == ((0,), (2,))
    assert expand("csls").specs == ("csls",) and expand("csls").axes == ()
    assert expand('a:file="x|y,z",k=1|2').specs == ('a:file="x|y,z",k=1', 'a:file="x|y,z",k=2')
    assert expand("biases:file=../x/..npy").axes == ()


@pytest.mark.parametrize(
    "template",
    [
        "is:tau=0.1..1", "is:tau=0.1..1/log", "is:tau=1..0.1/log3", "is:tau=0..1/log3", "is:tau=-1..1/log3", "is:tau=1..2/log1",
        "is:tau=1..2/lin1001", "is:tau=1..2/lin99999999999999999999", "is:tau=1..1e999/lin3", "is:tau=0.1||1", "is:tau=|1",
        "csls:k=1.2..1.8/lin3", "csls:k=0|1", "is:fit=bank|nothing", "is:tua=1|2", "nothing:x=1|2",
        "csls:k=1..1000/lin900,fit=auto|test", "is:tau=0.1..1/exp3", "is:tau=0.1|1..2/lin3",
    ],
)  # fmt: skip
def test_what_is_no_grid_is_refused(template: str) -> None:
    with pytest.raises(UsageError) as caught:
        grids([template])
    assert "\n" not in str(caught.value)


def test_there_is_a_limit_over_all_grids() -> None:
    half = LIMIT // 2 + 1
    with pytest.raises(UsageError, match="coarser"):
        grids([f"is:tau=0.1..1/lin{half}", f"is:tau=2..3/lin{half}"])


@pytest.mark.parametrize("spec", ["is:tau=0.005..0.1/log8", "is:tau=0.005..0.1", "csls:k=1|2", "dot+is:fit=bank|test"])
def test_a_grid_elsewhere_is_told_to_sweep(spec: str, files: Path) -> None:
    with pytest.raises(UsageError, match="nclbench sweep"):
        refuse(spec)
    with pytest.raises(UsageError, match="nclbench sweep"):
        cli("eval", "--emb", files / "test.npz", "--normalize", spec)


def test_no_operator_of_the_house_is_taken_for_a_grid() -> None:
    for spec in factories.specs():
        refuse(spec)


# -------------------------------------------------------------------------------------------------------- the choice


@pytest.mark.parametrize("metric", ["R@1", "MRR", "MnR", "mAP", "MdR", "nDCG@10"])
def test_the_planted_parameter_is_found(metric: str) -> None:
    found = sweep(planted(), ["nnn:k=7,alpha=0.5..8/log9"], select=metric, direction="t2v")
    (curve,) = found.curves
    assert curve.best is not None and curve.best.spec == "nnn:k=7,alpha=2.0"
    assert curve.best.within and not curve.points[0].within
    assert curve.flat().startswith("alpha 2.0 within") or curve.flat() == "no other point within noise" or metric == "MdR"
    assert curve.reference.operator.spec == "none" and curve.raw is not None
    assert not any("end of its range" in text for text in found.warnings)
    # what is on the curve is what a run of that very spec gives
    again = evaluate(planted(), [curve.best.spec], metrics=metric, direction="t2v").runs[1]
    assert again.metrics == curve.best.run.metrics and again.operator == curve.best.run.operator


def test_of_equals_the_middle_of_the_flat_region_is_chosen() -> None:
    easy = planted(spread=0.01)
    (curve,) = sweep(replace(easy, scores={**easy.scores, ("queries", "items"): np.eye(120) * 9}),
                     ["nnn:k=7,alpha=1..3/lin5"], direction="t2v").curves  # fmt: skip
    assert {point.value.value for point in curve.points if point.value} == {100.0}
    assert curve.best is not None and curve.best.spec == "nnn:k=7,alpha=2.0"
    assert curve.flat() == "alpha 1.0 to 3.0 within noise"


@pytest.mark.parametrize(("span", "end"), [("2..8/log5", "lower"), ("0.25..2/log5", "upper"), ("0.5|1|2", "upper")])
def test_a_choice_at_the_end_of_a_range_is_told(span: str, end: str) -> None:
    found = sweep(planted(), [f"nnn:k=7,alpha={span}"], direction="t2v")
    assert found.curves[0].best is not None and found.curves[0].best.spec == "nnn:k=7,alpha=2.0"
    (text,) = [text for text in found.warnings if "widen" in text]
    assert f"alpha, {'2.0' if '/' in span else '2'}, is the {end} end" in text


def test_products_and_words_have_no_order() -> None:
    found = sweep(planted(), ["nnn:k=3|7,alpha=1..4/log3", "is:tau=0.5,fit=bank|test"], direction="t2v")
    product, words = found.curves
    assert product.best is not None and product.best.spec.endswith("alpha=2.0")
    assert "2 of 6 points, k 3" in product.flat() and product.flat().endswith("within noise")
    assert len(words.points) == 2
    assert not any("fit" in text and "end of its range" in text for text in found.warnings)
    assert any("sweep each fit on its own" in text for text in found.warnings)


def test_what_failed_is_shown_and_never_chosen() -> None:
    task = factories.hubs(60, 60, 9, seed=1, noise=1.2)
    found = sweep(task, ["sinkhorn:tau=0.001..0.1/log4,max_iters=20", "is:tau=0.1,fit=bank"], direction="t2v")
    cold, banked = found.curves
    failed = [bool(point.failed) for point in cold.points]
    assert failed[0] and not failed[-1]
    assert "NOT converged" in cold.points[0].failed and not cold.points[0].within
    assert cold.best is not None and not cold.best.failed
    assert banked.best is None and "n/a" in banked.points[0].failed
    assert any("nothing could be chosen, n/a" in text for text in found.warnings)
    data = json.loads(render(found))
    assert [entry["spec"] for entry in data["chosen"]] == [cold.best.spec, None]
    assert "·" in sentences(found)[0] and "nothing could be chosen" in sentences(found)[1]


def test_directions_choose_for_themselves_or_one_for_both() -> None:
    task = factories.captions()
    own = sweep(task, ["sinkhorn:tau=0.02..1/log4"])
    assert [curve.selector for curve in own.curves] == ["t2v", "v2t"] == [way for way, _ in own.choices()]
    one = sweep(task, ["sinkhorn:tau=0.02..1/log4"], select="v2t-videos.R@1")
    assert [curve.selector for curve in one.curves] == ["v2t-videos"]
    assert [(way, curve.selector) for way, curve in one.choices()] == [("t2v", "v2t-videos"), ("v2t", "v2t-videos")]
    assert {point.run.protocol for point in one.curves[0].points} == {"videos"}
    for select, direction in (("v2t.R@1", "t2v"), ("x.R@1", "both"), ("R@0", "both"), ("t2v.nothing", "both")):
        with pytest.raises(UsageError):
            sweep(task, ["is:tau=1|2"], select=select, direction=direction)
    with pytest.raises(UsageError, match="has no v2t-videos"):
        sweep(factories.hubs(), ["is:tau=1|2"], select="v2t-videos.R@1")


# --------------------------------------------------------------------------------------------------------- the noise


@pytest.mark.parametrize("task", ["hubs", "ties-dot", "captions", "graded", "constant"])
@pytest.mark.parametrize("metric", ["R@1", "R@5", "MRR", "MnR", "mAP", "nDCG@10", "recall@5", "Rsum", "MdR"])
def test_values_a_query_average_to_the_metric(task: str, metric: str) -> None:
    problem = factories.LAWFUL[task]()
    found = evaluate(problem, ["csls:k=3"], metrics=metric)
    for run in found.runs:
        mine = np.ones(len(found.queries["spec"]), dtype=bool)
        for name, value in (("spec", run.operator.spec), ("direction", run.direction), ("protocol", run.protocol)):
            mine &= found.queries[name] == value
        values = per_query({name: column[mine] for name, column in found.queries.items()}, parse(metric))
        several = (found.queries["relevant"][mine] > 1).any() and metric in ("mAP", "nDCG@10", "recall@5")
        assert (values is None) == (metric == "MdR" or several)
        if values is not None:
            assert values.mean() == pytest.approx(run.metrics[metric].value, abs=1e-9)


def test_the_margin_is_the_error_of_a_paired_mean() -> None:
    draw = np.random.default_rng(0)
    difference = draw.normal(size=400)
    assert margin(difference, None) == pytest.approx(1.96 * difference.std(ddof=1) / math.sqrt(400))
    assert margin(np.zeros(5), None) == margin(np.ones(1), None) == 0
    # every query five times over says no more than once
    five = np.repeat(np.arange(400), 5)
    assert margin(difference[five], five) == pytest.approx(margin(difference, None))


def test_order_of_the_rows_changes_nothing() -> None:
    task = factories.captions(duplicated=False)
    draw = np.random.default_rng(0)
    mixed = factories.permuted(task, draw.permutation(len(task.queries)), draw.permutation(len(task.items)))
    one, other = (sweep(each, ["csls:k=1..9/log4", "is:tau=0.05..1/log4,fit=test"]) for each in (task, mixed))
    for a, b in zip(one.curves, other.curves, strict=True):
        assert a.chosen == b.chosen and a.flat() == b.flat()
        assert [point.within for point in a.points] == [point.within for point in b.points]
        np.testing.assert_allclose([p.margin for p in a.points], [p.margin for p in b.points], rtol=1e-9)


# --------------------------------------------------------------------------------------------- whose labels are used


def test_eval_reads_what_was_chosen_and_each_direction_has_its_own(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep.json"
    template = "sinkhorn:tau=0.02..2/log5"
    cli("sweep", "--val", files / "val.npz", "--normalize", template, "-o", out, "-q")
    data = json.loads(out.read_text())
    assert data["schema"] == "nclbench.sweep/1" and data["oracle"] is False and data["select"]["how"] == "validation"
    capsys.readouterr()
    # a choice in one direction only, and another one in the other: edited, so that they differ
    for entry in data["chosen"]:
        entry["spec"] = "sinkhorn:tau=0.02" if entry["direction"] == "t2v" else "sinkhorn:tau=2.0"
    out.write_text(json.dumps(data))
    cli("eval", "--emb", files / "test.npz", "--normalize", "is:tau=0.1", "--from", out, "--json", "-q")
    found = json.loads(capsys.readouterr().out)
    assert [(run["direction"], run["operator"]["spec"], run["oracle"]) for run in found["runs"]] == [
        ("t2v", "none", False), ("t2v", "is:tau=0.1", False), ("t2v", "sinkhorn:tau=0.02", False),
        ("v2t", "none", False), ("v2t", "is:tau=0.1", False), ("v2t", "sinkhorn:tau=2.0", False),
    ]  # fmt: skip
    assert found["runs"][2]["options"]["chosen"].startswith("by R@1, sweep.json")
    assert "chosen" not in found["runs"][1]["options"]
    assert [entry for entry in found["inputs"] if entry["role"] == "sweep"][0]["sha256"] == read(str(out)).digest
    plain = evaluate(load(files / "test.npz"), ["is:tau=0.1", "sinkhorn:tau=0.02"]).runs[2]
    assert found["runs"][2]["metrics"] == json.loads(json.dumps({k: v.__dict__ for k, v in plain.metrics.items()}))


SAYS = {"json": '"oracle": true', "csv": ",oracle,", "md": "‡ oracle", "table": "‡ oracle", "latex": r"$^\ddagger$ oracle"}


@pytest.mark.parametrize("format", SAYS)
def test_the_row_says_oracle_in_every_format(
    format: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After --oracle, in the sweep and in the evaluation."""
    out, template = tmp_path / "sweep.json", "is:tau=0.05..1/log3"
    cli("sweep", "--emb", files / "test.npz", "--oracle", "--normalize", template, "-o", out, "-f", format, "-q")
    shown = capsys.readouterr().out
    assert SAYS[format] in shown
    assert json.loads(out.read_text())["oracle"] is True
    assert "oracle:yes" in shown or format == "table"
    cli("eval", "--emb", files / "test.npz", "--from", out, "-f", format)
    both = capsys.readouterr()
    assert SAYS[format] in both.out and "oracle:yes" in both.out
    assert "oracle" in both.err
    # on another split too: it was chosen with labels of a reported split
    cli("eval", "--emb", files / "val.npz", "--from", out, "-f", format)
    other = capsys.readouterr()
    assert SAYS[format] in other.out and "--oracle" in other.err


def test_a_file_that_was_tuned_on_is_known_by_its_bytes(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep.json"
    cli("sweep", "--val", files / "val.npz", "--normalize", "is:tau=0.1|1", "-o", out, "-q")
    copy = tmp_path / "reported.npz"
    copy.write_bytes((files / "val.npz").read_bytes())
    capsys.readouterr()
    cli("eval", "--emb", copy, "--from", out, "--normalize", "csls:k=3", "--json")
    found = capsys.readouterr()
    assert {run["operator"]["name"]: run["oracle"] for run in json.loads(found.out)["runs"]} == {
        "none": False, "csls": False, "is": True,
    }  # fmt: skip
    assert "split that it was chosen on" in found.err
    # as a bank it is no oracle
    cli("eval", "--emb", files / "test.npz", "--bank", copy, "--from", out, "--json")
    assert not any(run["oracle"] for run in json.loads(capsys.readouterr().out)["runs"])


def test_two_splits_of_one_file_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays: dict[str, Any] = {}
    for split, seed in (("val", 1), ("test", 2)):
        task = factories.hubs(30, 30, 9, seed=seed)
        arrays |= {f"{split}.text.embeddings": task.queries.vectors, f"{split}.video.embeddings": task.items.vectors}
        arrays |= {f"{split}.video.ids": np.array(task.items.ids), f"{split}.text.item_ids": np.array(task.items.ids)}
    path, out = tmp_path / "both.npz", tmp_path / "sweep.json"
    np.savez(path, **arrays)
    cli("sweep", "--val", path, "--split", "val", "--normalize", "is:tau=0.1|1", "-o", out, "-q")
    assert json.loads(out.read_text())["splits"] == ["test", "val"]
    capsys.readouterr()
    for split, oracle in (("test", False), ("val", True)):
        cli("eval", "--emb", path, "--split", split, "--from", out, "--json", "-q")
        runs = json.loads(capsys.readouterr().out)["runs"]
        assert {run["oracle"] for run in runs if run["operator"]["name"] == "is"} == {oracle}


def test_folds_of_a_labelled_bank_use_no_test_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bank's file has a test split too: whatever is in it, the sweep is the same, and it is that of five folds."""
    said = []
    train = factories.hubs(40, 40, 9, seed=1)
    for seed in (2, 3):
        arrays: dict[str, Any] = {}
        for split, task in (("train", train), ("test", factories.hubs(30, 30, 9, seed=seed))):
            arrays |= {f"{split}.text.embeddings": task.queries.vectors, f"{split}.video.embeddings": task.items.vectors}
            arrays |= {f"{split}.video.ids": np.array(task.items.ids), f"{split}.text.item_ids": np.array(task.items.ids)}
            arrays[f"{split}.text.ids"] = np.array(task.queries.ids)
        np.savez(tmp_path / "bank.npz", **arrays)
        cli("sweep", "--bank", tmp_path / "bank.npz", "--normalize", "is:tau=0.05..1/log4", "--json", "-q")
        data = json.loads(capsys.readouterr().out)
        said.append(json.dumps([data["curves"], data["chosen"], data["split"], data["select"]]))
    assert said[0] == said[1]
    assert data["select"]["folds"] == 5 and data["select"]["how"] == "folds" and data["split"] == "train"
    points = data["curves"][0]["points"]
    assert {point["fitted_on"] for point in points} == {"bank-folds(5)"}
    direct = evaluate(train, [point["spec"] for point in points], metrics="R@1", direction="t2v", folds=5)
    assert [run.metrics["R@1"].value for run in direct.runs[1:]] == [point["value"] for point in points]


# ------------------------------------------------------------------------------------------------- files and formats


def test_the_picture_is_xml_with_a_panel_a_curve(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "curves.svg"
    templates = ["sinkhorn:tau=0.001..1/log6,max_iters=30", "csls:k=1..30/lin4,fit=auto|test", "is:fit=bank|test", "dn", "gc"]
    cli("sweep", "--val", files / "val.npz", *(w for t in templates for w in ("--normalize", t)), "--picture", picture)
    root = ElementTree.fromstring(picture.read_text(encoding="utf-8"))
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg" and len(root.findall(f"{space}g")) == 2 * len(templates)
    first = root.find(f"{space}g")
    assert first is not None
    kinds = {part.get("class") for part in first}
    assert {"title", "axis", "grid", "flat", "band", "line", "point", "best", "raw"} <= kinds
    texts = [part.text or "" for part in first.iter(f"{space}text")]
    assert {"tau (log)", "R@1", "0.001", "1.0"} <= set(texts)
    assert all(math.isfinite(float(n)) for part in root.iter() for n in re.findall(r"[-\d.]+", part.get("points") or ""))
    shown = capsys.readouterr().out
    assert re.search(r"```text\nt2v sinkhorn:\S+  0.001 [·▁-█\[\]]+ 1.0  sinkhorn:", shown)


def test_nothing_is_written_without_asking_and_all_of_it_or_nothing(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli("sweep", "--val", files / "val.npz", "--normalize", "is:tau=0.1|1")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "sweep.json"
    old.write_text("old")
    monkeypatch.setattr("nclbench.sweep.picture.render", lambda swept: (_ for _ in ()).throw(InputError("stop")))
    with pytest.raises(InputError):
        cli("sweep", "--val", files / "val.npz", "--normalize", "is:tau=0.1|1", "-o", old, "--picture", "x.svg")
    assert old.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ("--val val.npz", UsageError, "nothing to sweep"),
        ("--normalize is:tau=1|2", UsageError, "nothing to tune on"),
        ("--emb test.npz --normalize is:tau=1|2", UsageError, "--oracle"),
        ("--val val.npz --oracle --normalize is:tau=1|2", UsageError, "--emb FILE"),
        ("--oracle --normalize is:tau=1|2", UsageError, "--emb FILE"),
        ("--bank folds=5 --normalize is:tau=1|2", UsageError, "nothing to tune on"),
        ("--val val.npz --folds 3 --normalize is:tau=1|2", UsageError, "--bank folds=N"),
        ("--val val.npz --normalize is:tau=1..2", UsageError, "a..b/log8"),
        ("--val val.npz --normalize is:tau=1|2 --direction up", UsageError, "unknown direction"),
        ("--val val.npz --normalize is:tau=1|2 --select R@x", UsageError, "unknown metric"),
        ("--val val.npz --normalize is:tau=1|2 --picture x.png", UsageError, ".svg"),
        ("--val val.npz --normalize is:tau=1|2 -o val.npz", UsageError, "written over"),
        ("--val val.npz --normalize is:tau=1|2 -o x.svg --picture x.svg", UsageError, "both"),
        ("--val gone.npz --normalize is:tau=1|2", MissingError, "no such file"),
        ("--val unlabelled.npz --normalize is:tau=1|2", InputError, "no pair is known"),
        ("--bank texts.npz --normalize is:tau=1|2", InputError, "give --val FILE"),
        ("--bank unlabelled.npz --normalize is:tau=1|2", InputError, "give --val FILE"),
    ],
)
def test_what_cannot_be_swept_is_one_line(
    arguments: str, error: type[NclbenchError], word: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    save(replace(factories.hubs(), relevance=None), "unlabelled.npz")
    np.savez("texts.npz", **{"bank.text.embeddings": factories.hubs().queries.vectors})
    with pytest.raises(NclbenchError) as caught:
        cli("sweep", *arguments.split())
    assert type(caught.value) is error and word in str(caught.value), caught.value
    assert "\n" not in str(caught.value)


def test_the_reported_split_may_be_named_and_is_not_looked_at(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli("sweep", "--val", files / "val.npz", "--emb", "gone.npz", "--normalize", "is:tau=0.1|1")
    assert "gone.npz is not looked at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: [], "schema"),
        (lambda data: data | {"schema": "nclbench.results/1"}, "schema"),
        (lambda data: {"schema": data["schema"]}, "damaged"),
        (lambda data: data | {"chosen": [{"direction": "up", "spec": "is"}]}, "damaged"),
        (lambda data: data | {"chosen": [{"direction": "t2v", "spec": 7}]}, "damaged"),
        (lambda data: data | {"chosen": 7}, "damaged"),
        (lambda data: data | {"chosen": [{"direction": "t2v", "spec": "iss:tau=1"}]}, "unknown operator"),
        (lambda data: data | {"oracle": "no"}, "damaged"),
        (lambda data: data | {"inputs": [7]}, "damaged"),
        (lambda data: data | {"splits": None}, "damaged"),
    ],
)
def test_a_foreign_or_damaged_choice_is_refused(change: Any, word: str, files: Path, tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    data = json.loads(render(sweep(factories.hubs(), ["is:tau=0.1|1"])))
    path.write_text(json.dumps(change(data)))
    with pytest.raises(InputError, match=word) as caught:
        cli("eval", "--emb", files / "test.npz", "--from", path)
    assert "\n" not in str(caught.value)
    path.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read(str(path))


def test_a_direction_without_a_choice_is_told(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sweep.json"
    cli("sweep", "--val", files / "val.npz", "--normalize", "is:tau=0.1|1,fit=bank", "-o", out, "-q")
    capsys.readouterr()
    cli("eval", "--emb", files / "test.npz", "--from", out, "--json")
    found = capsys.readouterr()
    assert [(run["direction"], run["operator"]["name"]) for run in json.loads(found.out)["runs"]] == [
        ("t2v", "none"), ("t2v", "is"), ("v2t", "none"),
    ]  # fmt: skip
    assert "no row for v2t is:tau=0.1|1,fit=bank: n/a" in found.err
    one = tmp_path / "one.json"
    cli("sweep", "--val", files / "val.npz", "--normalize", "is:tau=0.1|1", "--direction", "t2v", "-o", one, "-q")
    cli("eval", "--emb", files / "test.npz", "--from", one, "--scorer", "dot", "--no-reference", "-f", "csv")
    said = capsys.readouterr().err
    assert "nothing was chosen for v2t" in said and "chosen on scores of cosine, and is applied to dot" in said


def test_chains_are_chosen_too(files: Path) -> None:
    found = sweep(factories.hubs(), ["dot+is:tau=0.1..10/log3"], direction="t2v")
    assert found.curves[0].best is not None
    assert parse_chain(found.curves[0].best.spec)[0] is not None


# --------------------------------------------------------------------------------------------------- as a user has it


def run(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    if line.startswith("nclbench"):
        return warm.run(shlex.split(line)[1:], cwd=cwd)
    command = [sys.executable, "-c", line]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)


def test_the_page_runs_in_its_order_and_keeps_its_word(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "sweep.md").read_text(encoding="utf-8")
    said = []
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", page, re.S):
        for line in [block] if language == "python" else block.splitlines():
            done = run(line, tmp_path)
            assert done.returncode == 0, (line, done.stderr)
            said.append(done.stdout)
    assert len(said) == 5
    (promised,) = re.findall(r"```text\n(.*?)\n```", page, re.S)
    assert promised in said[1] and "is:tau=0.072" in said[2]
    assert ",oracle," in said[4] and {"sweep.json", "sweep.svg"} < {path.name for path in tmp_path.iterdir()}
    assert "bank-folds(5)" in said[3]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("nclbench sweep --val val.npz --normalize is:tau=1..0/log3", 2),
        ("nclbench sweep --bank words.npz --normalize is:tau=1|2", 3),
        ("nclbench sweep --val gone.npz --normalize is:tau=1|2", 4),
        ("nclbench eval --emb test.npz --normalize is:tau=1|2", 2),
        ("nclbench eval --emb test.npz --from val.npz", 3),
        ("nclbench eval --emb test.npz --from gone.json", 4),
    ],
)
def test_errors_are_one_line_and_have_their_code(line: str, code: int, files: Path) -> None:
    np.savez(files / "words.npz", **{"bank.text.embeddings": factories.hubs().queries.vectors})
    done = run(line, files)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(("grid", "told"), [("csls:k=1|2|3", False), ("csls:k=4|5|9", True)])
def test_the_end_of_a_grid_is_told_where_it_can_be_widened(grid: str, told: bool) -> None:
    curve = sweep(factories.hubs(), [grid], direction="t2v").curves[0]
    at_the_low_end = replace(curve, chosen=0)
    assert any("lower end of its range; widen it" in text for text in at_the_low_end.warnings()) == told

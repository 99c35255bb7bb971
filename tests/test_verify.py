"""`nclbench verify`: the same figures from the same inputs, and the reason where they are not."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import run

from nclbench.comparison.again import findings, why
from nclbench.results import Results
from nclbench.sinks.results import read_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    videos = draw.normal(size=(30, 9)).astype("f4")
    np.save(tmp_path / "videos.npy", videos)
    np.save(tmp_path / "texts.npy", videos + draw.normal(size=(30, 9)).astype("f4"))
    done = run(
        "eval", "--emb", "texts.npy,videos.npy", "--normalize", "sinkhorn:tau=0.1,fit=test", "--out-dir", "out", "-o", "r.json",
        "-q", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(folder: Path, change: Any) -> None:
    data = json.loads((folder / "r.json").read_text())
    change(data)
    (folder / "r.json").write_text(json.dumps(data))


def test_the_same_inputs_give_the_same_figures_and_nothing_is_written(folder: Path) -> None:
    before = contents(folder)
    done = run("verify", "r.json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "same: 4 runs made again to the same figures\n"
    assert contents(folder) == before
    assert run("verify", "out/results.json", cwd=folder).returncode == 0


def test_another_input_is_named_with_what_it_changed(folder: Path) -> None:
    texts = np.load(folder / "texts.npy")
    np.save(folder / "texts.npy", texts[::-1].copy())
    done = run("verify", "r.json", "--json", cwd=folder)
    assert done.returncode == 1
    data = json.loads(done.stdout)
    assert not data["same"] and data["why"].startswith("an input is another one")
    (first, *rest) = data["findings"]
    assert (first["kind"], first["where"].endswith("texts.npy"), first["what"]) == ("input", True, "sha256")
    assert {each["kind"] for each in rest} >= {"figure"}


def test_an_edited_figure_a_missing_row_and_other_parameters_are_found(folder: Path) -> None:
    def edit(data: dict[str, Any]) -> None:
        data["runs"][0]["metrics"]["R@1"]["value"] += 3
        data["runs"][1]["operator"]["params"]["tau"] = 0.2
        del data["runs"][3]

    changed(folder, edit)
    done = run("verify", "r.json", cwd=folder)
    assert done.returncode == 1
    kinds = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert kinds == ["run", "figure", "parameter", "DIFFERENT"]
    assert "t2v sinkhorn:tau=0.1,fit=test tau: 0.2 -> 0.1\n" in done.stdout


def test_another_version_alone_is_told_and_is_no_difference(folder: Path) -> None:
    changed(folder, lambda data: data["environment"].update(numpy="1.0"))
    done = run("verify", "r.json", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"environment: numpy: 1.0 -> {np.__version__}"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nclbench demo", 3, "its command is 'nclbench demo'"),
        ("", 3, "it names no command"),
        ("rm -rf /", 3, "its command is 'rm -rf /'"),
        ("nclbench eval 'unclosed", 3, "cannot be made again"),
        ("nclbench eval --emb texts.npy --colour", 2, "--colour"),
    ],
)
def test_a_command_that_is_no_evaluation_is_not_run(folder: Path, command: str, code: int, words: str) -> None:
    changed(folder, lambda data: data.update(command=command))
    done = run("verify", "r.json", cwd=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert words in done.stderr


def test_inputs_that_are_gone_are_said(folder: Path) -> None:
    os.remove(folder / "texts.npy")
    done = run("verify", "r.json", cwd=folder)
    assert done.returncode == 4 and "texts.npy: no such file; r.json was made of it" in done.stderr


def test_outputs_that_the_command_names_are_not_written_over(folder: Path) -> None:
    changed(folder, lambda data: data.update(command=data["command"].replace("r.json", "videos.npy")))
    before = contents(folder)
    run("verify", "r.json", cwd=folder)
    assert contents(folder) == before


def test_rounding_is_no_difference(folder: Path) -> None:
    then = read_json(folder / "r.json")

    def moved(by: float) -> Results:
        metric = then.runs[0].metrics["R@1"]
        metrics = {**then.runs[0].metrics, "R@1": replace(metric, value=metric.value + by)}
        return replace(then, runs=(replace(then.runs[0], metrics=metrics), *then.runs[1:]))

    hashes = {str(entry["path"]): str(entry["sha256"]) for entry in then.inputs}
    assert findings(then, moved(1e-12), hashes) == []
    found = findings(then, moved(1e-6), hashes)
    assert [each.kind for each in found] == ["figure"] and "was the file edited?" in why(found)


def test_a_command_that_exports_runs_writes_none(folder: Path) -> None:
    changed(folder, lambda data: data.update(command=f"{data['command']} --export-run trec"))
    before = contents(folder)
    done = run("verify", "r.json", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "same: 4 runs made again to the same figures\n")
    assert contents(folder) == before


def test_a_command_that_ends_well_without_evaluating_verifies_nothing(folder: Path) -> None:
    changed(folder, lambda data: data.update(command="nclbench eval --help"))
    done = run("verify", "r.json", cwd=folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: r.json: its command 'nclbench eval --help' evaluates nothing; evaluate again\n"


def test_what_a_config_file_and_variables_said_stands_in_the_command(tmp_path: Path) -> None:
    """Without them, with others, and elsewhere: the same evaluation."""
    draw = np.random.default_rng(0)
    np.save(tmp_path / "s p.npy", draw.normal(size=(30, 30)))
    config = tmp_path / "nclbench.toml"
    config.write_text('[eval]\nemb = "s p.npy"\nnormalize = ["csls:k=5", "dsl"]\ndirection = "t2v"\nno-reference = true\n')
    done = run("eval", "-q", "-o", "r.json", cwd=tmp_path, NCLBENCH_TIES="optimistic", NCLBENCH_THREADS="1")
    assert done.returncode == 0, done.stderr
    command = read_json(tmp_path / "r.json").command
    assert command.startswith("nclbench eval -q -o r.json ") and "--threads" not in command
    asked = "--emb 's p.npy'", "--normalize csls:k=5 --normalize dsl", "--direction t2v", "--no-reference", "--ties optimistic"
    assert all(words in command for words in asked), command
    same = "same: 2 runs made again to the same figures\n"
    assert run("verify", "r.json", cwd=tmp_path).stdout == same
    config.write_text('[eval]\nnormalize = ["csls:k=6"]\n')
    assert run("verify", "r.json", cwd=tmp_path, NCLBENCH_DIRECTION="both").stdout == same
    config.unlink()
    assert run("verify", "r.json", cwd=tmp_path).stdout == same

"""Options from variables and config files: which one goes first, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "scores.npy", np.random.default_rng(0).normal(size=(12, 12)).astype("f4"))
    return tmp_path


def ties(folder: Path, *arguments: str, **environment: str) -> Any:
    done = run("eval", "--emb", "scores.npy", "--json", *arguments, cwd=folder, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["runs"][0]["options"]["ties"]


def test_an_option_goes_before_a_variable_before_a_named_file_before_the_project_file(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.nclbench.eval]\nties = "optimistic"\n')
    assert ties(folder) == "optimistic"
    (folder / "nclbench.toml").write_text('ties = "optimistic"\ndirection = "t2v"\n[eval]\nties = "pessimistic"\n')
    assert ties(folder) == "pessimistic"
    (folder / "other.toml").write_text('ties = "midrank"\n')
    assert ties(folder, "--config", "other.toml") == ties(folder, NCLBENCH_CONFIG="other.toml") == "midrank"
    assert ties(folder, "--config", "other.toml", NCLBENCH_TIES="expected") == "expected"
    assert ties(folder, "--config", "other.toml", "--ties", "optimistic", NCLBENCH_TIES="expected") == "optimistic"
    below = run("eval", "--emb", "scores.npy", "--json", "--config", "other.toml", cwd=folder)
    assert {each["direction"] for each in json.loads(below.stdout)["runs"]} == {"t2v"}, "other keys still count"


def test_every_option_has_a_variable_and_a_key(folder: Path) -> None:
    variables = {"EMB": "scores.npy", "NORMALIZE": "sinkhorn:tau=1 is:tau=1", "METRIC": "r@1", "NO_REFERENCE": "1"}
    done = run("eval", "--json", cwd=folder, **{f"NCLBENCH_{name}": value for name, value in variables.items()})
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert {each["operator"]["name"] for each in runs} == {"sinkhorn", "is"}
    (folder / "nclbench.toml").write_text(
        '[eval]\nemb = "scores.npy"\nnormalize = ["sinkhorn:tau=1", "is:tau=1"]\nmetric = "r@1"\nno-reference = true\n'
    )
    assert json.loads(run("eval", "--json", cwd=folder).stdout)["runs"] == runs
    bad = run("eval", cwd=folder, NCLBENCH_SEED="x")
    assert bad.returncode == 2
    assert "(from NCLBENCH_SEED)" in bad.stderr


@pytest.mark.parametrize("command", ["list scorers", "datasets show msvd", "inspect scores.npy"])
def test_every_command_reads_the_file(folder: Path, command: str) -> None:
    words = command.split()
    (folder / "nclbench.toml").write_text(f'[{words[0]}]\nformat = "json"\n')
    done = run(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_demo_table_and_convert_read_the_file(folder: Path) -> None:
    (folder / "nclbench.toml").write_text(
        '[demo]\ncaptions = "none.txt"\n[table]\nmetric = "R@1"\nformat = "csv"\n[convert]\nlayout = "nothing"\n'
    )
    assert "none.txt" in run("demo", cwd=folder).stderr
    assert "nothing" in run("convert", "scores.npy", "x.h5", cwd=folder).stderr
    assert run("eval", "--emb", "scores.npy", "-o", "r.json", cwd=folder).returncode == 0
    head = run("table", "r.json", cwd=folder).stdout.splitlines()[0].split(",")
    assert "R@1" in head
    assert "R@5" not in head


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("eval = 3", "'eval' must be a table, [eval], not 3"),
        ("[evla]\nseed = 1", "unknown table 'evla'; did you mean 'eval'?"),
        ("direktion = 1", "unknown key 'direktion'; did you mean 'direction'?"),
        ("[list]\nformta = 1", "unknown key 'formta' in [list]; did you mean 'format'?"),
        ("[list]\nties = 'midrank'", "unknown key 'ties' in [list] (known: format, json)"),
        ("q = true", "unknown key 'q'"),
        ("json = 'yes'", "'json' must be true or false, not 'yes'"),
        ("format = ['csv']", "'format' must be a text or a number, not ['csv']"),
        ("format", "not valid TOML"),
    ],
)
def test_what_a_file_cannot_say_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "nclbench.toml").write_text(text)
    done = run("list", "scorers", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)
    assert said in done.stderr
    assert "'f'" not in done.stderr and "'m'" not in done.stderr, "short flags are no keys"


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    assert run("list", "scorers", "--config", "none.toml", cwd=tmp_path).returncode == 4
    assert run("list", "scorers", "--config", "", cwd=tmp_path).returncode == 2

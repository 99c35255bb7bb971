"""Where output may go: never over an input, never in place of a device, and nothing at all after a failure."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli import run

from nclbench.errors import MissingError
from nclbench.files import replacing, write_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name in ("texts", "videos"):
        np.save(tmp_path / f"{name}.npy", draw.normal(size=(12, 4)).astype("f4"))
    (tmp_path / "texts.txt").write_text("".join(f"text {number}\n" for number in range(12)))
    (tmp_path / "table.md").write_text("".join(f"text {number}\n" for number in range(12)))
    (tmp_path / "own.toml").write_text("")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EVAL = ["eval", "--emb", "texts.npy,videos.npy", "-q"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-o", "videos.npy"], 2),
        (["-o", "./texts.txt", "--captions", "texts.txt"], 2),
        (["-o", "own.toml", "--config", "own.toml"], 2),
        (["-o", "texts.txt", "--map", "test.text.captions=texts.txt:0"], 2),
        (["--out-dir", ".", "--captions", "table.md"], 2),
        (["-o", "table.md", "--out-dir", "."], 2),
        (["-o", ""], 2),
        (["-o", "t.parquet"], 2),
        (["--out-dir", ""], 2),
        (["-o", "."], 4),
        (["--out-dir", "texts.txt"], 4),
        (["-o", "fifo.json"], 2),
    ],
)
def test_what_must_not_be_written_is_refused_before_the_work(folder: Path, arguments: list[str], code: int) -> None:
    os.mkfifo(folder / "fifo.json")
    before = contents(folder)
    done = run(*EVAL, *arguments, cwd=folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1), done.stderr
    assert contents(folder) == before


def test_results_are_not_written_over_by_a_table_of_them(folder: Path) -> None:
    assert run(*EVAL, "-o", "r.json", "-f", "csv", cwd=folder).stdout.startswith("dataset,")
    before = contents(folder)
    for name in ("r.json", "r.queries.parquet", "r.items.parquet"):
        assert run("table", "r.json", "-o", name, cwd=folder).returncode == 2
    for name in ("texts.npy", ""):
        assert run("convert", "texts.npy", name, cwd=folder).returncode == 2
    assert contents(folder) == before
    wrong = run(*EVAL, "--no-labels", "-m", "R@1", "--out-dir", "new", cwd=folder)
    assert wrong.returncode == 2
    assert not (folder / "new").exists()


def test_pipes_and_devices_are_written_to_and_stay(folder: Path) -> None:
    assert run(*EVAL, "-o", "/dev/null", cwd=folder).returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert run(*EVAL, "-f", "csv", "-o", "/dev/stdout", cwd=folder).stdout == run(*EVAL, "-f", "csv", cwd=folder).stdout
    os.mkfifo(folder / "fifo")
    with subprocess.Popen(["cat", "fifo"], cwd=folder, stdout=subprocess.PIPE, text=True) as reader:
        assert run(*EVAL, "-f", "csv", "-o", "fifo", cwd=folder).returncode == 0
        assert reader.communicate(timeout=60)[0].startswith("dataset,")
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    with pytest.raises(MissingError, match="not a regular file"), replacing(folder / "fifo"):
        pass


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_name_that_contradicts_the_format_is_refused_before_the_work(folder: Path) -> None:
    for arguments in (["--json", "-o", "r.md"], ["-f", "latex", "-o", "r.html"], ["-f", "csv", "-o", "r.tex"]):
        done = run(*EVAL, *arguments, cwd=folder)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert f"-o {arguments[-1]} and {' '.join(arguments[:-2])} contradict each other" in done.stderr
        assert not (folder / arguments[-1]).exists()
    assert run(*EVAL, "-f", "csv", "-o", "r.json", cwd=folder).stdout.startswith("dataset,"), "results are saved, stdout is CSV"


def test_a_text_file_has_the_table_of_a_terminal(folder: Path) -> None:
    shown = run(*EVAL, "-f", "table", cwd=folder).stdout
    for arguments in (["-f", "table", "-o", "a.txt"], ["-f", "table", "-o", "a.md"], ["-o", "b.txt"]):
        assert run(*EVAL, *arguments, cwd=folder, FORCE_COLOR="1").returncode == 0
        assert (folder / arguments[-1]).read_text() == shown
    assert run(*EVAL, "-o", "r.json", cwd=folder).returncode == 0
    assert run("table", "r.json", "-q", "-o", "c.txt", cwd=folder).returncode == 0
    assert (folder / "c.txt").read_text() == shown


def test_the_shell_may_give_a_descriptor(folder: Path) -> None:
    line = f"{sys.executable} -m nclbench {' '.join(EVAL)} -f csv -o /dev/stdout > out.csv && head -c 8 out.csv"
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert (done.stdout, done.stderr) == ("dataset,", "")


@pytest.mark.parametrize("name", ["own.json", "own.ids.json"])
def test_files_of_biases_are_inputs(folder: Path, name: str) -> None:
    for suffix in (".npy", ".json", ".ids.json"):
        (folder / f"own{suffix}").write_text("biases")
    before = contents(folder)
    done = run(*EVAL, "--normalize", "biases:file=own.npy", "-o", name, cwd=folder)
    assert done.returncode == 2 and "that is an input" in done.stderr and contents(folder) == before

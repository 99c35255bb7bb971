"""The example repositories: what they say is run as it stands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm

import nclbench

ROOT = Path(__file__).parents[1]
DEMO = Path(nclbench.__file__).parent / "demo_data"
PROGRAM = f"{sys.executable} -m nclbench"


def copied(name: str, to: Path) -> Path:
    folder = to / name
    shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns("results", "paper.*[!x]"))
    return folder


def make(folder: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    command = ["make", f"NCLBENCH={PROGRAM}", f"PYTHON={sys.executable}", *targets]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_paper_is_made_of_results_and_its_tables_are_what_they_say(tmp_path: Path) -> None:
    folder = copied("paper", tmp_path)
    committed = (folder / "tables" / "main.tex").read_text()
    done = make(folder, "check")
    assert done.returncode == 0, done.stderr
    fused = next(line for line in committed.splitlines() if line.startswith("0.73") and r"\dagger" in line)
    assert r"\textbf{54.1} {\scriptsize +5.0$^*$}" in fused
    text = committed.replace("54.1", "54.2")
    (folder / "tables" / "main.tex").write_text(text)
    done = make(folder, "check")
    assert done.returncode != 0 and "differs from the results" in done.stderr
    (folder / "tables" / "main.tex").unlink()
    if shutil.which("pdflatex") is None:
        assert not os.environ.get("CI"), "continuous integration must have pdflatex"
        assert make(folder, "tables/main.tex").returncode == 0
    else:
        done = make(folder, "paper.pdf")
        assert done.returncode == 0, done.stdout[-2000:]
        assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
        assert "Overfull" not in (folder / "paper.log").read_text(errors="replace")
    assert (folder / "tables" / "main.tex").read_text() == committed


def test_the_workflow_evaluates_gates_and_makes_the_table(tmp_path: Path) -> None:
    folder = copied("ci", tmp_path)
    (folder / "embeddings").mkdir()
    shutil.copy(DEMO / "msrvtt1ka_cap4video_video.h5", folder / "embeddings" / "model.h5")
    github = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output.txt", "GITHUB_ACTIONS": "true"}
    env = {key: value for key, value in os.environ.items() if not key.startswith("NCLBENCH")} | github

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return warm.run(shlex.split(line)[1:], cwd=folder, env=env)

    page = (folder / "README.md").read_text()
    first = re.findall(r"^    (nclbench .*)$", page, re.M)
    workflow = (folder / ".github" / "workflows" / "evaluate.yml").read_text()
    steps = re.findall(r"run: (nclbench .*)$", workflow, re.M)
    assert len(first) == 2 and len(steps) == 4
    for line in [*first, *steps]:
        done = run(line)
        assert done.returncode == 0, (line, done.stderr)
    assert "gate: passed" in (folder / "summary.md").read_text()
    assert (folder / "output.txt").read_text().endswith("passed=true\nfailed=0\n")
    assert r"\toprule" in (folder / "tables" / "main.tex").read_text()
    assert {path.name for path in (folder / "results").iterdir()} >= {"main.json", "main.queries.parquet"}

    # another model in its place is a regression that is real
    shutil.copy(DEMO / "msrvtt1ka_cap4video_titles.h5", folder / "embeddings" / "model.h5")
    assert run(steps[0]).returncode == 0
    done = run(steps[1])
    assert done.returncode == 1
    assert "::error title=nclbench gate%3A t2v.R@1::" in done.stderr


def test_what_the_workflow_commits_is_what_the_program_writes() -> None:
    workflow = (ROOT / "examples" / "ci" / ".github" / "workflows" / "evaluate.yml").read_text()
    added = re.search(r"git add (.*)", workflow)
    assert added is not None
    assert added[1].split() == [
        "tables/main.tex", "results/main.json", "results/main.queries.parquet", "results/main.items.parquet",
    ]  # fmt: skip

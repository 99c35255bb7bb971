"""The README's commands and code run as they stand, and what it says of the demo is what the demo prints."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import warm

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTED_ELSEWHERE = ("extending.md", "deploy.md", "sweep.md", "embed.md")
NAMED = r"`(nclbench list [^`]+|nclbench datasets [^`]+)`"


RUN = [page for page in PAGES if page.name not in TESTED_ELSEWHERE and "```sh" in page.read_text()]


@pytest.mark.parametrize("page", RUN, ids=lambda path: path.name)
def test_every_command_and_block_of_a_page_runs_in_its_order(page: Path, tmp_path: Path) -> None:
    ran = 0
    for language, block in re.findall(r"```(python|sh)\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        lines = [block] if language == "python" else [line.split(" #")[0].strip() for line in block.splitlines()]
        for line in lines:
            if language == "sh" and not line.startswith("nclbench"):
                continue
            if language == "sh":
                done = warm.run(shlex.split(line)[1:], cwd=tmp_path)
            else:
                command = [sys.executable, "-c", line]
                done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, (line, done.stderr)
            ran += 1
    assert ran >= 3


@pytest.mark.parametrize("line", sorted({found for page in PAGES for found in re.findall(NAMED, page.read_text())}))
def test_commands_named_in_the_text_exist(line: str, tmp_path: Path) -> None:
    done = warm.run(shlex.split(line)[1:], cwd=tmp_path)
    assert done.returncode == 0, (line, done.stderr)


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_demo_prints_the_figures_of_the_readme(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nclbench", "demo", "--out-dir", "out", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=True)
    runs = json.loads(done.stdout)["runs"]
    value = {
        (r["model"], r["direction"], r["operator"]["name"]): r["metrics"]["R@1"]["value"] for r in runs
    }
    assert value["Cap4Video (video)", "t2v", "none"] == pytest.approx(48.0)
    assert value["Cap4Video (video)", "t2v", "sinkhorn"] == pytest.approx(53.9)
    assert value["Cap4Video (video)", "v2t", "none"] == pytest.approx(45.8)
    assert value["Cap4Video (video)", "v2t", "sinkhorn"] == pytest.approx(53.0)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.json",
        "queries.parquet",
        "items.parquet",
        "table.md",
        "table.tex",
        "report.html",
    }
    assert "Try next" in done.stderr


def test_no_caption_of_a_benchmark_is_in_the_package(tmp_path: Path) -> None:
    from nclbench import load

    for path in (ROOT / "nclbench" / "demo_data").glob("*.h5"):
        problem = load(path)
        assert problem.queries.captions is None
        assert problem.items.captions is None
        assert all(re.fullmatch(r"video\d+(/caption)?", name) for name in problem.queries.ids + problem.items.ids)


def test_captions_are_added_locally(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"made-up text {n}\n" for n in range(1000)), encoding="utf-8")
    command = [sys.executable, "-m", "nclbench", "demo", "--out-dir", "out", "--captions", str(texts), "--quiet"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=600, check=True)
    table = pq.read_table(tmp_path / "out" / "queries.parquet")
    assert "made-up text 7" in table.column("caption").to_pylist()

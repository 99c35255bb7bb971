"""docs/extending.md's operator, as a package of its own: found by its entry point, and lawful."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import factories
import numpy as np
import pytest

from nclbench.sinks import save

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip would leave it."""
    folder = tmp_path_factory.mktemp("packages")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (table,) = re.findall(r'entry-points\."(.*?)"\]\n(.*?)```', PAGE, re.S)
    (folder / "localized.py").write_text(code, encoding="utf-8")
    info = folder / "localized-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: localized\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{table[0]}]\n{table[1].replace(chr(34), '')}", encoding="utf-8")
    return folder


def run(packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-m", "nclbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


def test_it_is_listed_and_gives_its_formula(packages: Path, tmp_path: Path) -> None:
    listed = json.loads(run(packages, "list", "operators", "-f", "json").stdout)
    params = {entry["name"]: entry["params"] for entry in listed}
    assert params["lcent"] == {"k": "10", "gamma": "1.0", "fit": "auto"}
    problem = factories.with_banks()
    save(problem, str(tmp_path / "x.h5"))
    done = run(packages, "eval", "--emb", str(tmp_path / "x.h5"), "--normalize", "lcent:k=5", "-m", "R@1", "-m", "MnR", "--json")
    assert done.returncode == 0, done.stderr
    (found,) = [r for r in json.loads(done.stdout)["runs"] if r["direction"] == "t2v" and r["operator"]["name"] == "lcent"]
    scores, bank = factories.defined(problem), factories.defined(problem, "query_bank", "items")
    adjusted = scores - np.sort(bank, axis=0)[-5:].mean(0).clip(0)
    assert problem.relevance is not None
    own = adjusted[problem.relevance.query, problem.relevance.item]
    ranks = 1 + (adjusted > own[:, None]).sum(1)
    assert found["metrics"]["MnR"]["value"] == pytest.approx(ranks.mean())
    assert found["operator"]["fitted_on"] == "query-bank" and found["operator"]["transductive"] is False


def test_it_is_lawful(packages: Path) -> None:
    """The laws are run with the package installed, on one problem each."""
    laws = (
        "test_streamed_under_any_tiling_gives_the_dense_integers and banks-scores and 64",
        "test_the_stamps_say_what_an_operator_looked_at and lcent",
        "test_specs_round_trip and lcent",
    )
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    chosen = " or ".join(f"({law})" for law in laws)
    command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "-k", chosen, "test_laws.py"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    for passed in ("looked_at[lcent-1] PASSED", "round_trip[lcent] PASSED", "[banks-scores-64-(64, 97)] PASSED"):
        assert passed in done.stdout


def test_one_that_cannot_be_loaded_is_one_line(packages: Path, tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[nclbench.operators]\nbroken = nowhere_to_be_found\n", encoding="utf-8")
    done = run(tmp_path, "list", "operators")
    assert done.returncode == 4 and done.stderr.count("\n") == 1
    assert "operator 'broken' of nowhere_to_be_found cannot be loaded" in done.stderr

"""What `pip install .` gives: a wheel with the demo data, their licence and the benchmarks' metadata, usable elsewhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_is_complete_and_works_without_the_repository(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for name in (
        "nclbench/demo_data/msrvtt1ka_cap4video_video.h5",
        "nclbench/demo_data/msrvtt1ka_cap4video_titles.h5",
        "nclbench/demo_data/LICENSE.Cap4Video",
        "nclbench/datasets_meta/msrvtt-1ka.toml",
    ):
        assert name in names
    assert len([name for name in names if name.startswith("nclbench/datasets_meta/")]) >= 14
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for arguments, word in ((["datasets", "show", "msvd"], "670"), (["eval", "--emb", "DEMO"], "48.0")):
        demo = tmp_path / "site" / "nclbench" / "demo_data" / "msrvtt1ka_cap4video_video.h5"
        command = [sys.executable, "-m", "nclbench", *(str(demo) if each == "DEMO" else each for each in arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert word in done.stdout
    probe = "import nclbench; print(nclbench.__file__)"
    where = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert str(tmp_path / "site") in where.stdout


def test_the_two_ranges_of_torch() -> None:
    """Loose in the package, exact in the constraints."""
    assert '"torch>=2.10"' in (ROOT / "pyproject.toml").read_text()
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()

"""A command that is forked from what has loaded torch already is the command in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import factories
import pytest
import warm

from nclbench.sinks import save

COMMANDS = [
    (0, "eval --emb in.h5 --normalize sinkhorn:tau=0.1,fit=test -o new/r.json"),
    (0, "demo --out-dir new/demo --quiet"),
    (0, "hubness-report --emb in.h5 --tau 0.1 --out-dir new/report"),
    (0, "normalize --emb in.h5 --normalize csls:k=2 -o new/b.npy"),
    (0, "sweep --val in.h5 --normalize is:tau=0.1|1 -o new/sweep.json"),
    (0, "compare r.json -f md"),
    (0, "table r.json -f latex"),
    (1, "gate r.json --threshold t2v.R@1>=101"),
    (0, "verify r.json"),
    (0, "bench --help"),
    (0, "list operators --json"),
    (0, "inspect in.h5"),
    (0, "convert in.h5 new/in.npz"),
    (0, "datasets show msvd"),
    (4, "embed --checkpoint none --captions none.csv --videos . -o new/e.h5"),
    (2, "eval --nonsense"),
    (2, ""),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    save(factories.hubs(n=30, m=30), str(folder / "in.h5"))
    done = warm.fresh(["eval", "--emb", "in.h5", "--normalize", "csls:k=2", "-o", "r.json", "-q"], cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "new").mkdir()
    return folder


def written(folder: Path) -> dict[str, bytes]:
    """Every new file, and of results all but the time that they took."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name, content in found.items():
        if name.endswith(".json") and b'"timing"' in content:
            found[name] = json.dumps(json.loads(content) | {"timing": {}}).encode()
    return found


@pytest.mark.parametrize(("code", "line"), COMMANDS)
def test_every_command_is_the_same_to_the_last_byte(code: int, line: str, inputs: Path, tmp_path: Path) -> None:
    """The part with `fresh` also shows that a command finds all it needs where nothing was loaded for it."""
    folder = tmp_path / "here"
    found = []
    for way in (warm.fresh, warm.run):
        shutil.copytree(inputs, folder)
        done = way(line.split(), cwd=folder)
        found.append((done.returncode, done.stdout, done.stderr, written(folder)))
        shutil.rmtree(folder)
    alone, forked = found
    assert alone[0] == code, alone[2]
    assert forked == alone
    assert (alone[3].keys() > written(inputs).keys()) == ("new/" in line and code == 0)


def test_a_command_knows_nothing_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "nclbench.toml").write_text("nonsense = 1\n")
    refused = warm.run(["list", "scorers"], cwd=tmp_path)
    assert refused.returncode == 3 and "nonsense" in refused.stderr
    assert refused.args == ["nclbench", "list", "scorers"], "forked"
    assert warm.run(["list", "scorers"], cwd=tmp_path.parent).returncode == 0
    assert warm.run(["list", "scorers"], env=os.environ | {"NCLBENCH_FORMAT": "yaml"}).returncode == 2
    assert warm.run(["list", "scorers"]).returncode == 0


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PYTHONPATH", "PYTHONIOENCODING", "LC_ALL", "NUMBA_NUM_THREADS", "TERM"])
def test_variables_that_are_read_while_loading_need_a_process_of_their_own(name: str) -> None:
    values = {"PYTHONPATH": os.environ.get("PYTHONPATH", "") + os.pathsep, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = warm.run(["--version"], env=os.environ | {name: values.get(name, "3")})
    assert (done.returncode, done.args[0]) == (0, sys.executable)
    less = {key: os.environ[key] for key in os.environ if key != "PATH"}
    assert warm.run(["--version"], env=less).args[0] == sys.executable


def test_what_takes_too_long_is_ended_and_said(inputs: Path) -> None:
    endless = ["eval", "--emb", "in.h5", "--normalize", "sinkhorn:tau=0.0001,tol=1e-15,max_iters=100000000"]
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(endless, cwd=inputs, timeout=0.05)
    assert warm.run(["--version"]).returncode == 0


def test_what_forks_has_one_thread() -> None:
    """Which `_asked` holds it to: here it is seen to do so."""
    code = (
        "import socket, sys, threading, time\n"
        f"sys.path.insert(0, {str(Path(warm.__file__).parent)!r})\n"
        "import warm\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n"
        "ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "socket.send_fds(ours, [b'{}'], [0, 1, 2])\n"
        "warm._asked(theirs)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "has started threads" in done.stderr

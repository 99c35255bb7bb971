"""Several processes started as one run, and ended with the test whatever happens."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

LIMIT = 240.0  # seconds for all processes together


def launched(
    folder: Path | Sequence[Path], *arguments: str, world: int = 2, program: Sequence[str] = ("-m", "nclbench")
) -> list["subprocess.Popen[str]"]:
    """The processes of one run, started as torchrun starts them, each in its folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folders = [folder] * world if isinstance(folder, Path) else folder
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=folders[rank],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def ended(processes: list["subprocess.Popen[str]"]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    try:
        return [(process.wait(LIMIT), *process.communicate()) for process in processes]
    finally:
        for process in processes:
            process.kill()


def at_work(process: "subprocess.Popen[str]", seconds: float = 4.0) -> None:
    """Waits until a process has computed for so long since it began to load torch, which itself takes one or two."""
    place, end, loading = Path(f"/proc/{process.pid}"), time.monotonic() + LIMIT, None
    if not place.exists():
        time.sleep(12)
    while place.exists() and process.poll() is None and time.monotonic() < end:
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if loading is None and "libtorch_cpu" in (place / "maps").read_text():
            loading = spent
        if loading is not None and spent > loading + seconds:
            return
        time.sleep(0.05)


def run(script: str, world: int, folder: Path, *more: str) -> None:
    """Runs `script RANK WORLD FOLDER …` in so many processes; a hang and a failure of any of them are failures."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    started = []
    for rank in range(world):
        with (folder / f"stderr.{rank}").open("w") as said:
            command = [sys.executable, script, str(rank), str(world), str(folder), *more]
            started.append(subprocess.Popen(command, env=environment, stderr=said))
    end = time.monotonic() + LIMIT
    try:
        while any(process.poll() is None for process in started):
            failed = [rank for rank, process in enumerate(started) if process.poll()]
            if failed or time.monotonic() > end:
                tails = [(folder / f"stderr.{rank}").read_text()[-2000:] for rank in failed or range(world)]
                pytest.fail(f"processes {failed} failed: {tails}" if failed else f"hung: {tails}")
            time.sleep(0.05)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0] * world

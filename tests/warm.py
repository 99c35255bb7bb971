"""`python -m nclbench …` in a process that has loaded torch already.

Loading torch takes longer than nearly every command that a test starts. So each worker of pytest has a process that
loads it, computes nothing, and forks for a command, which has its own folder, variables and descriptors, and ends as a
process does. What lies before the fork, or must not be shared, cannot be seen that way, and needs `fresh`: what is loaded
and how long that takes, closed streams and terminals, signals, limits and peaks of memory, packaging, the order of sets.
A command under variables that libraries may read while they load is started afresh without being asked.
"""

import atexit
import contextlib
import gc
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

LOADED = ("torch", "h5py", "nclbench.cli", "nclbench.evaluation", "nclbench.sources", "nclbench.sinks", "nclbench.report")
# with these loaded the program takes other paths, variables have been read that tests set, or a thread runs
NOT_YET = ("numba", "rich.console", "typer.rich_utils", "pyarrow", "transformers", "huggingface_hub")
READ_LATE = (
    "NCLBENCH", "GITHUB_", "PYTEST_CURRENT_TEST", "COLUMNS", "TERMINAL_WIDTH", "FORCE_COLOR", "NO_COLOR",
    # set by what a test has imported, and by the program itself
    "HF_HUB_", "TRANSFORMERS_OFFLINE", "TOKENIZERS_", "CODECARBON_", "TORCHINDUCTOR_CACHE_DIR",
    "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK",  # of an OpenMP that torch does not use here
)  # fmt: skip
STARTS: tuple[dict[str, str], ...] = ({}, {"OMP_NUM_THREADS": "1"})  # what a process that forks is started with besides
LONGEST = 1 << 20  # bytes of a message

_FIRST = dict(os.environ)


def fresh(
    arguments: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, from its first line on."""
    command = [sys.executable, "-m", "nclbench", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def run(
    arguments: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """As `fresh`, from where everything is loaded. env: all variables, those of this process if not given."""
    env = os.environ if env is None else env
    starts = [number for number, more in enumerate(STARTS) if _early(env) == _early(_FIRST | more)]
    if not hasattr(os, "fork") or not starts:
        return fresh(arguments, cwd=cwd, env=env, timeout=timeout)
    place = str(Path.cwd() if cwd is None else cwd)
    message = json.dumps({"arguments": [os.fspath(each) for each in arguments], "cwd": place, "env": dict(env)}).encode()
    line = _server(starts[0])
    with contextlib.ExitStack() as stack:
        ours, theirs = zip(*(_pipe(stack) for _ in range(2)), strict=True)
        socket.send_fds(line, [message], [0, *(end.fileno() for end in theirs)])
        for end in theirs:
            end.close()
        pid = _number(line)
        try:
            out, errors = _read(ours, time.monotonic() + timeout)
        except BaseException as error:
            os.kill(pid, signal.SIGKILL)
            _number(line)
            if isinstance(error, TimeoutError):
                raise subprocess.TimeoutExpired(list(arguments), timeout) from None
            raise
        return subprocess.CompletedProcess(["nclbench", *arguments], _number(line), out, errors)


def _early(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(READ_LATE)}


def _pipe(stack: contextlib.ExitStack) -> tuple[io.FileIO, io.FileIO]:
    reading, writing = os.pipe()
    return stack.enter_context(io.FileIO(reading, "r")), stack.enter_context(io.FileIO(writing, "w"))


def _read(pipes: Sequence[io.FileIO], end: float) -> Iterator[str]:
    """All that comes out of each, as text."""
    found: dict[Any, bytearray] = {pipe: bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as waiting:
        for pipe in pipes:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                part = os.read(key.fd, 1 << 16)
                found[key.fileobj] += part
                if not part:
                    waiting.unregister(key.fileobj)
    return (io.TextIOWrapper(io.BytesIO(each)).read() for each in found.values())


def _number(line: socket.socket) -> int:
    answer = line.recv(100)
    if not answer:
        raise RuntimeError("the process that forks has ended; tests/warm.py says what it may load")
    return int(answer)


@cache
def _server(start: int) -> socket.socket:
    """The line to a process of this worker, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env=_early(_FIRST | STARTS[start]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait(60)

    atexit.register(end)
    return ours


# ------------------------------------------------------------------------------------------------ the process that forks


def _asked(line: socket.socket) -> dict[str, Any] | None:
    """Waits for commands and forks for them: gives what to do in each that is forked, and None here at the end."""
    while True:
        message, given, *_ = socket.recv_fds(line, LONGEST, 3)
        if not message:
            return None
        pid = os.fork()
        if not pid:
            line.close()
            for number, descriptor in enumerate(given):
                os.dup2(descriptor, number)
                os.close(descriptor)
            return json.loads(message)
        for descriptor in given:
            os.close(descriptor)
        # OpenBLAS ends its threads before a fork, and others are not for a process that forks
        assert len(os.listdir("/proc/self/task")) == 1, "something that was loaded has started threads"
        line.sendall(b"%d" % pid)
        line.sendall(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def main() -> None:
    for name in LOADED:
        import_module(name)
    assert not [name for name in NOT_YET if name in sys.modules]
    gc.freeze()  # what is loaded is neither looked through nor copied when a command ends
    asked = _asked(socket.socket(fileno=int(sys.argv[1])))
    if asked is None:
        return
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["nclbench", *asked["arguments"]]
    sys.path[0] = os.getcwd()
    try:
        runpy.run_module("nclbench", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, int):
            _end(ended.code)
        raise


def _end(code: int) -> None:
    """As Python ends a process, but for taking apart what was loaded before the fork."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

"""Results on disk: whole or untouched, one writer a place, strict on the way back."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from nclbench.errors import InputError, MissingError
from nclbench.results import Applied, Convergence, Results, Run, Value
from nclbench.sinks import results as sink
from nclbench.sinks.columns import KEYS
from nclbench.sinks.results import LOCK, read_json, write_folder, write_json

FILES = ["results.json", "queries.parquet", "items.parquet", "table.md", "table.tex"]


def rows(ids: list[str], **more: Any) -> dict[str, Any]:
    keys = {name: np.full(len(ids), name, dtype=object) for name in KEYS[:-1]}
    return {**more, **dict(reversed(keys.items())), "id": np.array(ids, dtype=object)}


def results(value: float = 48.0, ids: tuple[str, ...] = ("q0", "q1")) -> Results:
    lists = np.empty(len(ids), dtype=object)
    lists[:] = [["a", "b"] for _ in ids]
    run = Run(
        dataset="msrvtt-1ka",
        split="test",
        model="clip \x9b é 模",
        direction="t2v",
        protocol="queries",
        operator=Applied("sinkhorn:tau=0.01", "sinkhorn", {"tau": 0.01}, "test-queries", True),
        scorer="cosine",
        metrics={"R@1": Value(value, "percent", 1000, 48.2, 47.8, 45.0, None)},
        signature="t2v|…",
        ties={"queries": 3},
        convergence=Convergence(7, 1e-4, True),
    )
    queries = rows(list(ids), rank=np.arange(len(ids)) / 3, top=lists)
    inputs = ({"role": "queries", "path": "a\udc80.h5"},)
    return Results((run,), inputs, {"seed": np.int64(1)}, "x", ("w",), {}, queries)


def texts(value: float = 48.0) -> dict[str, str]:
    return {"table.md": f"| {value} |\n", "table.tex": f"% {value}\n"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folder_holds_everything_and_again_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    assert write_folder(results(), folder, texts()) == [folder / name for name in FILES]
    first = contents(folder)
    assert sorted(first) == sorted(FILES)
    assert first["table.md"] == b"| 48.0 |\n"
    write_folder(results(), folder, texts())
    assert contents(folder) == first


def test_json_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(results(), path)
    assert sorted(contents(tmp_path)) == ["x.items.parquet", "x.json", "x.queries.parquet"]
    assert read_json(path).to_json() == results().to_json()
    assert "模" in path.read_text(encoding="utf-8")


def test_parquet_puts_the_keys_first_and_keeps_types(tmp_path: Path) -> None:
    write_folder(results(ids=("q0", "q\udc80")), tmp_path)
    table = parquet.read_table(tmp_path / "queries.parquet")
    assert table.column_names == [*KEYS, "rank", "top"]
    assert table["id"].to_pylist() == ["q0", "q\\udc80"]
    assert table["rank"].to_pylist() == [0.0, 1 / 3]
    assert table["top"].to_pylist() == [["a", "b"]] * 2
    empty = parquet.read_table(tmp_path / "items.parquet")
    assert (empty.column_names, empty.num_rows) == (list(KEYS), 0)


@pytest.mark.parametrize("failing", range(5))
def test_a_failure_leaves_the_old_files(tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(results(1.0), tmp_path, texts(1.0))
    before = contents(tmp_path)
    real, calls = Path.write_bytes, iter(range(99))

    def full(*_: Any) -> int:
        if next(calls) == failing:
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(sink, "write_parquet", full)
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: full() or real(path, data))
    with pytest.raises(MissingError, match=rf"{FILES[failing]}: could not be written \(No space left"):
        write_folder(results(2.0), tmp_path, texts(2.0))
    assert contents(tmp_path) == before


def test_results_that_are_not_json_are_never_written(tmp_path: Path) -> None:
    write_folder(results(1.0), tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_folder(results(float("nan")), tmp_path)
    assert contents(tmp_path) == before


def test_kill_leaves_the_old_files_and_the_next_run_tidies_up(tmp_path: Path) -> None:
    write_folder(results(1.0), tmp_path, texts(1.0))
    before = contents(tmp_path)
    code = """
        import os, signal, sys
        from pathlib import Path
        from nclbench.results import Results
        from nclbench.sinks import results as sink
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        sink.write_folder(Results(()), Path(sys.argv[1]), {"table.md": "cut", "table.tex": "cut"})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert LOCK in after and len(after) > len(before) + 1
    write_folder(results(2.0), tmp_path, texts(2.0))
    assert sorted(contents(tmp_path)) == sorted(FILES)
    assert read_json(tmp_path / "results.json").runs[0].metrics["R@1"].value == 2.0


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("holder", "said"),
    [
        ("PID HOST\n", r"process \d+ on .* is writing here"),
        ("1 another-host\n", "process 1 on another-host is writing here"),
        ("1 host\x1b[31m\n", "process 1 on host\ufffd"),
        ("", "another run is writing here; wait for it, or remove .nclbench.lock"),
        ("-1 x\n", "another run"),
        ("9" * 40, "another run"),
    ],
)
def test_a_held_folder_is_refused(tmp_path: Path, holder: str, said: str) -> None:
    holder = holder.replace("PID", str(os.getpid())).replace("HOST", socket.gethostname())
    (tmp_path / LOCK).write_text(holder)
    with pytest.raises(MissingError, match=said):
        write_folder(results(), tmp_path)
    assert contents(tmp_path) == {LOCK: holder.encode()}


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(f"{dead_process()} {socket.gethostname()}\n")
    write_folder(results(), tmp_path)
    assert sorted(contents(tmp_path)) == sorted(FILES[:3])


def test_of_many_writers_each_is_done_or_refused(tmp_path: Path) -> None:
    def attempt(number: int) -> int:
        try:
            write_folder(results(number), tmp_path, texts(number))
        except MissingError:
            return -1
        return number

    (tmp_path / LOCK).write_text(f"{dead_process()} {socket.gethostname()}\n")
    with ThreadPoolExecutor(8) as pool:
        done = {number for number in pool.map(attempt, range(40)) if number >= 0}
    assert done and sorted(contents(tmp_path)) == sorted(FILES)
    value = int(read_json(tmp_path / "results.json").runs[0].metrics["R@1"].value)
    assert value in done
    assert (tmp_path / "table.md").read_text() == f"| {value} |\n"


def test_places_that_cannot_be_written_are_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MissingError, match="cannot write here"):
            write_folder(results(), folder)
    with pytest.raises(MissingError, match="cannot write here"):
        write_json(results(), tmp_path / "file" / "x.json")
    with pytest.raises(ValueError, match="is not a file name"):
        write_folder(results(), tmp_path / "out", {"../escaped": ""})
    assert not (tmp_path / "escaped").exists()


def damaged(change: Any) -> str:
    data = json.loads(json.dumps(results().to_json(), default=int))
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": 1, "schema": 1}', "key 'schema' twice"),
        ('{"schema": NaN}', "NaN is not a number"),
        ('{"schema": -Infinity}', "-Infinity is not a number"),
        ('{"schema": 1e999}', "1e999 is too large"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"schema": ' + "9" * 5000 + "}", "9{19}… is too large"),
        ("", "not valid JSON"),
        ("{}", "schema None"),
        ("[]", "schema None"),
        (b"\xff\xfe", "not valid JSON"),
        (damaged(lambda data: data.pop("runs")), "damaged results file"),
        (damaged(lambda data: data.update(runs=["ab"])), "damaged results file"),
        (damaged(lambda data: data.update(runs=3)), "damaged results file"),
        (damaged(lambda data: data["runs"][0].update(extra=1)), "damaged results file"),
        (damaged(lambda data: data["runs"][0].update(model=None)), "model is None"),
        (damaged(lambda data: data["runs"][0].update(oracle="no")), "oracle is 'no'"),
        (damaged(lambda data: data["runs"][0]["metrics"]["R@1"].update(value="48")), "value of R@1 is '48'"),
        (damaged(lambda data: data["runs"][0]["metrics"]["R@1"].update(n=True)), "n of R@1 is True"),
        (damaged(lambda data: data["runs"][0]["convergence"].update(iterations="\x1b")), "iterations is '.x1b'"),
    ],
)
def test_files_that_are_not_results_are_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError, match=said) as caught:
        read_json(path)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


def test_missing_and_strange_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match="no such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="not a regular file"):
        read_json(tmp_path)
    write_json(replace(results(), inputs=()), tmp_path / "x.json")
    monkeypatch.setattr(sink, "LARGEST", 10)
    with pytest.raises(InputError, match="a results file has at most"):
        read_json(tmp_path / "x.json")

"""The command line as a user meets it: real processes, exit codes, streams, files."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import warm
from launching import at_work

REAL = Path(__file__).parents[2] / "shared" / "data"


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("NCLBENCH")} | environment
    return warm.run(arguments, cwd=cwd, env=env)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 videos, 60 captions, a query bank."""
    draw = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("data") / "small.h5"
    videos = draw.normal(size=(40, 16)).astype("f4")
    of = np.sort(draw.permutation(60) % 40)
    with h5py.File(path, "w") as file:
        file["text_embeddings"] = videos[of] + 0.8 * draw.normal(size=(60, 16)).astype("f4")
        file["video_embeddings"] = videos
        file["text_video_index"] = of
        file["querybank_text_embeddings"] = draw.normal(size=(90, 16)).astype("f4")
    return path


def test_data_goes_to_stdout_and_notes_to_stderr(small: Path) -> None:
    done = run("eval", "--emb", str(small), "--normalize", "sinkhorn", "-f", "json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["schema"] == "nclbench.results/1"
    found = [(r["direction"], r["protocol"], r["operator"]["spec"]) for r in data["runs"]]
    assert found == [
        ("t2v", "queries", "none"),
        ("t2v", "queries", "sinkhorn"),
        ("v2t", "captions", "none"),
        ("v2t", "videos", "none"),
        ("v2t", "captions", "sinkhorn"),
        ("v2t", "videos", "sinkhorn"),
    ]
    assert "tau is not given" in done.stderr
    for each in data["runs"]:
        assert each["metrics"]["R@1"]["unit"] == "percent"
    banked, test_fitted = data["runs"][1]["operator"], data["runs"][4]["operator"]
    assert (banked["fitted_on"], banked["transductive"]) == ("query-bank", False)
    assert (test_fitted["fitted_on"], test_fitted["transductive"]) == ("test-queries", True)


def test_a_pipe_gets_markdown_without_escape_codes(small: Path) -> None:
    done = run("eval", "--emb", str(small), GITHUB_ACTIONS="true")
    assert done.returncode == 0, done.stderr
    assert "| " in done.stdout
    assert "\x1b" not in done.stdout
    assert "t2v|R@k:hit|ties:expected|q:60|g:40|scorer:cosine|op:none" in done.stdout


def test_python_gives_the_same_results(small: Path) -> None:
    import nclbench

    there = json.loads(run("eval", "--emb", str(small), "--normalize", "sinkhorn:tau=0.1,fit=test", "--json").stdout)
    here = nclbench.evaluate(nclbench.load(small), ["sinkhorn:tau=0.1,fit=test"]).to_json()
    assert there["runs"] == json.loads(json.dumps(here["runs"]))


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--normalize", "sinkhron"], 2, "sinkhorn"),
        (["--normalize", "sinkhorn:tua=1"], 2, "tau"),
        (["--metric", "R@0"], 2, "R@10"),
        (["--ties", "averaged"], 2, "tie rule"),
        (["--direction", "t2t"], 2, "direction"),
        (["-f", "yaml"], 2, "format"),
        (["--device", "tpu"], 2, "device"),
        (["--memory", "lots"], 2, "memory"),
        (["--dataset", "msrvtt-1ka"], 3, "1,000"),
        (["--dataset", "msvdd"], 2, "msvd"),
        (["--strict", "--normalize", "sinkhorn:tau=0.01,fit=test,max_iters=1"], 5, "converge"),
        (["--bank", "missing.h5"], 4, "missing.h5"),
        (["--nonsense"], 2, "see nclbench eval --help"),
        (["--metric", "R@99999999999"], 2, "at most 999999999"),
        (["--metric", "R@1", "--no-labels"], 2, "--no-labels"),
        (["--no-reference"], 2, "--normalize"),
        (["--seed", "-1"], 2, "'--seed'"),
        (["--direction", "T2V"], 2, "did you mean 't2v'?"),
        (["--ties", "MidRank"], 2, "did you mean 'midrank'?"),
        (["-f", "CSV"], 2, "did you mean 'csv'?"),
    ],
)
def test_mistakes_get_one_line_and_their_exit_code(small: Path, arguments: list[str], code: int, word: str) -> None:
    done = run("eval", "--emb", str(small), "--quiet", *arguments, GITHUB_ACTIONS="1", FORCE_COLOR="1")
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert "\x1b" not in done.stderr
    assert done.stdout == ""
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_saved_results_make_the_same_table_again(small: Path, tmp_path: Path) -> None:
    saved = tmp_path / "r.json"
    done = run("eval", "--emb", str(small), "--normalize", "sinkhorn:tau=0.1", "-o", str(saved))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.items.parquet", "r.json", "r.queries.parquet"]
    again = run("table", str(saved))
    assert again.stdout == done.stdout
    assert "\\toprule" in run("table", str(saved), "-f", "latex").stdout
    few = run("table", str(saved), "-m", "r@1", "-f", "csv")
    assert "R@1," in few.stdout and "R@5" not in few.stdout
    for wrong in ("R@2", "Recal@1", "R@99999999999"):
        done = run("table", str(saved), "-m", wrong)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_out_dir_holds_everything_and_failure_leaves_nothing(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert run("eval", "--emb", str(small), "--out-dir", str(folder)).returncode == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"results.json", "queries.parquet", "items.parquet", "table.md", "table.tex"}
    failed = tmp_path / "failed"
    assert run("eval", "--emb", str(tmp_path / "none.h5"), "--out-dir", str(failed)).returncode == 4
    assert not failed.exists()


def test_an_output_that_cannot_be_written_fails_before_the_work(small: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = run("eval", "--emb", str(small), "--out-dir", str(blocked / "out"))
    assert done.returncode == 4
    assert done.stdout == ""


def piped(command: str) -> subprocess.CompletedProcess[str]:
    """A shell line that begins with nclbench, and the exit code of its first part."""
    line = f"{sys.executable} -m {command}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("reader", ["head -1", "true"])
@pytest.mark.parametrize("command", ["--help", "list operators", "list datasets --json", "eval --emb {} -q -f csv"])
def test_a_closed_pipe_is_not_an_error(command: str, reader: str, small: Path) -> None:
    done = piped(f"nclbench {command.format(small)} | {reader}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_or_closed_stdout_is_said() -> None:
    full = piped("nclbench list scorers > /dev/full")
    assert (full.returncode, full.stderr) == (4, "error: stdout: No space left on device\n")
    assert piped("nclbench list scorers >&-").returncode == 0
    assert piped("nclbench list nothing 2>&-").returncode == 2


def test_no_arguments_is_the_help() -> None:
    done = run(NO_COLOR="1")
    assert (done.returncode, done.stderr) == (2, "")
    assert "Usage: nclbench [OPTIONS] COMMAND" in done.stdout
    assert "NCLBENCH_NO_LABELS" in done.stdout


def test_widths_and_colours_that_make_no_sense(small: Path) -> None:
    wide = run("eval", "--emb", str(small), "-q", "-f", "table").stdout
    for environment in ({"COLUMNS": "0"}, {"FORCE_COLOR": "0"}, {"COLUMNS": "-3", "GITHUB_ACTIONS": "1"}):
        assert run("eval", "--emb", str(small), "-q", "-f", "table", **environment).stdout == wide
    assert run("eval", "--emb", str(small), "-q", "-f", "table", COLUMNS="3").returncode == 0
    odd = {"COLUMNS": "0", "TERMINAL_WIDTH": "wide", "GITHUB_ACTIONS": "1"}
    assert "\x1b" not in run("--help", **odd).stdout
    assert run("--help", **odd).returncode == 0


def test_any_encoding_of_stdout_will_do(small: Path) -> None:
    narrow = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    assert run("eval", "--emb", str(small), "-f", "table", **narrow).returncode == 0
    listed = run("list", "datasets", "--json", **narrow)
    assert listed.stdout.isascii()
    assert json.loads(listed.stdout) == json.loads(run("list", "datasets", "--json").stdout)
    assert run("list", "kïnd", **narrow).returncode == 2


def test_interrupts_have_their_exit_codes(tmp_path: Path) -> None:
    big = tmp_path / "big.h5"
    draw = np.random.default_rng(0)
    with h5py.File(big, "w") as file:
        for name in ("text", "video"):
            file[f"{name}_embeddings"] = draw.normal(size=(6000, 64)).astype("f4")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = tmp_path / f"out{code}"
        command = [sys.executable, "-m", "nclbench", "eval", "--emb", str(big), "--out-dir", str(out)]
        command += ["--normalize", "sinkhorn:tau=0.001,tol=1e-9,max_iters=100000"]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        at_work(process)
        assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert errors.splitlines()[-1] in ("interrupted; nothing was written", "terminated; nothing was written")
        assert "Traceback" not in errors
        assert not out.exists()


def test_help_loads_nothing_heavy() -> None:
    assert warm.fresh(["--help"]).returncode == 0
    probe = "import sys; import nclbench.cli; print([m for m in ('torch','pandas','scipy','pyarrow') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["eval", "demo", "inspect", "convert", "table", "list", "datasets"])
def test_every_command_and_option_has_help(command: str) -> None:
    done = run(command, "--help", TERMINAL_WIDTH="200", NO_COLOR="1")
    assert done.returncode == 0
    assert len(done.stdout) > 200


@pytest.mark.parametrize("kind", ["operators", "metrics", "diagnostics", "scorers", "datasets", "layouts"])
def test_lists(kind: str) -> None:
    entries = json.loads(run("list", kind, "--json").stdout)
    assert entries
    for entry in entries:
        assert set(entry) - {"fits_on", "assumes"} == {"name", "params", "source", "needs", "summary"}
        assert ("fits_on" in entry) == (kind == "operators")
        assert entry["summary"]
    shown = run("list", kind).stdout
    assert all(entry["name"] in shown for entry in entries)
    rows = list(csv.DictReader(io.StringIO(run("list", kind, "-f", "csv").stdout)))
    assert [row["name"] for row in rows] == [entry["name"] for entry in entries]
    lines = run("list", kind, "-f", "md").stdout.splitlines()
    assert len(lines) == len(entries) + 2
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    # each is said in lines of its own, and a name is followed by nothing but a spec
    heads = [line for line in shown.splitlines() if not line.startswith(" ")]
    assert [re.split("[:@]", head)[0] for head in heads] == [re.split("[:@]", entry["name"])[0] for entry in entries]
    assert not any(" " in head or ",," in head for head in heads) and "source: ;" not in shown
    wrong = run("list", kind, "-f", "latex")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_no_labels(small: Path) -> None:
    data = json.loads(run("eval", "--emb", str(small), "--no-labels", "--normalize", "sinkhorn:tau=0.1", "--json").stdout)
    assert all(r["metrics"] == {} for r in data["runs"])
    overlap = [r["diagnostics"]["overlap@10"]["value"] for r in data["runs"]]
    assert overlap[0] == 1.0
    assert 0 < overlap[1] < 1


def test_constant_scores_are_chance(tmp_path: Path) -> None:
    np.save(tmp_path / "constant.npy", np.ones((100, 100), "f4"))
    data = json.loads(
        run("eval", "--emb", str(tmp_path / "constant.npy"), "--json", "--normalize", "sinkhorn:tau=0.1").stdout
    )
    for each in data["runs"]:
        for k in (1, 5, 10, 50):
            assert each["metrics"][f"R@{k}"]["value"] == pytest.approx(k, abs=1e-12)


@pytest.mark.parametrize("file", ["msrvtt_video_factor.h5", "msrvtt_video_matrix.npy"])
def test_published_figures_of_msrvtt(file: str) -> None:
    path = REAL / "cap4video_msrvtt1ka" / file
    if not path.exists():
        pytest.skip("the shared real data are not here")
    specs = ["--normalize", "sinkhorn:tau=0.01,fit=test,tol=1e-5", "--normalize", "sinkhorn:tau=0.05,fit=test"]
    data = json.loads(run("eval", "--emb", str(path), *specs, "--json").stdout)
    expected = {
        ("t2v", 0): (48.0, 73.0, 82.9),
        ("t2v", 1): (53.9, 78.0, 86.2),
        ("t2v", 2): (46.0, 72.5, 81.6),
        ("v2t", 0): (45.8, 74.1, 82.75),
        ("v2t", 1): (53.0, 79.2, 85.8),
    }
    tolerance = 1e-9 if file.endswith("npy") else 0.2
    runs = {
        (direction, n): each
        for direction in ("t2v", "v2t")
        for n, each in enumerate(r for r in data["runs"] if r["direction"] == direction)
    }
    for key, values in expected.items():
        got = [runs[key]["metrics"][f"R@{k}"]["value"] for k in (1, 5, 10)]
        assert got == pytest.approx(values, abs=tolerance), key
    if file.endswith("npy"):
        raw, balanced = runs["v2t", 0]["metrics"]["R@1"], runs["v2t", 1]["metrics"]["R@1"]
        assert (raw["pessimistic"], raw["optimistic"]) == pytest.approx((45.6, 46.0))
        assert (balanced["pessimistic"], balanced["optimistic"]) == pytest.approx((52.8, 53.2))
        assert runs["v2t", 0]["ties"]["queries"] == 9
        data = json.loads(run("eval", "--emb", str(path), "--ties", "clip4clip", "--json").stdout)
        assert round(data["runs"][1]["metrics"]["R@1"]["value"], 2) == 45.45

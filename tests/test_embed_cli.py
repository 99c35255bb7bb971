"""`nclbench embed` and `nclbench eval --checkpoint` as a user meets them: real processes, exit codes, streams, files."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import warm
from tiny_folders import clip, sentence_folder, video

from nclbench.cli import main


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("NCLBENCH")} | environment
    env |= {"OMP_NUM_THREADS": "1"}
    return warm.run(arguments, cwd=cwd, env=env)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("place")
    clip(root / "clip")
    sentence_folder(root / "minilm")
    for number in range(4):
        video(root / "videos" / f"v{number}.mp4", frames=8 + number, rate=4, seed=number)
    rows = ["video_id,sentence", *(f"v{number},a dog runs {number}" for number in range(4))]
    (root / "captions.csv").write_text("\n".join(rows) + "\n")
    (root / "captions.json").write_text(json.dumps({f"v{number}": [f"a dog {number}", "the man"] for number in range(4)}))
    return root


SHOWN = ("--checkpoint", "clip", "--captions", "captions.csv", "--videos", "videos")


def test_embed_and_then_eval(place: Path) -> None:
    done = run("embed", *SHOWN, "-o", "out.h5", "--max-words", "12", "--fps", "2", "--name", "Tiny CLIP", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("wrote out.h5: 4 queries x 4 items in ") and "texts/s" in done.stderr
    done = run("eval", "--emb", "out.h5", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert {each["model"] for each in json.loads(done.stdout)["runs"]} == {"Tiny CLIP"}
    with h5py.File(place / "out.h5") as file:
        assert (file.attrs["words"], file.attrs["fps"], file.attrs["frames"]) == (12, 2, 12)
    done = run("embed", *SHOWN, "--dry-run", cwd=place)
    assert done.returncode == 0 and "gallery: 4 videos from videos" in done.stdout and done.stderr == ""


def test_what_is_set_for_embed_does_not_disturb_eval(place: Path, tmp_path: Path) -> None:
    (tmp_path / "nclbench.toml").write_text('batch = 4\n[embed]\nfps = 2\n[eval]\ncheckpoint = "clip"\n')
    made = tmp_path / "a.h5"
    shown = [str(place / each) if not each.startswith("--") else each for each in SHOWN]
    done = run("embed", *shown, "-o", str(made), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with h5py.File(made) as file:
        assert (file.attrs["fps"], json.loads(file.attrs["settings"])["batch"]) == (2, 4)
    done = run("eval", "--emb", "a.h5", cwd=tmp_path, NCLBENCH_MAX_FRAMES="3")
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_page(place: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "embed.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.S)
    lines = [shlex.split(line.split(" #")[0])[1:] for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        done = run(*line, cwd=place, NCLBENCH_CACHE=str(tmp_path))
        assert done.returncode == 0, (line, done.stderr)
    assert (place / "texts.h5").is_file() and "R@1" in run("eval", "--emb", "texts.h5", cwd=place).stdout


def test_eval_of_a_checkpoint_embeds_once(place: Path, tmp_path: Path) -> None:
    cache = {"NCLBENCH_CACHE": str(tmp_path)}
    first = run("eval", *SHOWN, "--json", cwd=place, **cache)
    second = run("eval", *SHOWN, "--normalize", "sinkhorn", "--json", cwd=place, **cache)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "wrote " in first.stderr and "found in the cache" in second.stderr
    runs = json.loads(first.stdout)["runs"]
    assert runs[0]["metrics"] == json.loads(second.stdout)["runs"][0]["metrics"] and len(runs) == 2
    (made,) = (tmp_path / "embeddings").iterdir()
    saved = json.loads(first.stdout)["inputs"]
    assert {each["path"] for each in saved} == {str(made)}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("embed",), 2, "give -o FILE.h5"),
        (("embed", "-o", "x.h5"), 2, "embed needs --checkpoint PATH and --captions FILE"),
        (("embed", *SHOWN, "-o", "x.npz"), 2, "end it in .h5"),
        (("embed", *SHOWN, "--images", "videos", "-o", "x.h5"), 2, "give one of --videos DIR"),
        (("embed", *SHOWN, "-o", "captions.csv/x.h5"), 4, "captions.csv"),
        (("embed", *SHOWN, "--parts", "words", "-o", "x.h5"), 2, "cannot read --parts 'words'"),
        (("embed", *SHOWN, "--dtype", "int8", "-o", "x.h5"), 2, "unknown dtype 'int8'"),
        (("embed", *SHOWN, "--missing", "skip", "-o", "x.h5"), 2, "unknown --missing 'skip'"),
        (("embed", *SHOWN, "--device", "tpu", "-o", "x.h5"), 2, "unknown device"),
        (("embed", *SHOWN, "--gallery-per-item", "2", "-o", "x.h5"), 2, "--gallery-captions"),
        (("embed", "--checkpoint", "none", *SHOWN[2:], "-o", "x.h5"), 4, "none: no such file or folder"),
        (("embed", "--checkpoint", "none", *SHOWN[2:], "--dry-run"), 4, "none: no such file or folder"),
        (("embed", "--checkpoint", "minilm", *SHOWN[2:], "-o", "x.h5"), 2, "encodes texts only"),
        (("embed", "--checkpoint", "videos", *SHOWN[2:], "-o", "x.h5"), 3, "holds no model"),
        (("embed", *SHOWN[:4], "--videos", "clip", "-o", "x.h5"), 3, "no files that end in"),
        (("embed", *SHOWN[:2], "--captions", "clip/config.json", *SHOWN[4:], "-o", "x.h5"), 3, "config.json"),
        (("eval", "--emb", "x.h5", "--checkpoint", "clip"), 2, "not both"),
        (("eval", "--checkpoint", "clip"), 2, "needs --checkpoint PATH and --captions FILE"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["nclbench", *arguments])
    before = set(place.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    assert said in err and len(err.splitlines()) == 1 and out == ""
    assert set(place.rglob("*")) == before


@pytest.mark.parametrize("name", ["transformers", "av"])
def test_without_the_extras_there_is_one_line(name: str, place: Path) -> None:
    """Before anything is encoded."""
    code = f"import sys\nsys.modules[{name!r}] = None\n"
    code += "sys.argv = ['nclbench', *sys.argv[1:]]\nfrom nclbench.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "embed", *SHOWN, "-o", "y.h5"], cwd=place, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 4, done.stderr
    assert 'pip install "nclbench[embed]"' in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (place / "y.h5.parts").exists()

"""The loop and its file: equal to the encoder itself, resumable at any moment, honest about what it left out."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tiny_folders import bert, clip, frame, video
from torch.nn.functional import normalize

import nclbench
from nclbench import embedding
from nclbench.embedding import Embedded, Request, cached, embed
from nclbench.errors import InputError, MissingError, UsageError
from nclbench.models import libraries
from nclbench.models.encoder import Features, Settings

COUNT, RATE = 10, 4
CAPTIONS = ["a dog runs {}", "the man eats a red cat and runs {}"]

pytestmark = pytest.mark.usefixtures("one_thread_throughout")


def silent(stage: str, done: float, total: float) -> None:
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, ten videos of different lengths, two captions each, frames and pictures."""
    root = tmp_path_factory.mktemp("place")
    clip(root / "clip")
    bert(root / "bert")
    rows = ["key,video_id,sentence"]
    for number in range(COUNT):
        video(root / "videos" / f"v{number}.mp4", frames=6 + 5 * number, rate=RATE, seed=number)
        for at, text in enumerate(CAPTIONS):
            rows.append(f"k{number}_{at},v{number},{text.format(number)}")
        (root / "frames" / f"v{number}").mkdir(parents=True)
        (root / "images").mkdir(exist_ok=True)
        frame(number, 0).save(root / "images" / f"v{number}.png")
        for at in range(number % 3 + 1):
            frame(number, at).save(root / "frames" / f"v{number}" / f"{at}.png")
    (root / "captions.csv").write_text("\n".join(rows) + "\n")
    return root


def asked(place: Path, kind: str = "videos", **more: Any) -> Request:
    wanted = {"batch": 3, "settings": Settings(frames=4)} | more
    return Request(place / "clip", place / "captions.csv", kind, place / kind, **wanted)


def arrays(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, each: found.update({name: each[()]}) if isinstance(each, h5py.Dataset) else None)
    return found


def same(one: Path, two: Path) -> None:
    a, b = arrays(one), arrays(two)
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype and a[key].tobytes() == b[key].tobytes() or a[key].tolist() == b[key].tolist(), key
    with h5py.File(one) as first, h5py.File(two) as second:
        assert {k: str(v) for k, v in first.attrs.items()} == {k: str(v) for k, v in second.attrs.items()}


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("whole") / "out.h5"
    done = embed(asked(place), target, silent)
    assert done.found is not None and (done.found.queries, done.found.items) == (20, 10)
    assert not Path(f"{target}.parts").exists() and [path.name for path in target.parent.iterdir()] == ["out.h5"]
    return target


def decoded(path: Path, most: int) -> list[Any]:
    """Independently of the program: one frame a second, at most so many of them at equal steps."""
    import av

    with av.open(str(path)) as container:
        frames = [picture.to_image() for picture in container.decode(video=0)]
    frames = frames[::RATE]
    chosen = range(len(frames)) if len(frames) <= most else np.linspace(0, len(frames) - 1, most, dtype=int)
    return [frames[at] for at in chosen]


def test_what_is_written_is_what_the_library_gives(place: Path, whole: Path) -> None:
    library = libraries.transformers()
    model = library.CLIPModel.from_pretrained(place / "clip").eval()
    processor = library.CLIPProcessor.from_pretrained(place / "clip")
    found = arrays(whole)
    texts = [text.decode() for text in found["test/text/captions"]]
    assert texts == [text.format(number) for number in range(COUNT) for text in CAPTIONS]
    given = processor(text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_text_features(**given).pooler_output
        np.testing.assert_allclose(found["test/text/embeddings"], expected, atol=1e-5)
        for number in range(COUNT):
            pictures = decoded(place / "videos" / f"v{number}.mp4", 4)
            seen = model.get_image_features(**processor(images=pictures, return_tensors="pt")).pooler_output
            mask = found["test/video/tokens/mask"][number]
            assert mask.tolist() == [True] * len(seen) + [False] * (4 - len(seen))
            np.testing.assert_allclose(found["test/video/tokens/values"][number][mask], seen, atol=1e-5)
            np.testing.assert_allclose(found["test/video/embeddings"][number], normalize(seen).mean(dim=0), atol=1e-5)
    assert (found["test/text/tokens/mask"] == given["attention_mask"].numpy().astype(bool)).all()


def test_the_file_loads_without_options_and_says_where_it_comes_from(place: Path, whole: Path) -> None:
    problem = nclbench.load(whole)
    assert problem.model == "clip" and problem.queries.ids[:2] == ("k0_0", "k0_1")
    assert problem.items.ids == tuple(f"v{number}" for number in range(COUNT))
    assert problem.relevance is not None and problem.relevance.item.tolist() == [number // 2 for number in range(20)]
    assert problem.queries.tokens is not None and problem.items.tokens is not None
    assert problem.logit_scale == pytest.approx(14.2848, abs=1e-3)
    assert len(nclbench.evaluate(problem, ["dmae+sinkhorn"]).runs) == 6
    with h5py.File(whole) as file:
        said = dict(file.attrs)
    assert len(said["checkpoint_sha256"]) == 64 and said["family"] == "clip" and said["frames"] == 4 and said["fps"] == 1
    assert json.loads(said["preprocessing"])["preprocessing"]["class"] == "CLIPImageProcessor"
    assert json.loads(said["versions"])["torch"] == torch.__version__


@pytest.mark.parametrize("kind", ["frames", "images"])
def test_frames_and_pictures(kind: str, place: Path, tmp_path: Path) -> None:
    embed(asked(place, kind, parts=("frames",), dtype="float16"), tmp_path / "out.h5", silent)
    found = arrays(tmp_path / "out.h5")
    group = "video" if kind == "frames" else "image"
    assert "test/text/tokens/values" not in found and (f"test/{group}/tokens/values" in found) == (kind == "frames")
    library = libraries.transformers()
    model = library.CLIPModel.from_pretrained(place / "clip").eval()
    processor = library.CLIPProcessor.from_pretrained(place / "clip")
    for number in range(COUNT):
        count = number % 3 + 1 if kind == "frames" else 1
        given = processor(images=[frame(number, at) for at in range(count)], return_tensors="pt")
        with torch.no_grad():
            seen = model.get_image_features(**given).pooler_output
        np.testing.assert_allclose(found[f"test/{group}/embeddings"][number], normalize(seen).mean(dim=0), atol=1e-5)
        if kind == "frames":
            assert found["test/video/tokens/values"].dtype == np.float16
            np.testing.assert_allclose(found["test/video/tokens/values"][number][:count], seen, atol=2e-3)
    assert nclbench.load(tmp_path / "out.h5").items.ids[9] == "v9"


class Counted:
    """An encoder that counts, and ends where it is told to."""

    def __init__(self, inner: Any, stop: int = -1, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.inner, self.calls, self.stop, self.error = inner, [], stop, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _called(self, what: str) -> None:
        if len(self.calls) == self.stop:
            raise self.error
        self.calls.append(what)

    def texts(self, captions: Sequence[str]) -> Features:
        self._called("texts")
        return self.inner.texts(captions)

    def videos(self, frames: torch.Tensor, mask: torch.Tensor) -> Features:
        self._called("videos")
        return self.inner.videos(frames, mask)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counted]:
    opened = embedding.open_encoder

    def make(stop: int = -1, error: type[BaseException] = KeyboardInterrupt) -> Counted:
        counted = Counted(None, stop, error)

        def open_counted(path: Path, settings: Settings) -> Counted:
            counted.inner = opened(path, settings)
            return counted

        monkeypatch.setattr(embedding, "open_encoder", open_counted)
        return counted

    return make


def test_whatever_moment_it_ends_at_the_same_command_goes_on(
    place: Path, whole: Path, tmp_path: Path, counting: Callable[..., Counted]
) -> None:
    """20 captions are one shard of 7 batches, 10 videos 4 shards of one batch each."""
    for stop in range(12):
        target = tmp_path / str(stop) / "out.h5"
        target.parent.mkdir()
        first = counting(stop)
        if stop == 11:
            embed(asked(place), target, silent)
        else:
            with pytest.raises(KeyboardInterrupt):
                embed(asked(place), target, silent)
            assert not target.exists()
            second = counting()
            done = embed(asked(place), target, silent)
            kept = (["texts"] * 7 if stop >= 7 else []) + ["videos"] * max(stop - 7, 0)
            assert len(second.calls) == 11 - len(kept) and done.again == max(stop - 6, 0)
            assert len(first.calls) == stop
        same(target, whole)


@pytest.mark.parametrize("when", ["replacing", "assemble", "remove"])
def test_the_end_is_whole_or_not_there(
    when: str, place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.h5"
    target.write_bytes(b"old")

    def fails(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    where = {
        "replacing": "nclbench.sinks.hdf5.replacing",
        "assemble": "nclbench.embedding.assemble",
        "remove": "nclbench.embedding.Parts.remove",
    }
    with monkeypatch.context() as patch:
        patch.setattr(where[when], fails)
        with pytest.raises(KeyboardInterrupt):
            embed(asked(place), target, silent)
    if when != "remove":
        assert target.read_bytes() == b"old"
    (tmp_path / ".out.h5.tmp-abc").write_bytes(b"left by a killed run")
    monkeypatch.setattr(libraries.transformers().CLIPModel, "get_image_features", fails)
    embed(asked(place), target, silent)
    same(target, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_another_run_does_not_go_on_with_it(place: Path, tmp_path: Path, counting: Callable[..., Counted]) -> None:
    target = tmp_path / "out.h5"
    copy = tmp_path / "place"
    shutil.copytree(place, copy)
    counting(8)
    with pytest.raises(KeyboardInterrupt):
        embed(asked(copy), target, silent)
    counting()
    for request, said in (
        (asked(copy, batch=4), "settings.batch (3, now 4)"),
        (asked(copy, fps=2), "settings.fps (1, now 2)"),
        (asked(copy, settings=Settings(words=10)), "settings.words"),
    ):
        with pytest.raises(InputError) as caught:
            embed(request, target, silent)
        assert said in str(caught.value) and "remove the folder" in str(caught.value)
    clip(copy / "clip", seed=5)
    with pytest.raises(InputError, match="differs in checkpoint"):
        embed(asked(copy), target, silent)
    shutil.rmtree(copy / "clip")
    shutil.copytree(place / "clip", copy / "clip")
    os.utime(copy / "videos" / "v3.mp4", (1, 1))
    with pytest.raises(InputError, match="differs in gallery;"):
        embed(asked(copy), target, silent)
    (tmp_path / "out.h5.parts" / "journal.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        embed(asked(copy), target, silent)
    (tmp_path / "out.h5.parts" / "journal.json").unlink()
    with pytest.raises(InputError, match="no journal.json"):
        embed(asked(copy), target, silent)


def test_a_shard_that_is_damaged_is_made_again(
    place: Path, whole: Path, tmp_path: Path, counting: Callable[..., Counted]
) -> None:
    target = tmp_path / "out.h5"
    counting(10)
    with pytest.raises(KeyboardInterrupt):
        embed(asked(place), target, silent)
    (tmp_path / "out.h5.parts" / "items-000001.safetensors").write_bytes(b"torn")
    second = counting()
    embed(asked(place), target, silent)
    assert second.calls == ["videos", "videos"]
    same(target, whole)


def test_two_runs_do_not_write_one_folder(place: Path, tmp_path: Path) -> None:
    from nclbench.embedding.parts import Parts

    with Parts(tmp_path / "out.h5", {}), pytest.raises(MissingError, match="another run is writing it"):
        embed(asked(place), tmp_path / "out.h5", silent)


def test_a_full_disk_loses_nothing(place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, real, count = tmp_path / "out.h5", Path.write_bytes, 0

    def full(self: Path, data: bytes) -> int:
        nonlocal count
        count += ".safetensors" in self.name
        if count == 3:
            raise OSError(28, "No space left on device")
        return real(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(MissingError, match="No space left on device"):
            embed(asked(place), target, silent)
    assert len(list((tmp_path / "out.h5.parts").glob("*.safetensors"))) == 2
    done = embed(asked(place), target, silent)
    assert done.again == 2
    same(target, whole)


def test_what_cannot_be_decoded_is_listed_and_the_rest_goes_on(place: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(place / "videos", videos)
    (videos / "v3.mp4").write_bytes(b"nothing")
    shutil.copy(videos / "v5.mp4", videos / "v6.mp4")
    (videos / "v8.webm").write_bytes(b"never read")
    request = replace(asked(place), gallery=videos)
    done = embed(request, tmp_path / "out.h5", silent)
    assert done.found is not None and (done.found.queries, done.found.items, done.found.dropped) == (18, 9, 2)
    assert any("1 videos could not be decoded, and 2 captions with them (v3: " in note for note in done.notes)
    assert any("same bytes as another (first v6, as v5)" in note for note in done.notes)
    assert any("v8.webm (its id v8 is taken by v8.mp4)" in note for note in done.notes)
    problem = nclbench.load(tmp_path / "out.h5")
    assert "v3" not in problem.items.ids and len(problem.queries) == 18
    assert arrays(tmp_path / "out.h5")["skipped/ids"].tolist() == [b"v3"]
    with pytest.raises(InputError, match="2 files are not as they should be .*v3"):
        embed(replace(request, strict=True), tmp_path / "strict.h5", silent)
    assert not (tmp_path / "strict.h5").exists()
    for number in range(COUNT):
        (videos / f"v{number}.mp4").write_bytes(b"nothing")
    with pytest.raises(InputError, match="none of the 10 videos can be decoded"):
        embed(request, tmp_path / "none.h5", silent)


def test_what_comes_from_the_cache_says_what_it_left_out(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCLBENCH_CACHE", str(tmp_path / "cache"))
    videos = tmp_path / "videos"
    shutil.copytree(place / "videos", videos)
    (videos / "v3.mp4").write_bytes(b"nothing")
    data = bytearray((videos / "v9.mp4").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    (videos / "v9.mp4").write_bytes(data)
    request = replace(asked(place, settings=Settings(frames=4, words=5)), gallery=videos)
    first, again = cached(request, silent), cached(request, silent)
    assert not first.cached and again.cached and again.found == first.found and again.notes == first.notes
    for said in ("1 videos could not be decoded, and 2 captions with them (v3: ", "1 videos are damaged", "20 of 20 texts have"):
        assert any(said in note for note in again.notes), (said, again.notes)
    with pytest.raises(InputError, match="2 files are not as they should be .*v3"):
        cached(replace(request, strict=True), silent)
    assert arrays(first.path)["damaged/ids"].tolist() == [b"v9"] and len(nclbench.load(first.path).items) == 9


def test_captions_without_a_video_are_an_error_or_dropped(place: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(place / "videos", videos)
    (videos / "v3.mp4").rename(videos / "w3.mp4")
    request = replace(asked(place), gallery=videos)
    with pytest.raises(InputError, match=r"1 of 10 videos .* are not in .*\(first 'v3'\); add them, or .* --missing drop"):
        embed(request, tmp_path / "out.h5", silent)
    done = embed(replace(request, missing="drop", everything=True), tmp_path / "out.h5", silent)
    assert done.found is not None and (done.found.queries, done.found.items) == (18, 10)
    assert nclbench.load(tmp_path / "out.h5").items.ids[-1] == "w3"
    (tmp_path / "other").mkdir()
    shutil.copy(videos / "v1.mp4", tmp_path / "other" / "video1.mp4")
    with pytest.raises(InputError, match="a file is found by its name without its ending, such as 'video1'"):
        embed(replace(request, gallery=tmp_path / "other", missing="drop"), tmp_path / "no.h5", silent)


def test_texts_against_texts(place: Path, tmp_path: Path) -> None:
    captions = tmp_path / "c.json"
    captions.write_text(json.dumps({f"v{n}": [f"a dog {n}", f"the man {n}", f"red cat {n}", f"a dog {n}"] for n in range(4)}))
    request = Request(place / "bert", captions, "captions", captions, per_item=1, parts=())
    embed(request, tmp_path / "one.h5", silent)
    problem = nclbench.load(tmp_path / "one.h5")
    assert (len(problem.queries), problem.items.ids) == (8, ("v0", "v1", "v2", "v3")) and problem.logit_scale is None
    assert problem.items.captions == tuple(f"a dog {n}" for n in range(4)) and problem.queries.tokens is None
    embed(replace(request, per_item=2, per_query=1), tmp_path / "two.h5", silent)
    problem = nclbench.load(tmp_path / "two.h5")
    assert problem.relevance is not None and len(problem.relevance) == 8 and len(problem.items) == 8
    for query, item in zip(problem.relevance.query, problem.relevance.item, strict=True):
        assert problem.queries.ids[query].partition("#")[0] == problem.items.ids[item].partition("#")[0]
    with pytest.raises(UsageError, match="encodes texts only .*--gallery-captions"):
        embed(replace(asked(place), checkpoint=place / "bert"), tmp_path / "no.h5", silent)


def test_captions_of_the_same_words_have_the_same_bits_wherever_they_stand(place: Path, tmp_path: Path) -> None:
    """A batch of other captions changes last bits, and with them ties."""
    queries, gallery = tmp_path / "q.json", tmp_path / "g.json"
    texts = ["a dog", "the man eats a red cat and runs", "cat", "a dog runs", "the red dog is the cat of the man"]
    queries.write_text(json.dumps({f"v{n}": [texts[(n * k) % 5] for k in range(1, 4)] for n in range(40)}))
    gallery.write_text(json.dumps({f"v{n}": texts[n % 5] for n in range(40)}))
    embed(Request(place / "bert", queries, "captions", gallery, batch=2), tmp_path / "out.h5", silent)
    problem = nclbench.load(tmp_path / "out.h5")
    known: dict[str, bytes] = {}
    for side in (problem.queries, problem.items):
        assert side.vectors is not None and side.captions is not None and side.tokens is not None
        for text, row, words in zip(side.captions, side.vectors, side.tokens.values, strict=True):
            assert known.setdefault(text, row.tobytes() + words.tobytes()) == row.tobytes() + words.tobytes()
    assert set(known) == set(texts)


@pytest.mark.parametrize("kind", ["clip", "bert", "clip4clip"])
def test_captions_that_are_cut_are_counted(kind: str, place: Path, tmp_path: Path) -> None:
    captions = tmp_path / "c.json"
    # with the marks of start and end 4, 5, 6 and 20 words
    texts = ["a dog", "the dog runs", "the man eats a", " ".join(["cat"] * 18)]
    captions.write_text(json.dumps({f"v{at}": text for at, text in enumerate(texts)}))
    checkpoint = clip4clip(tmp_path) if kind == "clip4clip" else place / kind
    shown = ("captions", captions, 1) if kind == "bert" else ("videos", place / "videos", None)
    if kind == "bert":
        captions.write_text(json.dumps({f"v{at}": [text, "a"] for at, text in enumerate(texts)}))
    for words, cut in ((5, 2), (6, 1)):
        request = Request(checkpoint, captions, *shown[:2], per_item=shown[2], settings=Settings(words=words))
        done = embed(request, tmp_path / f"{words}.h5", silent)
        assert done.found.cut == cut
        said = f"{cut} of {4 + (kind == 'bert')} texts have more than {words} words, their marks included, and were cut"
        assert any(said in note for note in done.notes)
    done = embed(replace(request, settings=Settings()), tmp_path / "all.h5", silent)
    assert done.found.cut == (kind == "bert") and any("cut" in note for note in done.notes) == (kind == "bert")


def test_a_checkpoint_is_known_by_all_of_its_weights(tmp_path: Path) -> None:
    from nclbench.embedding.description import checkpoint_hash
    from nclbench.models.open_clip_checkpoints import FILES

    for name in (*FILES, "spm.spm"):
        (tmp_path / name).write_bytes(b"a")
        first = checkpoint_hash(tmp_path)
        (tmp_path / name).write_bytes(b"b")
        assert checkpoint_hash(tmp_path) != first, name


def test_a_disk_without_room_is_one_line(place: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before HDF5 begins, which may end the whole process where it cannot go on."""

    def full(handle: int, start: int, size: int) -> None:
        assert size > 0.8 * whole.stat().st_size
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(MissingError, match="could not be written .No space left on device"):
            embed(asked(place), tmp_path / "out.h5", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5.parts"]
    monkeypatch.setattr(libraries.transformers().CLIPModel, "get_image_features", full)
    embed(asked(place), tmp_path / "out.h5", silent)
    same(tmp_path / "out.h5", whole)


def test_numbers_that_are_not_finite_are_never_written(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(place / "clip", broken)
    state = load_file(broken / "model.safetensors")
    state["text_projection.weight"][0, 0] = float("nan")
    save_file(state, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="'a dog runs 0' the checkpoint gives NaN or infinity"):
        embed(replace(asked(place), checkpoint=broken), tmp_path / "out.h5", silent)
    assert not (tmp_path / "out.h5").exists()


def test_the_cache_knows_contents_and_not_names(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counting: Callable[..., Counted]
) -> None:
    monkeypatch.setenv("NCLBENCH_CACHE", str(tmp_path / "cache"))

    def run(request: Request) -> Embedded:
        return cached(request, silent)

    first = run(asked(place))
    counted = counting()
    copy = tmp_path / "elsewhere"
    shutil.copytree(place, copy)
    os.utime(copy / "videos" / "v3.mp4", (1, 1))
    again = run(asked(copy))
    assert again.cached and again.path == first.path and not counted.calls
    shutil.copy(copy / "videos" / "v4.mp4", copy / "videos" / "v3.mp4")
    other = run(asked(copy))
    assert not other.cached and other.path != first.path and counted.calls
    assert not run(asked(place, fps=2)).cached
    assert sorted(path.suffix for path in (tmp_path / "cache" / "embeddings").iterdir()) == [".h5"] * 3


SLOW = """
import sys, time
from nclbench.models.hugging_face import TwoTowers
for name in ("texts", "videos"):
    def slow(self, *given, inner=getattr(TwoTowers, name)):
        print(inner.__name__, file=sys.stderr, flush=True)
        time.sleep(0.15)
        return inner(self, *given)
    setattr(TwoTowers, name, slow)
sys.argv = ["nclbench", *sys.argv[1:]]
from nclbench.cli import main
main()
"""


@pytest.mark.parametrize(("number", "calls"), [(signal.SIGKILL, 9), (signal.SIGINT, 9), (signal.SIGTERM, 3)])
def test_a_run_that_is_ended_from_outside(number: signal.Signals, calls: int, place: Path, whole: Path, tmp_path: Path) -> None:
    arguments = ["embed", "--checkpoint", str(place / "clip"), "--captions", str(place / "captions.csv"), "--videos"]
    arguments += [str(place / "videos"), "--max-frames", "4", "--batch", "3", "-o", "out.h5", "--device", "cpu"]
    command = [sys.executable, "-c", SLOW, *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        # a shell that runs tests in the background has its children ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for _ in range(calls):
        process.stderr.readline()
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert not (tmp_path / "out.h5").exists()
    if number != signal.SIGKILL:
        what = "interrupted" if number == signal.SIGINT else "terminated"
        last = f"{what}; finished batches are kept in out.h5.parts, and the same command goes on there"
        assert said.splitlines()[-1] == last and "nothing was written" not in said
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=True, env=env)
    again = [line for line in done.stderr.splitlines() if line in ("texts", "videos")]
    assert len(again) <= 11 - (7 if calls > 7 else 0) - max(calls - 8, 0)
    assert "20 queries x 10 items" in done.stderr
    same(tmp_path / "out.h5", whole)


def clip4clip(folder: Path) -> Path:
    """A checkpoint as CLIP4Clip saves it, around open_clip's own model."""
    library = libraries.open_clip()
    torch.manual_seed(3)
    picture = {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    model = library.CLIP(embed_dim=64, vision_cfg=picture, text_cfg=text, quick_gelu=True)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"clip.{name}": tensor for name, tensor in model.state_dict().items()}, folder / "pytorch_model.bin.4")
    return folder / "pytorch_model.bin.4"


def test_a_file_of_clip4clip_goes_the_same_way(place: Path, tmp_path: Path) -> None:
    """Frames and words as the library gives them, from real videos, and a whole evaluation on what is written."""
    path = clip4clip(tmp_path)
    embed(replace(asked(place), checkpoint=path), tmp_path / "out.h5", silent)
    library = libraries.open_clip()
    torch.manual_seed(3)
    picture = {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    model = library.CLIP(embed_dim=64, vision_cfg=picture, text_cfg=text, quick_gelu=True).eval()
    see = library.transform.image_transform(32, is_train=False)
    found = arrays(tmp_path / "out.h5")
    texts = [line.decode() for line in found["test/text/captions"]]
    with torch.no_grad():
        np.testing.assert_allclose(found["test/text/embeddings"], model.encode_text(library.tokenize(texts)), atol=1e-5)
        for number in range(COUNT):
            frames = torch.stack([see(each) for each in decoded(place / "videos" / f"v{number}.mp4", 4)])
            mask = found["test/video/tokens/mask"][number]
            np.testing.assert_allclose(found["test/video/tokens/values"][number][mask], model.encode_image(frames), atol=1e-5)
    problem = nclbench.load(tmp_path / "out.h5")
    assert problem.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert len(nclbench.evaluate(problem, ["sinkhorn"]).runs) == 6
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["family"].lower().startswith("clip4clip")

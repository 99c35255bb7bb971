"""`datasets_meta/`: figures are recounted where the annotation files are at hand; checks catch wrong sets."""

import csv
import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nclbench.cli.datasets import app
from nclbench.errors import InputError, UsageError
from nclbench.problem import Embeddings, Problem, generated_ids
from nclbench.sources import benchmark as benchmark_schema
from nclbench.sources import datasets

META = Path(__file__).parents[1] / "datasets_meta"
ANNOTATIONS = Path(__file__).parents[2] / "shared" / "data" / "annotations"
annotated = pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="the annotation files are not on this machine")
NAMES = sorted(path.stem for path in META.glob("*.toml"))
SPLITS = [(name, split) for name in NAMES for split in datasets.get(name).splits]
COUNTED = [(name, split) for name, split in SPLITS if split.ids_sha256 or "'counted'" in repr(split)]
Recount = tuple[list[str], list[int] | None]


@cache
def lines(name: str) -> list[str]:
    return [line for line in (ANNOTATIONS / name).read_text(encoding="utf-8").split("\n") if line.strip()]


@cache
def column(name: str, key: str) -> list[str]:
    with (ANNOTATIONS / name).open(encoding="utf-8", newline="") as stream:
        return [row[key] for row in csv.DictReader(stream)]


@cache
def table(name: str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = json.loads((ANNOTATIONS / name).read_text(encoding="utf-8"))
    return found


def listed(name: str) -> Callable[[], Recount]:
    return lambda: (lines(name), None)


def one_each(name: str, key: str) -> Callable[[], Recount]:
    return lambda: (column(name, key), [1] * len(column(name, key)))


def repeated(name: str, key: str) -> Callable[[], Recount]:
    return lambda: (list(counts := Counter(column(name, key))), list(counts.values()))


def msvd(split: str, each: int | None = None) -> Callable[[], Recount]:
    def recount() -> Recount:
        ids = lines(f"msvd/{split}_list.txt")
        return ids, [each or len(table("msvd/captions_msvd.json")[name]) for name in ids]

    return recount


def activitynet(split: str, key: str | None = None) -> Callable[[], Recount]:
    def recount() -> Recount:
        videos = json.loads((ANNOTATIONS / f"activitynet/{split}.json").read_text(encoding="utf-8"))
        return list(videos), [len(video[key]) if key else 1 for video in videos.values()]

    return recount


def multi30k(split: str, files: int) -> Callable[[], Recount]:
    def recount() -> Recount:
        sizes = []
        for number in range(1, files + 1):
            with gzip.open(ANNOTATIONS / f"multi30k_task2/{split}.{number}.en.gz", "rt", encoding="utf-8") as stream:
                sizes.append(sum(1 for _ in stream))
        assert len(set(sizes)) == 1
        return list(generated_ids("image", sizes[0])), [files] * sizes[0] if files > 1 else None

    return recount


def coco() -> Recount:
    images = table("coco_eccv/original_image_to_caption.json")
    return list(images), [len(captions) for captions in images.values()]


RECOUNT: dict[tuple[str, str], Callable[[], Recount]] = {
    ("msrvtt-1ka", "test"): one_each("msrvtt/MSRVTT_JSFUSION_test.csv", "video_id"),
    ("msrvtt-1ka", "train, 9k"): one_each("msrvtt/MSRVTT_train.9k.csv", "video_id"),
    ("msrvtt-1ka", "train, 7k"): one_each("msrvtt/MSRVTT_train.7k.csv", "video_id"),
    ("msrvtt-1kb", "test"): listed("msrvtt/ce_test_list_miech.txt"),
    ("msrvtt-1kb", "train"): listed("msrvtt/ce_train_list_miech.txt"),
    ("msrvtt-full", "test"): listed("msrvtt/ce_test_list_full.txt"),
    ("msrvtt-full", "test, valid captions"): listed("msrvtt/ce_test_list_full.txt"),
    ("msrvtt-full", "val"): listed("msrvtt/ce_val_list_full.txt"),
    ("msrvtt-full", "train"): listed("msrvtt/ce_train_list_full.txt"),
    ("msvd", "test"): msvd("test"),
    ("msvd", "test, square"): msvd("test", each=1),
    ("msvd", "test, 15 captions"): msvd("test", each=15),
    ("msvd", "val"): msvd("val"),
    ("msvd", "train"): msvd("train"),
    ("activitynet", "val1"): activitynet("val_1"),
    ("activitynet", "val1, sentences"): activitynet("val_1", "sentences"),
    ("activitynet", "val2"): listed("activitynet/ce_val_2_list.txt"),
    ("activitynet", "train"): activitynet("train"),
    ("didemo", "test"): one_each("didemo/didemo_test_label.csv", "video_path"),
    ("didemo", "val, t-mass"): one_each("didemo/didemo_val_label.csv", "video_path"),
    ("didemo", "val, ce"): listed("didemo/ce_val_list.txt"),
    ("didemo", "train, t-mass"): one_each("didemo/didemo_train_label.csv", "video_path"),
    ("didemo", "train, ce"): listed("didemo/ce_train_list.txt"),
    ("youcook2", "val"): one_each("youcook2/validation_youcook.csv", "video_id"),
    ("flickr30k", "test"): multi30k("test_2016", 5),
    ("flickr30k", "val"): multi30k("val", 5),
    ("flickr30k", "train"): multi30k("train", 1),
    ("coco-5k", "test"): coco,
    ("coco-5k", "test, all captions"): coco,
    ("coco-1k", "test, one fold"): coco,
    ("audiocaps", "train, v2"): one_each("audiocaps/train_v2.csv", "audiocap_id"),
    ("clotho", "evaluation"): repeated("clotho/evaluation_captions.csv", "fname"),
    ("clotho", "validation"): repeated("clotho/validation_captions.csv", "fname"),
    ("clotho", "development"): repeated("clotho/development_captions.csv", "fname"),
}


def shared(*files: tuple[str, str | None]) -> int:
    first, second = (set(column(name, key) if key else lines(name)) for name, key in files)
    return len(first & second)


def repeats(texts: list[str]) -> int:
    return sum(count for count in Counter(texts).values() if count > 1)


def msvd_repeats() -> list[int]:
    captions = table("msvd/captions_msvd.json")
    test = [(video, str(text)) for video in lines("msvd/test_list.txt") for text in captions[video]]
    videos = Counter(text for _, text in set(test))
    return [sum(videos[text] > 1 for _, text in test), len(test) - len(set(test))]


def paragraph_words() -> list[int]:
    videos = json.loads((ANNOTATIONS / "activitynet/val_1.json").read_text(encoding="utf-8")).values()
    words = [len(" ".join(video["sentences"]).split()) for video in videos]
    return [round(sum(words) / len(words)), max(words)]


def youcook_segments() -> int:
    keys = (column("youcook2/validation_youcook.csv", key) for key in ("video_id", "start", "end"))
    return len(set(zip(*keys, strict=True)))


def coco_judged() -> list[int]:
    return [
        len(table(f"coco_eccv/{name}.json"))
        for name in ("cxc_caption_to_image", "eccv_caption_to_image", "eccv_image_to_caption")
    ]


KA, KB, FULL = "msrvtt/MSRVTT_JSFUSION_test.csv", "msrvtt/ce_test_list_miech.txt", "msrvtt/ce_test_list_full.txt"
NINE = "msrvtt/MSRVTT_train.9k.csv"
PITFALLS: dict[str, Callable[[], list[int]]] = {
    "msrvtt-1ka": lambda: [
        repeats(column(KA, "sentence")),
        shared((NINE, "video_id"), (FULL, None)),
        shared((KA, "video_id"), (FULL, None)),
    ],
    "msrvtt-1kb": lambda: [
        shared((KA, "video_id"), (KB, None)),
        shared((KA, "video_id"), ("msrvtt/ce_train_list_miech.txt", None)),
        shared((NINE, "video_id"), (KB, None)),
        shared((KB, None), (FULL, None)),
        shared((KB, None), ("msrvtt/ce_train_list_full.txt", None)),
    ],
    "msrvtt-full": lambda: [shared((NINE, "video_id"), (FULL, None))],
    "msvd": msvd_repeats,
    "activitynet": lambda: [
        shared(("activitynet/ce_val_1_list.txt", None), ("activitynet/ce_val_2_list.txt", None)),
        *paragraph_words(),
    ],
    "didemo": lambda: [sum(name.endswith(".") for name in lines("didemo/ce_test_list.txt"))],
    "youcook2": lambda: [
        repeats([text.lower() for text in column("youcook2/validation_youcook.csv", "text")]),
        len(set(column("youcook2/validation_youcook.csv", "video_id"))),
        youcook_segments(),
    ],
    "coco-5k": coco_judged,
    "audiocaps": lambda: [repeats(column("audiocaps/train_v2.csv", "caption"))],
}


def problem(texts: int, items: int, ids: tuple[str, ...] = (), **more: str) -> Problem:
    sides = (
        Embeddings(generated_ids("text", texts), np.ones((texts, 2), np.float32), origin="x.h5:text"),
        Embeddings(ids or generated_ids("video", items), np.ones((items, 2), np.float32), origin="x.h5:video"),
    )
    made = Problem(*sides, relevance=None, split=more.get("split", "test"))
    return made.reversed() if more.get("direction") == "v2t" else made


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_is_complete(name: str) -> None:
    found = datasets.get(name)
    assert found.licence.says
    assert found.licence.redistribution
    assert re.fullmatch(r"[a-z]+\d{4}[a-z0-9]*", found.citation.key)
    assert len(found.citation.text) > 40
    assert found.splits[0].counts is not None
    for sourced in (found.licence, found.citation, *found.pitfalls, *(s.items for s in found.splits)):
        assert sourced.certainty in benchmark_schema.CERTAINTIES
        assert sourced.source


def test_the_benchmarks_of_the_field_are_there() -> None:
    assert datasets.names() == NAMES
    wanted = "activitynet audiocaps clotho coco-1k coco-5k didemo flickr30k lsmdc msrvtt-1ka msrvtt-1kb msrvtt-full"
    assert {*wanted.split(), "msvd", "vatex", "youcook2"} <= set(NAMES)
    page = (META.parent / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name in NAMES:
        queries, items = datasets.get(name).splits[0].counts or (0, 0)
        assert f"| `{name}` | {queries:,} x {items:,} |" in page


@annotated
@pytest.mark.parametrize(("name", "split"), COUNTED, ids=[f"{name}-{split.label}" for name, split in COUNTED])
def test_counted_figures_are_recounted(name: str, split: datasets.Split) -> None:
    figures = {"items": split.items, "queries": split.queries, "captions": split.captions_per_item}
    counted = {what for what, figure in figures.items() if figure is not None and figure.certainty == "counted"}
    ids, captions = RECOUNT[name, split.label]()
    if "items" in counted:
        assert split.items.value == len(ids)
    if "queries" in counted:
        assert split.queries is not None
        assert captions is not None
        assert split.queries.value == sum(captions)
    if "captions" in counted:
        assert split.captions_per_item is not None
        assert captions is not None
        spread = split.captions_per_item
        mean = round(sum(captions) / len(captions), 2)
        assert (spread.min, spread.mean, spread.max) == (min(captions), mean, max(captions))
    if split.ids_sha256:
        own = datasets.own_ids(datasets.get(name), ids)
        assert own is not None
        assert datasets.ids_sha256(own) == split.ids_sha256


@annotated
@pytest.mark.parametrize("name", PITFALLS)
def test_counted_pitfalls_are_recounted(name: str) -> None:
    text = " ".join(pitfall.says for pitfall in datasets.get(name).pitfalls if pitfall.certainty == "counted")
    for number in PITFALLS[name]():
        assert re.search(rf"(?<![\d,]){number:,}(?![\d,])", text), number


@annotated
def test_ids_decide_between_equal_counts() -> None:
    videos = tuple(column(KA, "video_id"))
    assert datasets.matching(1000, 1000, videos) == ["msrvtt-1ka"]
    assert datasets.matching(1000, 1000, [f"clips/{name}.mp4" for name in videos]) == ["msrvtt-1ka"]
    assert datasets.matching(1000, 1000, lines(KB)) == ["msrvtt-1kb"]
    sounds = list(dict.fromkeys(column("clotho/validation_captions.csv", "fname")))
    assert datasets.matching(5225, 1045, sounds) == ["clotho (validation)"]
    images = [f"COCO_val2014_{int(name):012d}.jpg" for name in table("coco_eccv/original_image_to_caption.json")]
    assert datasets.matching(25000, 5000, images) == ["coco-5k"]


@annotated
def test_check_with_ids() -> None:
    videos = tuple(column(KA, "video_id"))
    for direction in ("t2v", "v2t"):
        notes = datasets.check(problem(1000, 1000, videos, direction=direction), "MSRVTT")
        assert notes[0] == "msrvtt-1ka: 1,000 x 1,000 (captions x videos) as published; ids verified"
        assert any("identical" in note for note in notes[1:])
    with pytest.raises(InputError, match=r"^x.h5:video: the ids .* are the list of msrvtt-1ka, not of msrvtt-1kb;"):
        datasets.check(problem(1000, 1000, videos), "msrvtt-1kb")
    other = ("video99999", *videos[1:])
    assert "not the known list" in datasets.check(problem(1000, 1000, other), "msrvtt-1ka")[0]


def test_matching_by_counts() -> None:
    assert datasets.matching(27763, 670, []) == ["msvd"]
    assert datasets.matching(670, 670, ()) == ["msvd (test, square)"]
    assert datasets.matching(660, 660, generated_ids("video", 660)) == ["msvd (test, mteb)"]
    assert datasets.matching(59800, 2990, []) == ["msrvtt-full"]
    assert datasets.matching(59794, 2990, []) == ["msrvtt-full (test, valid captions)"]
    assert datasets.matching(15000, 1500, [])[:2] == ["vatex", "vatex (test, clip2video)"]
    assert datasets.matching(670, 27763, []) == []
    square = datasets.matching(1000, 1000, [f"video{row}" for row in range(1000)])
    assert set(square) == {"lsmdc", "msrvtt-1ka", "msrvtt-1kb", "vatex (test, mteb)"}
    assert square[:2] == ["msrvtt-1ka", "msrvtt-1kb"]


def test_check_by_counts() -> None:
    notes = datasets.check(problem(670, 670), "msvd")
    assert "ids not verified" in notes[0]
    assert notes[1].startswith("msvd: this is 'test, square', not 'test'.")
    notes = datasets.check(problem(4917, 4917, direction="v2t"), "anet")
    assert notes[0].startswith("activitynet: 4,917 x 4,917 (captions x videos) as published")
    notes = datasets.check(problem(5225, 1045, split="validation"), "clotho")
    assert notes[0].startswith("clotho (validation): 5,225 x 1,045 (captions x sounds)")
    assert any("'evaluation' has the same counts" in note for note in notes)
    assert any("not verified (10 English" in note for note in datasets.check(problem(15000, 1500), "vatex"))


def test_wrong_counts_are_one_line() -> None:
    with pytest.raises(InputError) as caught:
        datasets.check(problem(670, 999), "msvd")
    assert str(caught.value) == (
        "x.h5:video: 670 x 999 (captions x videos), but msvd has 27,763 x 670 (test) or 670 x 670 (test, square) or "
        "10,050 x 670 (test, 15 captions) or 660 x 660 (test, mteb); see `nclbench datasets show msvd`, "
        "or leave --dataset out"
    )
    with pytest.raises(InputError, match=r"these counts fit msvd, or leave --dataset out$"):
        datasets.check(problem(27763, 670), "didemo")


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
def test_swapped_sides_are_caught(direction: str) -> None:
    with pytest.raises(InputError, match="670 x 27,763"):
        datasets.check(problem(670, 27763, direction=direction), "msvd")


def test_names() -> None:
    assert datasets.get("MSRVTT") is datasets.get(" msrvtt-1ka ")
    with pytest.raises(UsageError, match=r"unknown dataset 'msrvt-1ka'; did you mean 'msrvtt-1ka'\?"):
        datasets.get("msrvt-1ka")
    with pytest.raises(UsageError, match="known: activity-net"):
        datasets.check(problem(2, 2), "?")


def test_ids_of_the_benchmark() -> None:
    didemo = datasets.get("didemo")
    assert datasets.own_ids(didemo, ["a/1@N01_2_abc.mov", "1@N01_2_abd.", "1@N01_2_abe"]) == [
        "1@N01_2_abc",
        "1@N01_2_abd",
        "1@N01_2_abe",
    ]
    assert datasets.own_ids(didemo, ["video7"]) is None
    assert datasets.own_ids(datasets.get("coco-5k"), generated_ids("image", 5000)) is None
    assert datasets.ids_sha256(["b", "a"]) == datasets.ids_sha256(("a", "b"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", r"unknown key 'titel'; did you mean 'title'\?"),
        ("title =", "# ", "key 'title' is missing"),
        ("value = 1000,", 'value = "1000",', r"splits\[0\]: items: value: found '1000', expected int"),
        ("value = 1000,", "value = 1000, sure = true,", r"splits\[0\]: items: unknown key 'sure'"),
        ('certainty = "counted"', 'certainty = "certain"', "unknown certainty 'certain'"),
        ('name = "msrvtt-1ka"', 'name = "other"', "name is 'other'"),
        ("'video\\d+'", "'video('", "is not a regex"),
        ('variant = "7k"', 'variant = "9k"', "different names or variants"),
        ('ids_sha256 = "49', 'ids_sha256 = "', "64 hexadecimal"),
        ("warn = true", 'warn = "yes"', "warn: found 'yes', expected bool"),
        ("[licence]", "[licence", "not readable as TOML"),
    ],
)
def test_strict_schema_names_the_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (META / "msrvtt-1ka.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "msrvtt-1ka.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        datasets.read(path)
    assert str(caught.value).startswith(str(path))


def test_listing() -> None:
    rows = datasets.listing()
    assert [row["name"] for row in rows] == NAMES
    assert all(set(row) == {"name", "params", "source", "needs", "summary"} for row in rows)
    assert json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize("name", NAMES)
def test_show_prints_everything(name: str) -> None:
    shown = CliRunner().invoke(app, ["show", name])
    assert shown.exit_code == 0
    text, found = " ".join(shown.stdout.split()), datasets.get(name)
    assert max(map(len, shown.stdout.splitlines())) <= 100
    for split in found.splits:
        assert f"split {split.label}" in text
        assert f"{split.items.value:,} [{split.items.certainty}: " in text
    for expected in (found.title, found.citation.key, found.licence.redistribution, found.citation.text):
        assert expected in text


def test_show_json_and_errors() -> None:
    shown = CliRunner().invoke(app, ["show", "coco", "-f", "json"])
    data = json.loads(shown.stdout)
    assert data["name"] == "coco-5k"
    assert data["splits"][0]["items"]["certainty"] == "counted"
    for arguments, message in ((["show", "mvsd"], "did you mean 'msvd'"), (["show", "msvd", "-f", "yaml"], "format")):
        failed = CliRunner().invoke(app, arguments)
        assert isinstance(failed.exception, UsageError)
        assert message in str(failed.exception)


def test_looking_up_is_quick_to_import() -> None:
    heavy = "[name for name in ('torch', 'pandas', 'scipy') if name in sys.modules]"
    code = f"import sys; from nclbench.sources import datasets; datasets.names(); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=META.parent)
    assert done.stdout.strip() == "[]"

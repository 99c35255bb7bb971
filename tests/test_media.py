"""Captions of every format, what they describe, and pictures out of videos at the right moments."""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_folders import frame, video

from nclbench.errors import InputError, MissingError, UsageError
from nclbench.media import decoding, listed, read_captions
from nclbench.media.captions import dealt
from nclbench.media.decoding import Sampling, StoppedError, UndecodableError, pictures
from nclbench.media.listing import Medium, same_content
from nclbench.media.names import natural, stem
from nclbench.media.splits import read_list

ANNOTATIONS = Path(__file__).parents[2] / "shared" / "data" / "annotations"
PAIRS = [("v1", "a dog runs"), ("v1", "a dog, running"), ("v2", 'he says "no"')]
QUOTED = '"a dog, running"', '"he says ""no"""'
AS = {
    "msrvtt.csv": f"key,vid_key,video_id,sentence\nret0,m1,v1,a dog runs\nret1,m1,v1,{QUOTED[0]}\nret2,m2,v2,{QUOTED[1]}\n",
    "tabs.tsv": f"video\tcaption\nv1.mp4\ta dog runs\nv1.mp4\ta dog, running\nv2.mp4\t{QUOTED[1]}\n",
    "paths.csv": f"success,video_path,text\n1,/home/x/v1.avi,a dog runs\n1,/home/x/v1.avi,{QUOTED[0]}\n1,/h/v2.mov,{QUOTED[1]}\n",
    "wide.csv": f"file_name,caption_1,caption_2\nv1.wav,a dog runs,{QUOTED[0]}\n",
    "lists.json": json.dumps({"v1": ["a dog runs", "a dog, running"], "v2": ['he says "no"']}),
    "records.json": json.dumps([{"video_id": item, "caption": text} for item, text in PAIRS]),
    "sentences.json": json.dumps({
        "videos": [],
        "sentences": [{"video_id": item, "caption": text, "sen_id": n} for n, (item, text) in enumerate(PAIRS)],
    }),
    "many.json": json.dumps([
        {"image": "x/v1.jpg", "caption": ["a dog runs", "a dog, running"]}, {"image": "v2.jpg", "caption": 'he says "no"'},
    ]),
    "coco.json": json.dumps({
        "images": [{"id": 7, "file_name": "v1.jpg"}, {"id": 8, "file_name": "v2.jpg"}],
        "annotations": [{"id": n, "image_id": 7 + (i == "v2"), "caption": t} for n, (i, t) in enumerate(PAIRS)],
    }),
    "lines.jsonl": "\n".join(json.dumps({"video_id": item, "caption": text}) for item, text in PAIRS) + "\n",
    "Flickr8k.token.txt": "".join(f"{item}.jpg#{n}\t{text}\n" for n, (item, text) in enumerate(PAIRS)),
    "w2vv.txt": "".join(f"{item}#enc#{n} {text}\n" for n, (item, text) in enumerate(PAIRS)),
    "tab.txt": "".join(f"{item}\t{text}\n" for item, text in PAIRS),
}  # fmt: skip


@pytest.mark.parametrize("name", AS)
def test_every_format_gives_the_same_captions(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(AS[name])
    found = read_captions(path)
    expected = PAIRS[:2] if name == "wide.csv" else PAIRS
    assert list(zip(found.items, found.texts, strict=True)) == expected
    assert len(set(found.ids)) == len(expected)
    packed = tmp_path / "packed" / f"{name}.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")))
    assert read_captions(packed).texts == found.texts


def test_ids_are_the_files_own_where_they_are_unique(tmp_path: Path) -> None:
    for name, ids in (
        ("msrvtt.csv", ("ret0", "ret1", "ret2")),
        ("sentences.json", ("0", "1", "2")),
        ("lists.json", ("v1#0", "v1#1", "v2#0")),
        ("Flickr8k.token.txt", ("v1#0", "v1#1", "v2#2")),
    ):
        (tmp_path / name).write_text(AS[name])
        assert read_captions(tmp_path / name).ids == ids
    (tmp_path / "clips.csv").write_text("end,start,text,video_id\n60,47,pick it,xHr\n89,67,mix it,xHr\n")
    assert read_captions(tmp_path / "clips.csv").items == ("xHr_47_60", "xHr_67_89")
    (tmp_path / "plain.txt").write_text("one\ntwo\n")
    assert read_captions(tmp_path / "plain.txt").items == ("0", "1")


def test_paragraphs_join_the_sentences_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "val_1.json"
    path.write_text(json.dumps({"v_a": {"duration": 3, "timestamps": [[0, 1], [1, 2]], "sentences": ["One. ", " Two."]}}))
    assert read_captions(path).texts == ("One. Two.",)
    assert read_captions(path, paragraphs=False).texts == ("One.", "Two.")
    (tmp_path / "lists.json").write_text(AS["lists.json"])
    joined = read_captions(tmp_path / "lists.json", paragraphs=True)
    assert joined.texts == ("a dog runs a dog, running", 'he says "no"') and joined.ids == ("v1", "v2")


def test_splits_by_name_and_by_list(tmp_path: Path) -> None:
    path = tmp_path / "karpathy.json"
    images = [{"filename": f"v{n}.jpg", "split": s, "sentences": [{"raw": "a b"}]} for n, s in enumerate(("train", "test"))]
    path.write_text(json.dumps({"images": images}))
    assert read_captions(path, split="test").items == ("v1",)
    with pytest.raises(UsageError, match="train, test.*--split"):
        read_captions(path)
    with pytest.raises(UsageError, match="no split 'val'; it has train, test"):
        read_captions(path, split="val")
    (tmp_path / "lists.json").write_text(AS["lists.json"])
    for name, text in (("a.txt", "v2.mp4\nv1\n"), ("b.json", '["v2", "v1"]'), ("c.csv", "x,video_id\n1,v2\n2,v1\n")):
        (tmp_path / name).write_text(text)
        assert read_captions(tmp_path / "lists.json", split_list=tmp_path / name).items == ("v2", "v1", "v1")
    (tmp_path / "d.txt").write_text("v2\nv9\n")
    found = read_captions(tmp_path / "lists.json", split_list=tmp_path / "d.txt")
    assert found.items == ("v2",) and "1 of its 2 ids have no caption" in found.notes[0]
    (tmp_path / "e.txt").write_text("v8\nv9\n")
    with pytest.raises(InputError, match="none of its 2 ids"):
        read_captions(tmp_path / "lists.json", split_list=tmp_path / "e.txt")
    (tmp_path / "f.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no ids"):
        read_list(tmp_path / "f.txt")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"video_id,start\nv1,3\n", "no column of captions"),
        ("a.csv", b"video_id,caption\nv1,x\nv2\n", "row 3: not as many fields"),
        ("a.csv", b"video_id,caption\nv1,x\nv2, \n", "row 3: an empty caption"),
        ("a.csv", b"caption\nx\n", "row 2: no id of what it describes"),
        ("a.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("a.json", b'{"v1": ["x", 3]}', "v1: a caption is list, not a text"),
        ("a.json", b'{"v1": {"duration": 3}}', "no caption"),
        ("a.json", b'{"v1": ', "not JSON"),
        ("a.json", b"7", "captions are a list or an object"),
        ("a.json", b"[" * 100000, "not JSON"),
        ("a.jsonl", b'{"video_id": "v1", "caption": "x"}\n[]\n', "line 2: list where a record"),
        ("a.txt", b"v1.jpg#0\tx\nv1.jpg\ty\n", "line 2: not `item#number caption`"),
        ("a.txt", b"x\n\ny\n", "line 2: an empty caption"),
        ("a.json", b"{}", "holds no captions"),
        ("a.txt.gz", b"\x1f\x8b\x08", "cannot be read"),
        ("bomb.txt.gz", gzip.compress(b"a" * (65 << 20), 1), "not a plausible file"),
        ("a\x1b[31m.json", b"{", "not JSON"),
        ("a.json", b'{"v1": ["a\\u0000b"]}', "v1: a caption holds a zero byte or half a character"),
        ("a.json", b'{"v1": ["a \\ud83d b"]}', "v1: a caption holds a zero byte or half a character"),
        ("a.json", b'{"v\\u00001": ["a"]}', "the id holds a zero byte"),
        ("a.csv", b"video_id,caption,caption\nv1,x,y\n", "has the column 'caption' twice"),
        ("a.jsonl", b'{"id": null, "caption": "x"}\n', "line 1: no id of what it describes"),
    ],
)
def test_malformed_captions_give_one_line_with_the_place(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_captions(path)
    assert said in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_one_file_dealt_to_queries_and_gallery(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"v1": ["a", "b", "a", "c"], "v2": ["d", "e"], "v3": ["f"]}))
    both = read_captions(path)
    queries, gallery = dealt(both, both, None, 1)
    assert gallery.texts == ("a", "d", "f") and queries.texts == ("b", "c", "e")
    assert "4 captions" in queries.notes[0]
    assert dealt(both, both, 1, 2)[0].texts == ("c",)
    again = read_captions(tmp_path / ".." / tmp_path.name / "c.json")
    assert again.origin != both.origin and dealt(both, again, None, 1)[0].texts == queries.texts
    with pytest.raises(UsageError, match="--gallery-per-item"):
        dealt(both, both, None, None)
    (tmp_path / "other.json").write_text(json.dumps({"v9": ["x"]}))
    with pytest.raises(InputError, match="ids must be the same"):
        dealt(both, read_captions(tmp_path / "other.json"), None, None)


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="the shared annotations are not here")
@pytest.mark.parametrize(
    ("name", "given", "counts"),
    [
        ("msrvtt/MSRVTT_JSFUSION_test.csv", {}, (1000, 1000)),
        ("msvd/captions_msvd.json", {"split_list": "msvd/test_list.txt"}, (27763, 670)),
        ("didemo/didemo_test_label.csv", {"split_list": "didemo/ce_test_list.txt"}, (1004, 1004)),
        ("activitynet/val_1.json", {}, (4917, 4917)),
        ("youcook2/validation_youcook.csv", {}, (3350, 3349)),  # one clip has two sentences
        ("clotho/evaluation_captions.csv", {}, (5225, 1045)),
        ("audiocaps/train_v2.csv", {}, (49810, 49810)),
        ("flickr8k/Flickr8k.token.txt", {}, (40460, 8092)),
        ("multi30k_task1/test_2016_flickr.en.gz", {}, (1000, 1000)),
        ("multi30k_task2/test_2016.1.de.gz", {}, (1000, 1000)),
    ],
)
def test_the_benchmarks_own_files(name: str, given: dict[str, Any], counts: tuple[int, int]) -> None:
    given = {key: ANNOTATIONS / value for key, value in given.items()}
    found = read_captions(ANNOTATIONS / name, **given)
    assert (len(found), len(found.things)) == counts
    assert len(set(found.ids)) == len(found)


def test_letters_that_end_lines_elsewhere_do_not_end_them_here(tmp_path: Path) -> None:
    texts = ["one\u2028two", "three\x85four", "five\x0csix"]
    lines = [json.dumps({"video_id": "v1", "caption": text}, ensure_ascii=False) for text in texts]
    (tmp_path / "c.jsonl").write_text("\r\n".join(lines), newline="")
    assert read_captions(tmp_path / "c.jsonl").texts == tuple(texts)
    (tmp_path / "ids.csv").write_text('video_id,note\nv1,"two\nlines"\nv2,x\n')
    assert read_list(tmp_path / "ids.csv") == ["v1", "v2"]


def test_names() -> None:
    assert stem("/a/b/video7020.mp4") == stem("video7020") == "video7020"
    assert stem("2258277193_586949ec62.jpg.1") == "2258277193_586949ec62.jpg.1"
    assert stem("v_1.5-3.2") == "v_1.5-3.2"
    assert stem("/x/1@N07_5468f50dfb") == stem("1@N07_5468f50dfb.") == stem("1@N07_5468f50dfb.mts") == "1@N07_5468f50dfb"
    assert sorted(["f10", "f2", "a1b10", "a1b9"], key=natural) == ["a1b9", "a1b10", "f2", "f10"]
    assert sorted(["1\u00b23", "\u00b2", "1", "01"], key=natural) == sorted(["01", "1", "\u00b2", "1\u00b23"], key=natural)


def test_media_are_found_by_id_and_doubled_ones_are_listed(tmp_path: Path) -> None:
    for name in ("b/v10.mp4", "v2.mkv", "v2.mp4", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name[-7:].encode())
    media, left_out = listed("videos", tmp_path)
    assert [medium.id for medium in media] == ["v2", "v10"]
    assert left_out == ["v2.mp4 (its id v2 is taken by v2.mkv)"]
    shutil.copy(tmp_path / "b" / "v10.mp4", tmp_path / "copy.mp4")
    assert same_content(listed("videos", tmp_path)[0]) == [("copy", "v10")]
    for at in (2, 10, 1):
        (tmp_path / "frames" / "v1").mkdir(parents=True, exist_ok=True)
        frame(0, at).save(tmp_path / "frames" / "v1" / f"{at}.jpg")
    (medium,), _ = listed("frames", tmp_path / "frames")
    assert [path.name for path in medium.files] == ["1.jpg", "2.jpg", "10.jpg"]
    with pytest.raises(InputError, match="no folders of pictures"):
        listed("frames", tmp_path / "b")
    with pytest.raises(MissingError, match="no such folder"):
        listed("images", tmp_path / "nothing")


def test_folders_of_frames_are_never_mixed_and_links_are_followed(tmp_path: Path) -> None:
    for place in ("train/v1", "test/v1", "frames", "elsewhere"):
        (tmp_path / "frames" / place).mkdir(parents=True)
        frame(0, 1).save(tmp_path / "frames" / place / f"{place[:2]}.png")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "v9").symlink_to(tmp_path / "frames" / "elsewhere")
    (tmp_path / "linked" / "again").symlink_to(tmp_path / "linked")
    media, left_out = listed("frames", tmp_path / "frames")
    assert [(medium.id, [path.name for path in medium.files]) for medium in media] == [
        ("elsewhere", ["el.png"]), ("frames", ["fr.png"]), ("v1", ["te.png"]),
    ]  # fmt: skip
    assert left_out == ["train/v1 (its id v1 is taken by test/v1)"]
    assert [medium.id for medium in listed("frames", tmp_path / "linked")[0]] == ["v9"]


def test_a_file_whose_name_is_no_text_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "v1.mp4").write_bytes(b"x")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    media, left_out = listed("videos", tmp_path)
    assert [medium.id for medium in media] == ["v1"] and left_out == ["caf\ufffd.mp4 (its name is not UTF-8)"]


def test_sampling_is_clip4clips() -> None:
    for rate in (1, 2, 10, 25, 29.97, 30):
        for fps in (1, 2, 3):
            whole = max(int(rate), 1)
            step = max(whole // fps, 1)
            first = np.arange(0, whole, step)[:fps]
            expected = [number for number in range(200) if number % whole in first]
            assert [n for n in range(200) if Sampling(fps).wanted(n, rate)] == expected
    assert all(Sampling(0).wanted(n, 25) for n in range(60))
    for count in (1, 12, 13, 100):
        expected = list(range(count)) if count <= 12 else np.linspace(0, count - 1, num=12, dtype=int).tolist()
        assert Sampling(1, 12).chosen(count) == expected
    assert Sampling(1, None).chosen(100) == list(range(100))


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv", "mov"])
def test_the_right_frames_come_out_of_a_video(ending: str, tmp_path: Path) -> None:
    path = video(tmp_path / f"v.{ending}", frames=95, rate=10)
    seen, note = pictures(Medium("v", (path,)), "videos", Sampling(2, None), lambda picture: picture)
    shown = np.stack([np.asarray(frame(0, number), dtype=int) for number in range(95)])
    nearest = [int(np.abs(shown - np.asarray(picture, dtype=int)).mean(axis=(1, 2, 3)).argmin()) for picture in seen]
    assert nearest == list(range(0, 95, 5)) and not note
    few, _ = pictures(Medium("v", (path,)), "videos", Sampling(2, 4), lambda picture: np.asarray(picture))
    assert all((a == np.asarray(seen[at])).all() for a, at in zip(few, (0, 6, 12, 18), strict=True))


def test_a_long_video_is_read_twice_for_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medium = Medium("v", (video(tmp_path / "v.mp4", frames=95, rate=10),))
    held: list[int] = []

    def see(picture: Image.Image) -> Any:
        held.append(1)
        return np.asarray(picture)

    short, _ = pictures(medium, "videos", Sampling(0, 4), see)
    assert len(held) == 95
    held.clear()
    monkeypatch.setattr(decoding, "_HELD", 10)
    long, _ = pictures(medium, "videos", Sampling(0, 4), see)
    assert len(held) == 14 and all((a == b).all() for a, b in zip(short, long, strict=True))


DAMAGED = """
import sys
from pathlib import Path
from nclbench.media.decoding import Sampling, pictures
from nclbench.media.listing import Medium
seen, note = pictures(Medium("v", (Path(sys.argv[1]),)), "videos", Sampling(0, None), lambda picture: 1)
import av
# any other level takes Python's lock on ffmpeg's threads
assert av.logging.get_level() is None
print(len(seen), note)
"""


def test_damage_in_the_middle_neither_hangs_nor_ends_a_video(tmp_path: Path) -> None:
    """In a process of its own: what hung could not be interrupted."""
    path = video(tmp_path / "v.mp4", frames=600, rate=10)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", DAMAGED, str(path)], capture_output=True, text=True, timeout=60, check=True)
    count, _, note = done.stdout.strip().partition(" ")
    assert 550 < int(count) < 600 and "faults in it (Invalid data found" in note and done.stderr == ""


def test_what_cannot_be_decoded_says_why(tmp_path: Path) -> None:
    good = video(tmp_path / "good.avi", frames=60)
    cases = {
        "empty.mp4": b"",
        "noise.mp4": bytes(range(256)) * 40,
        # a list of files, which ffmpeg would follow
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{good}\n#EXT-X-ENDLIST\n".encode(),
        "concat.mp4": f"ffconcat version 1.0\nfile '{good}'\n".encode(),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UndecodableError) as caught:
            pictures(Medium("x", (tmp_path / name,)), "videos", Sampling(), lambda picture: picture)
        assert str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "cut.avi").write_bytes(good.read_bytes()[:9000])
    seen, _ = pictures(Medium("x", (tmp_path / "cut.avi",)), "videos", Sampling(0, None), lambda picture: picture)
    assert 0 < len(seen) < 60
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(ran) (w) file closefile\nshowpage\n%%EOF\n"
    for name, data in (("a.jpg", b"no"), ("b.png", b"\x89PNG\r\n\x1a\n"), ("c.png", program)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UndecodableError, match="cannot identify|truncated|broken"):
            pictures(Medium("x", (tmp_path / name,)), "images", Sampling(), lambda picture: picture)
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    with pytest.raises(UndecodableError):
        pictures(Medium("x", (tmp_path / "bomb.png",)), "images", Sampling(), lambda picture: picture)
    with pytest.raises(StoppedError):
        pictures(Medium("x", (good,)), "videos", Sampling(), lambda picture: picture, lambda: True)


def test_one_bad_frame_of_many_is_a_note(tmp_path: Path) -> None:
    for at in range(3):
        frame(0, at).save(tmp_path / f"{at}.png")
    (tmp_path / "1.png").write_bytes(b"no")
    files = tuple(tmp_path / f"{at}.png" for at in range(3))
    seen, note = pictures(Medium("v", files), "frames", Sampling(), lambda picture: picture)
    assert len(seen) == 2 and note.startswith("1 of 3 chosen frames cannot be read (1.png: ")
    with pytest.raises(UndecodableError, match=r"1\.png"):
        pictures(Medium("v", files[1:2]), "frames", Sampling(), lambda picture: picture)


@pytest.mark.parametrize(("matrix", "turned"), [((0, 1, -1, 0), -90), ((-1, 0, 0, -1), 180), ((0, -1, 1, 0), 90)])
def test_a_video_held_sideways_is_shown_upright(matrix: tuple[int, int, int, int], turned: int, tmp_path: Path) -> None:
    """The matrix of a track as telephones write it: a quarter clockwise is (0, 1, -1, 0)."""
    path = video(tmp_path / "v.mp4", frames=3)
    data = path.read_bytes()
    straight = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (each << 16 for each in matrix)
    at = data.index(straight, data.index(b"tkhd"))
    path.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + len(straight) :])
    (seen,), _ = pictures(Medium("v", (path,)), "videos", Sampling(), lambda picture: picture)
    expected = frame(0, 0).rotate(turned, expand=True)
    assert seen.size == expected.size
    assert np.abs(np.asarray(seen, dtype=int) - np.asarray(expected, dtype=int)).mean() < 8

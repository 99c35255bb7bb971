"""Layouts, mappings and inspection: every way of laying out files comes to the same canonical keys."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from test_sources import DATA, assert_same, flat, named, needs_data, vectors, write_folder, write_npz
from typer.testing import CliRunner

from nclbench.cli import app
from nclbench.errors import InputError, MissingError, UsageError
from nclbench.sources import layouts, load
from nclbench.sources.inspection import inspect
from nclbench.sources.keys import parse, recognise
from nclbench.sources.source import Source
from nclbench.sources.source import parse as parse_source
from nclbench.sources.transforms import TRANSFORMS
from nclbench.sources.transforms import parse as parse_transform


def save(folder: Path, **arrays: Any) -> None:
    for name, values in arrays.items():
        path = folder / f"{name.replace('__', '/')}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)


def test_every_layout_is_listed() -> None:
    rows = layouts.listing()
    assert {"nclbench", "flat", "clip-retrieval", "frozen", "pair", "matrix", "vsepp", "bigfile"} <= {r["name"] for r in rows}
    assert all(set(row) == {"name", "params", "source", "needs", "summary"} for row in rows)
    assert layouts.get("dbsn") is layouts.get("vsepp")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("test/text/embeddings", "test/text/embeddings"),
        ("val.video.ids", "val/video/ids"),
        ("text.embedding", "test/text/embeddings"),
        ("bank/text/embeddings", "bank/text/embeddings"),
        ("bank/train/text/embeddings", "bank.train/text/embeddings"),
        ("bank.video.scores.values", "bank/video/scores"),
        ("test/relevance/query_id", "test/relevance/query_ids"),
        ("test/scores/values", "test/scores/values"),
        ("text_embeddings", None),
        ("bank/scores/values", None),
        ("test/text/scores", None),
        ("test/model/weights", None),
    ],
)
def test_names_of_our_own_schema(name: str, key: str | None) -> None:
    found = recognise(name)
    assert (None if found is None else str(found)) == key


@pytest.mark.parametrize("text", ["T", "l2", "stride=5", "repeat=20", "unrepeat=2", "mean(axis=1)", "before=#"])
def test_transforms_read_back(text: str) -> None:
    assert str(parse_transform(text)) == text
    assert str(parse_source(f"a.h5:x/y|{text}|l2")) == f"a.h5:x/y|{text}|l2"


@pytest.mark.parametrize(
    "text", ["stride", "stride=0", "stride=-1", "T=2", "mean", "mean=1", "eval(x)", "stride=2**9", "__import__('os')", ""]
)
def test_transforms_are_a_fixed_list(text: str) -> None:
    with pytest.raises(UsageError, match="transform"):
        parse_transform(text)


def test_what_transforms_do() -> None:
    def done(text: str, array: Any) -> Any:
        return parse_transform(text).apply(np.asarray(array), "here").tolist()

    assert done("T", [[1, 2], [3, 4]]) == [[1, 3], [2, 4]]
    assert done("l2", [[3.0, 4.0], [0.0, 0.0]]) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))
    assert np.linalg.norm(done("l2", [[1e-30, 1e-30], [1e30, 1e30]]), axis=1) == pytest.approx([1, 1])
    assert done("stride=2", [1, 2, 3, 4, 5]) == [1, 3, 5]
    assert done("repeat=2", [1, 2]) == [1, 1, 2, 2]
    assert done("unrepeat=2", [[1], [1], [2], [2]]) == [[1], [2]]
    assert done("mean(axis=1)", [[[1.0], [3.0]]]) == [[2.0]]
    assert parse_transform("before=#").apply(np.array(["a#1", "b"], dtype=object), "here").tolist() == ["a", "b"]
    for text, array, message in [
        ("unrepeat=2", [1, 2], "row 1 differs from row 0"),
        ("unrepeat=2", [1, 1, 2], "not a multiple"),
        ("T", [1], "needs a table"),
        ("mean(axis=3)", [[1.0]], "mean over axis 3"),
        ("l2", ["a"], "needs numbers"),
        ("before=#", [1], "needs texts"),
    ]:
        with pytest.raises(InputError, match=f"here: .*{message}"):
            done(text, array)
    assert set(TRANSFORMS) == {"T", "l2", "stride", "repeat", "unrepeat", "mean", "before"}


def test_sources_read_back() -> None:
    assert parse_source("a.npz:test.text.ids") == Source("a.npz", "test.text.ids")
    assert parse_source("dir.h5.d/ids.csv:0") == Source("dir.h5.d/ids.csv", "0")
    assert parse_source(":x", "own.h5") == Source("own.h5", "x")
    with pytest.raises(UsageError, match="write FILE or FILE:KEY"):
        parse_source("nothing known")


def test_clip_retrieval(tmp_path: Path) -> None:
    text, image = vectors(12, 1), vectors(12, 2)
    for part, rows in (("2", slice(0, 4)), ("10", slice(8, 12)), ("3", slice(4, 8))):
        number = {"2": "0", "3": "1", "10": "2"}[part]
        save(tmp_path, **{f"text_emb__text_emb_{number}": text[rows], f"img_emb__img_emb_{number}": image[rows]})
        (tmp_path / "metadata").mkdir(exist_ok=True)
        columns = {"caption": [f"c{i}" for i in range(12)[rows]], "image_path": [f"{i}.jpg" for i in range(12)[rows]]}
        parquet.write_table(pyarrow.table(columns), tmp_path / "metadata" / f"metadata_{number}.parquet")
    problem = load(tmp_path)
    assert problem.queries.vectors is not None and problem.items.vectors is not None
    np.testing.assert_array_equal(problem.queries.vectors, text)
    np.testing.assert_array_equal(problem.items.vectors, image)
    assert problem.queries.captions == tuple(f"c{row}" for row in range(12))
    assert len({entry.path for entry in problem.inputs}) == 9
    (tmp_path / "img_emb" / "img_emb_1.npy").unlink()
    with pytest.raises(InputError, match=r"img_emb_\*\.npy: part 1 is missing"):
        load(tmp_path)


def test_parts_are_sorted_by_number(tmp_path: Path) -> None:
    rows = vectors(11, 1)
    save(tmp_path, **{f"text_emb__text_emb_{part}": rows[part : part + 1] for part in range(11)})
    save(tmp_path, img_emb__img_emb_0=rows)
    problem = load(tmp_path)
    assert problem.queries.vectors is not None
    np.testing.assert_array_equal(problem.queries.vectors, rows)


def test_frozen_in_time(tmp_path: Path) -> None:
    text, video = vectors(3, 1), vectors(3, 2)
    save(tmp_path, txt_embeds_test=text, vid_embeds_test_0=video[:2], vid_embeds_test_1=video[2:])
    (tmp_path / "ids_test.csv").write_text(",0\n0,c\n1,a\n2,b\n")
    save(tmp_path, txt_embeds_val=text, vid_embeds_val=video)
    problem = load(tmp_path)
    assert problem.items.ids == ("c", "a", "b")
    assert problem.relevance is not None and problem.relevance.item.tolist() == [0, 1, 2]
    assert load(tmp_path, split="val").split == "val"


def test_bigfile(tmp_path: Path) -> None:
    for name, ids in (("texts", ["b#0", "b#1", "a#0"]), ("videos", ["a", "b"])):
        folder = tmp_path / name
        folder.mkdir()
        vectors(len(ids), 1).tofile(folder / "feature.bin")
        (folder / "shape.txt").write_text(f"{len(ids)} 5\n")
        (folder / "id.txt").write_text(" ".join(ids))
    problem = load([tmp_path / "texts", tmp_path / "videos"])
    assert problem.relevance is not None and problem.relevance.item.tolist() == [1, 1, 0]
    (tmp_path / "videos" / "shape.txt").write_text("3 5")
    with pytest.raises(InputError, match=r"feature\.bin: 40 bytes, but .*shape\.txt says 3 x 5"):
        load([tmp_path / "texts", tmp_path / "videos"])


def test_repeated_images_of_vsepp(tmp_path: Path) -> None:
    images = vectors(3, 2)
    save(tmp_path, text=vectors(15, 1), images=np.repeat(images, 5, axis=0))
    paths = [tmp_path / "text.npy", tmp_path / "images.npy"]
    problem = load(paths, layout="dbsn")
    assert problem.items.vectors is not None and problem.relevance is not None
    np.testing.assert_array_equal(problem.items.vectors, images)
    assert problem.relevance.item.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    save(tmp_path, images=vectors(15, 2))
    with pytest.raises(InputError, match=r"images\.npy: row 1 differs from row 0"):
        load(paths, layout="vsepp")


def test_a_layout_that_does_not_fit_says_what_it_expects(tmp_path: Path) -> None:
    path = write_npz(flat(), tmp_path / "a.npz")
    with pytest.raises(InputError, match="not laid out as 'frozen' .*txt_embeds_test.npy.*found text_embeddings .6, 5."):
        load(path, layout="frozen")


def test_mapping_everything(tmp_path: Path) -> None:
    arrays = named()
    np.savez(tmp_path / "t.npz", feats=arrays["text_embeddings"].T)
    np.save(tmp_path / "v.npy", arrays["video_embeddings"])
    rows = zip(arrays["text_ids"], arrays["text_video_ids"], arrays["captions"], strict=True)
    table = "\n".join(["id,video,text", *(",".join(row) for row in rows)])
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    (tmp_path / "v.txt").write_text("\n".join(arrays["video_ids"]), encoding="utf-8")
    np.savez(tmp_path / "b.npz", q=arrays["querybank_text_embeddings"], g=arrays["gallerybank_embeddings"])
    mapping = [
        f"test.text.embeddings={tmp_path}/t.npz:feats|T",
        f"test/video/embeddings={tmp_path}/v.npy",
        f"text.ids={tmp_path}/t.csv:id",
        f"test.text.item_ids={tmp_path}/t.csv:video",
        f"test.text.captions={tmp_path}/t.csv:text",
        f"test.video.ids={tmp_path}/v.txt",
        f"bank.text.embeddings={tmp_path}/b.npz:q",
        f"bank.video.embeddings={tmp_path}/b.npz:g",
        "model=mine",
        "logit_scale=50",
    ]
    problem = load(mapping=mapping)
    assert (problem.model, problem.logit_scale) == ("mine", 50.0)
    assert_same(problem, load(write_npz(arrays, tmp_path / "a.npz"), mapping={"logit_scale": "50"}))


def test_a_mapping_goes_over_the_layout(tmp_path: Path) -> None:
    path = write_npz(flat(6, 3) | {"other": vectors(3, 8), "frames": vectors(6, 9).reshape(3, 2, 5)}, tmp_path / "a.npz")
    (tmp_path / "ids.csv").write_text("item\na\nb\nc\n")
    problem = load(path, mapping={"test.item.embeddings": ":other", "test.video.ids": f"{tmp_path}/ids.csv:item"})
    assert problem.items.vectors is not None and problem.relevance is not None
    np.testing.assert_array_equal(problem.items.vectors, vectors(3, 8))
    assert problem.items.ids == ("a", "b", "c")
    pooled = load(path, mapping=["test.video.embeddings=:frames|mean(axis=1)"]).items.vectors
    assert pooled is not None and pooled.shape == (3, 5)


def test_captions_in_a_row_need_only_their_number(tmp_path: Path) -> None:
    save(tmp_path, text=vectors(6, 1), video=vectors(3, 2))
    problem = load([tmp_path / "text.npy", tmp_path / "video.npy"], mapping=["captions_per_item=2"])
    assert problem.relevance is not None and problem.relevance.item.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(InputError, match="6 rows are not 3 for each of 3 items"):
        load([tmp_path / "text.npy", tmp_path / "video.npy"], mapping=["captions_per_item=3"])


def test_two_candidates_for_one_side_are_not_guessed(tmp_path: Path) -> None:
    arrays = {f"test/{side}/embeddings": vectors(3, seed) for seed, side in enumerate(("text", "audio", "video"))}
    path = write_npz(arrays, tmp_path / "a.npz")
    with pytest.raises(InputError, match="audio, video could all be the items; choose with --map test.item.embeddings"):
        load(path)
    problem = load(path, mapping=["test.item.embeddings=:test/audio/embeddings"])
    assert problem.items.vectors is not None
    np.testing.assert_array_equal(problem.items.vectors, arrays["test/audio/embeddings"])


@pytest.mark.parametrize(
    ("mapping", "error", "message"),
    [
        (["test.text.embedings=a.npy"], UsageError, "unknown key .*did you mean 'test.text.embeddings'"),
        (["test.text.embeddings"], UsageError, "write KEY=SOURCE"),
        (["text.ids=a.npy", "test.text.ids=b.npy"], UsageError, "is mapped twice"),
        (["text.ids=a.npy|upper"], UsageError, "unknown transform 'upper'"),
        (["text.ids=nowhere.npy"], MissingError, "nowhere.npy: no such file"),
        (["text.ids=:text_idz"], InputError, "a.npz:text_idz: not in the file; did you mean 'text_ids'"),
    ],
)
def test_wrong_mappings(tmp_path: Path, mapping: list[str], error: type[Exception], message: str) -> None:
    path = write_npz(named(), tmp_path / "a.npz")
    with pytest.raises(error, match=message):
        load(path, mapping=mapping)
    with pytest.raises(UsageError):
        parse("test.text.embedings")


def test_inspection_says_what_is_there(tmp_path: Path) -> None:
    arrays = named()
    arrays["captions"][1] = arrays["captions"][0]
    arrays["video_embeddings"][2] = arrays["video_embeddings"][0]
    arrays["unknown"] = np.zeros((2, 2, 2))
    found, error = inspect(write_npz(arrays, tmp_path / "a.npz"))
    assert error is None
    assert (found.layout, found.pairs, found.captions_per_item, found.items_without_query) == ("flat", 6, (2, 2), 0)
    assert found.sides["queries"].repeated_captions == 1
    assert found.sides["items"].repeated_rows == 1
    assert found.sides["queries"].normalised is False
    assert {d.key: d.meaning for d in found.datasets}["text_video_ids"] == "test.text.item_ids"
    assert {d.key: d.meaning for d in found.datasets}["unknown"] == ""
    again = load(mapping=dict(found.mapping))
    assert_same(again, load(tmp_path / "a.npz"))


def test_inspection_counts_ties_of_a_matrix(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]))
    found, error = inspect(tmp_path / "m.npy", mapping={"labelled": "false"})
    assert error is None
    assert found.tied == {"t2v": 1, "v2t": 0}


def test_inspecting_a_file_that_cannot_be_evaluated_still_shows_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 2)), y=np.ones((3, 2)))
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.npz")])
    assert isinstance(done.exception, InputError)
    assert "layout: not recognised" in done.stdout
    assert "3 x 2" in done.stdout
    found, error = inspect(tmp_path / "a.npz")
    assert error is not None and found.error == str(error)


def test_the_inspect_command(tmp_path: Path) -> None:
    path = write_npz(named() | {"a\x1b[31m": np.ones(2)}, tmp_path / "a.npz")
    text = CliRunner().invoke(app, ["inspect", str(path)])
    assert text.exit_code == 0
    assert "6 queries x 3 items, D=5" in text.stdout
    assert "\x1b" not in text.stdout
    block = text.stdout.split("```toml\n")[1].split("```")[0]
    mapping = tomllib.loads(block)["map"]
    assert_same(load(mapping=mapping), load(path))
    data = json.loads(CliRunner().invoke(app, ["inspect", str(path), "-f", "json"]).stdout)
    assert data["layout"] == "flat"
    assert data["sides"]["queries"]["rows"] == 6
    folder = write_folder(named(), tmp_path / "folder")
    assert "layout: nclbench" in CliRunner().invoke(app, ["inspect", str(folder)]).stdout
    wrong = CliRunner().invoke(app, ["inspect", str(path), "-f", "yaml"])
    assert isinstance(wrong.exception, UsageError)


@needs_data
def test_token_features_are_listed_with_what_they_mean() -> None:
    found, error = inspect(DATA / "msvd_multivector_minilm" / "msvd_multivector_minilm.h5")
    assert error is None
    by_key = {entry.key: entry for entry in found.datasets}
    assert by_key["video_frame_embeddings"].shape == (670, 8, 384)
    assert by_key["video_frame_embeddings"].meaning == "test.video.tokens.values"
    assert by_key["text_mask"].meaning == "test.text.tokens.mask"

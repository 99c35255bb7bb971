"""Files to problems: every container gives the same problem, every rule of relation and identity is said."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.numpy import save_file

from nclbench.errors import InputError, MissingError, UsageError
from nclbench.leaks import leaks
from nclbench.problem import Problem
from nclbench.sources import load

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")
Arrays = dict[str, Any]


def vectors(rows: int, seed: int, features: int = 5) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, features)).astype(np.float32)


def flat(queries: int = 6, items: int = 3) -> Arrays:
    return {
        "text_embeddings": vectors(queries, 1),
        "video_embeddings": vectors(items, 2),
        "text_video_index": np.arange(queries) % items,
    }


def named(queries: int = 6, items: int = 3) -> Arrays:
    own = flat(queries, items)
    del own["text_video_index"]
    return own | {
        "text_ids": [f"q{row}" for row in range(queries)],
        "video_ids": [f"vidéo{row}" for row in range(items)],
        "text_video_ids": [f"vidéo{row % items}" for row in range(queries)],
        "captions": [f"made-up caption {row} ✓" for row in range(queries)],
        "querybank_text_embeddings": vectors(4, 3),
        "gallerybank_embeddings": vectors(2, 4),
    }


def write_h5(arrays: Mapping[str, Any], path: Path, **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file[key] = values
        file.attrs.update(attributes)
    return path


def write_npz(arrays: Mapping[str, Any], path: Path) -> Path:
    np.savez(path, **{key: np.asarray(values) for key, values in arrays.items()})
    return path


def write_safetensors(arrays: Mapping[str, Any], path: Path) -> Path:
    lists = {f"test.{key}": json.dumps(values) for key, values in arrays.items() if isinstance(values, list)}
    renamed = {"text_ids": "text.ids", "video_ids": "video.ids", "text_video_ids": "text.item_ids"}
    lists = {f"test.{renamed.get(key[5:], 'text.captions')}": text for key, text in lists.items()}
    tensors = {
        "test.text.embeddings": arrays["text_embeddings"],
        "test.video.embeddings": arrays["video_embeddings"],
        "bank.text.embeddings": arrays["querybank_text_embeddings"],
        "bank.video.embeddings": arrays["gallerybank_embeddings"],
    }
    save_file(tensors, path, lists)
    return path


def write_folder(arrays: Mapping[str, Any], path: Path) -> Path:
    for name, columns in {
        "test.text": {
            "embedding": list(arrays["text_embeddings"]),
            "id": arrays["text_ids"],
            "item_id": arrays["text_video_ids"],
            "caption": arrays["captions"],
        },
        "test.video": {"embedding": list(arrays["video_embeddings"]), "id": arrays["video_ids"]},
        "bank.text": {"embedding": list(arrays["querybank_text_embeddings"])},
        "bank.video": {"embedding": list(arrays["gallerybank_embeddings"])},
    }.items():
        (path / name).mkdir(parents=True)
        rows = len(columns["embedding"])
        for part, chosen in enumerate((slice(0, 1), slice(1, rows))):
            table = pyarrow.table({key: values[chosen] for key, values in columns.items()})
            parquet.write_table(table, path / name / f"part-{part:04d}.parquet")
    return path


def assert_same(one: Problem, other: Problem, texts: bool = True) -> None:
    """Equal in all that a file can say; where they came from does not matter."""
    for role in ("queries", "items", "query_bank", "item_bank"):
        a, b = one.role(role), other.role(role)
        assert (a is None) == (b is None), role
        if a is None or b is None:
            continue
        assert not texts or (a.ids, a.captions) == (b.ids, b.captions), role
        for x, y in ((a.vectors, b.vectors), (a.weight, b.weight)):
            assert (x is None) == (y is None), role
            if x is not None and y is not None:
                np.testing.assert_array_equal(x, y)
                assert x.dtype == y.dtype
    assert (one.relevance is None) == (other.relevance is None)
    if one.relevance is not None and other.relevance is not None:
        for name in ("query", "item", "gain"):
            np.testing.assert_array_equal(getattr(one.relevance, name), getattr(other.relevance, name))
    assert one.scores.keys() == other.scores.keys()
    for pair, values in one.scores.items():
        np.testing.assert_array_equal(values, other.scores[pair])
        assert values.dtype == other.scores[pair].dtype
    assert (one.logit_scale, one.scorer) == (other.logit_scale, other.scorer)


def test_all_containers_give_the_same_problem(tmp_path: Path) -> None:
    arrays = named()
    writers: dict[str, Callable[[Mapping[str, Any], Path], Path]] = {
        "a.h5": write_h5, "a.npz": write_npz, "a.safetensors": write_safetensors, "folder": write_folder,
    }  # fmt: skip
    problems = [load(write(arrays, tmp_path / name)) for name, write in writers.items()]
    first = problems[0]
    assert first.queries.ids == tuple(arrays["text_ids"])
    assert first.items.ids == ("vidéo0", "vidéo1", "vidéo2")
    assert first.queries.captions is not None and first.queries.captions[3] == "made-up caption 3 ✓"
    assert first.relevance is not None and first.relevance.item.tolist() == [0, 1, 2, 0, 1, 2]
    assert first.query_bank is not None and len(first.query_bank) == 4
    assert (first.dataset, first.model, first.split, first.notes) == ("6x3", "a", "test", ())
    for other in problems[1:]:
        assert_same(first, other)


def test_vectors_alone_are_equal_in_every_container(tmp_path: Path) -> None:
    arrays = {key: values for key, values in flat(4, 4).items() if key != "text_video_index"}
    text, video = arrays.values()
    np.save(tmp_path / "t.npy", text)
    np.save(tmp_path / "v.npy", video)
    nested = {"text": {"embeddings": torch.from_numpy(text)}, "video": {"embeddings": torch.from_numpy(video)}}
    torch.save(nested, tmp_path / "a.pt")
    torch.save({key: torch.from_numpy(values) for key, values in arrays.items()}, tmp_path / "b.pth")
    columns = {key: [row.tolist() for row in values] for key, values in arrays.items()}
    kinds = {key: pyarrow.list_(pyarrow.float32()) for key in columns}
    parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(kinds)), tmp_path / "a.parquet")
    first = load(write_h5(arrays, tmp_path / "a.h5"))
    for other in (f"{tmp_path}/t.npy,{tmp_path}/v.npy", tmp_path / "a.pt", tmp_path / "b.pth", tmp_path / "a.parquet"):
        assert_same(first, load(other))
    assert_same(first, load([tmp_path / "t.npy", tmp_path / "v.npy"]))
    assert any("nothing says which rows belong together" in note for note in first.notes)


def test_a_matrix_from_every_container(tmp_path: Path) -> None:
    scores = vectors(3, 1, 4)
    np.save(tmp_path / "a.npy", scores)
    np.savez(tmp_path / "a.npz", sims=scores)
    torch.save(torch.from_numpy(scores), tmp_path / "a.pt")
    write_h5({"similarity": scores}, tmp_path / "a.h5")
    for name in ("a.npy", "a.npz", "a.pt", "a.h5"):
        problem = load(tmp_path / name, no_labels=True)
        np.testing.assert_array_equal(problem.scores["queries", "items"], scores)
        assert problem.scores["queries", "items"].dtype == np.float32
        assert (problem.relevance, problem.queries.vectors) == (None, None)
        assert len(problem.queries) == 3
        assert len(problem.items) == 4


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_half_precision_is_widened_and_nothing_else(tmp_path: Path, dtype: Any) -> None:
    arrays = {key: values.astype(dtype) for key, values in flat(3, 3).items() if "embeddings" in key}
    problem = load(write_npz(arrays, tmp_path / "a.npz"))
    wanted = np.float32 if dtype in (np.float16, ">f4") else dtype
    assert problem.queries.vectors is not None and problem.queries.vectors.dtype == wanted
    np.testing.assert_array_equal(problem.queries.vectors, arrays["text_embeddings"].astype(wanted))
    np.save(tmp_path / "m.npy", np.asarray(arrays["text_embeddings"]))
    assert load(tmp_path / "m.npy", no_labels=True).scores["queries", "items"].dtype == wanted


def test_bfloat16_is_read_exactly(tmp_path: Path) -> None:
    values = torch.from_numpy(vectors(3, 1)).to(torch.bfloat16)
    bits = values.view(torch.uint16).numpy().tobytes()
    tensors = {
        f"test.{side}.embeddings": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [start, start + len(bits)]}
        for side, start in (("text", 0), ("video", len(bits)))
    }
    text = json.dumps(tensors).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bits + bits)
    torch.save({"text_embeddings": values, "video_embeddings": values}, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        problem = load(tmp_path / name)
        assert problem.queries.vectors is not None
        np.testing.assert_array_equal(problem.queries.vectors, values.float().numpy())


def test_inputs_are_recorded_with_their_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("t.npy", vectors(3, 1).astype(np.float16))
    np.save("v.npy", vectors(3, 2))
    problem = load("t.npy,v.npy")
    assert [(i.role, i.path, i.shape, i.dtype) for i in problem.inputs] == [
        ("items", "v.npy", (3, 5), "float32"),
        ("queries", "t.npy", (3, 5), "float16"),
    ]
    assert all(len(entry.sha256) == 64 for entry in problem.inputs)
    assert problem.queries.origin == "t.npy"


def test_relation_by_ids_wherever_both_sides_have_the_same(tmp_path: Path) -> None:
    arrays = {key: values for key, values in flat(3, 3).items() if "embeddings" in key}
    arrays |= {"text_ids": ["c", "a", "b"], "video_ids": ["a", "b", "c"]}
    problem = load(write_npz(arrays, tmp_path / "a.npz"))
    assert problem.relevance is not None and problem.relevance.item.tolist() == [2, 0, 1]
    assert problem.notes == ()


def test_no_labels_never_becomes_a_diagonal(tmp_path: Path) -> None:
    path = write_npz(flat(3, 3), tmp_path / "a.npz")
    assert load(path, no_labels=True).relevance is None
    assert load(path).relevance is not None


def test_graded_pairs(tmp_path: Path) -> None:
    arrays = {
        "test/text/embeddings": vectors(2, 1),
        "test/video/embeddings": vectors(3, 2),
        "test/text/ids": ["p", "q"],
        "test/video/ids": ["x", "y", "z"],
        "test/relevance/query_ids": ["q", "p", "q", "p"],
        "test/relevance/item_ids": ["z", "x", "x", "y"],
        "test/relevance/grade": [3, 1, 0.5, 0],
    }
    problem = load(write_npz(arrays, tmp_path / "a.npz"))
    assert problem.relevance is not None
    found = problem.relevance
    assert (found.query.tolist(), found.item.tolist(), found.gain.tolist()) == ([0, 1, 1], [0, 0, 2], [1, 0.5, 3])
    assert any("grade 0" in note for note in problem.notes)


def test_splits_are_chosen(tmp_path: Path) -> None:
    arrays = {
        f"{split}/{side}/embeddings": vectors(3, seed)
        for seed, (split, side) in enumerate((a, b) for a in ("train", "val") for b in ("text", "video"))
    }
    path = write_npz(arrays, tmp_path / "a.npz")
    with pytest.raises(InputError, match="splits train, val; say which with --split"):
        load(path)
    assert load(path, split="val").split == "val"
    with pytest.raises(UsageError, match="no split 'vall'; did you mean 'val'"):
        load(path, split="vall")
    write_npz(arrays | {key.replace("val", "test"): a for key, a in arrays.items()}, tmp_path / "b.npz")
    assert load(tmp_path / "b.npz").split == "test"
    bank = load(tmp_path / "b.npz", bank=path).query_bank
    assert bank is not None and bank.vectors is not None
    np.testing.assert_array_equal(bank.vectors, arrays["train/text/embeddings"])


def test_attributes_name_the_problem(tmp_path: Path) -> None:
    path = write_h5(flat(), tmp_path / "a.h5", dataset="toy", model="m", similarity="dot", logit_scale=100.0)
    problem = load(path)
    assert (problem.dataset, problem.model, problem.scorer, problem.logit_scale) == ("toy", "m", "dot", 100.0)
    scaled = write_npz(flat() | {"logit_scale": np.float32(4.605)}, tmp_path / "b.npz")
    assert any("looks like a logarithm" in note for note in load(scaled).notes)
    with pytest.raises(InputError, match="logit_scale is -1"):
        load(write_npz(flat() | {"logit_scale": np.float32(-1)}, tmp_path / "c.npz"))


def test_banks(tmp_path: Path) -> None:
    path = write_npz(flat(), tmp_path / "a.npz")
    np.save(tmp_path / "bank.npy", vectors(4, 9))
    problem = load(path, bank=tmp_path / "bank.npy")
    assert problem.query_bank is not None and problem.item_bank is None
    assert {entry.role for entry in problem.inputs} == {"queries", "items", "query_bank"}
    both = load(path, bank=write_npz(flat(5, 4), tmp_path / "b.npz"))
    assert (len(both.query_bank or ()), len(both.item_bank or ())) == (5, 4)
    leak = load(path, bank=path)
    assert any("bank rows equal test rows" in note for note in leaks(leak))
    np.save(tmp_path / "s.npy", vectors(3, 5, 4))
    np.save(tmp_path / "sb.npy", vectors(7, 6, 4))
    scored = load(tmp_path / "s.npy", bank=tmp_path / "sb.npy", no_labels=True)
    assert scored.scores["query_bank", "items"].shape == (7, 4)
    np.save(tmp_path / "sw.npy", vectors(7, 6, 3))
    with pytest.raises(InputError, match="sw.npy: shape .7, 3., but there are 4 items"):
        load(tmp_path / "s.npy", bank=tmp_path / "sw.npy", no_labels=True)


def test_captions_from_a_file(tmp_path: Path) -> None:
    arrays = {key: values for key, values in named(3, 3).items() if key != "captions"}
    path = write_npz(arrays, tmp_path / "a.npz")
    (tmp_path / "lines.txt").write_text("one\ntwo\u2028still two\nthree\n", encoding="utf-8")
    assert load(path, captions=tmp_path / "lines.txt").queries.captions == ("one", "two\u2028still two", "three")
    (tmp_path / "ids.csv").write_text('id,caption\nq2,c\nq0,"a, b"\nq1,b\nother,x\n')
    assert load(path, captions=tmp_path / "ids.csv").queries.captions == ("a, b", "b", "c")
    table = "key,video_id,sentence\nr0,vidéo1,b\nr1,vidéo0,a\nr2,vidéo2,c\n"
    (tmp_path / "items.csv").write_text(table, encoding="utf-8")
    assert load(path, captions=tmp_path / "items.csv").queries.captions == ("a", "b", "c")
    (tmp_path / "list.json").write_text('["x", "y", "z"]')
    assert load(path, captions=tmp_path / "list.json").queries.captions == ("x", "y", "z")
    (tmp_path / "by_id.json").write_text('{"q1": "y", "q0": "x", "q2": "z"}')
    assert load(path, captions=tmp_path / "by_id.json").queries.captions == ("x", "y", "z")
    (tmp_path / "short.txt").write_text("one\n")
    with pytest.raises(InputError, match=r"short\.txt: 1 captions for 3 queries"):
        load(path, captions=tmp_path / "short.txt")
    (tmp_path / "part.csv").write_text("id,caption\nq0,a\nq1,b\nq9,b\n")
    with pytest.raises(InputError, match=r"part\.csv:id: 1 queries are not in it \('q2'\)"):
        load(path, captions=tmp_path / "part.csv")


def test_missing_files_and_impossible_options(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere.h5: no such file"):
        load(tmp_path / "nowhere.h5")
    with pytest.raises(UsageError, match="nothing to read"):
        load()
    with pytest.raises(UsageError, match="give FILE, or TEXTS,ITEMS"):
        load("a.npy,b.npy,c.npy")
    path = write_npz(flat(), tmp_path / "a.npz")
    with pytest.raises(UsageError, match="unknown layout 'flatt'; did you mean 'flat'"):
        load(path, layout="flatt")
    np.save(tmp_path / "video.npy", vectors(3, 1))
    np.save(tmp_path / "text.npy", vectors(3, 2))
    with pytest.raises(UsageError, match="the first file must be the texts"):
        load([tmp_path / "video.npy", tmp_path / "text.npy"])


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    path = write_npz(flat(), tmp_path / "a.npz")
    code = (
        f"import sys; from nclbench.sources import load; load({str(path)!r}); import nclbench.cli.inspect;"
        "print(sorted({'torch', 'pandas', 'pyarrow', 'h5py', 'safetensors', 'scipy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@needs_data
@pytest.mark.parametrize(
    ("name", "queries", "items", "banks"),
    [
        ("cap4video_msrvtt1ka/msrvtt_video_factor.h5", 1000, 1000, (0, 0)),
        ("cap4video_msrvtt1ka/msrvtt_video_matrix.npy", 1000, 1000, (0, 0)),
        ("clotho_text_minilm/clotho_text_minilm.h5", 3135, 1045, (0, 0)),
        ("msvd_multivector_minilm/msvd_multivector_minilm.h5", 670, 670, (0, 0)),
        ("msvd_text_minilm/msvd_text_minilm_g1.h5", 6700, 670, (3000, 0)),
        ("multi30k_crosslingual_e5/task2_en1_de1.h5", 1000, 1000, (1500, 1500)),
    ],
)
def test_real_files_need_no_option(name: str, queries: int, items: int, banks: tuple[int, int]) -> None:
    problem = load(DATA / name)
    assert (len(problem.queries), len(problem.items)) == (queries, items)
    assert (len(problem.query_bank or ()), len(problem.item_bank or ())) == banks
    assert problem.relevance is not None and len(problem.relevance) == queries


def test_a_bank_of_embeddings_is_no_bank_of_a_score_matrix(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.eye(4))
    with pytest.raises(InputError, match="the bank holds embeddings, and the input is a ready score matrix"):
        load(tmp_path / "s.npy", bank=write_npz(flat(), tmp_path / "b.npz"))
    np.save(tmp_path / "wide.npy", np.ones((6, 4)))
    with pytest.raises(InputError, match="wide.npy: read as scores of 6 queries x 4 items.*TEXT.npy,VIDEO.npy"):
        load(tmp_path / "wide.npy")

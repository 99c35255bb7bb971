"""A corpus of bad files, made here: each gives one line that names file and array, quickly, and never runs anything."""

import io
import json
import os
import pickle
import random
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.numpy import save_file

from nclbench.errors import InputError, MissingError, NclbenchError
from nclbench.sources import hdf5, load

Maker = Callable[[Path], Any]


class Payload:
    """Unpickling this writes a file; no reader may ever do so."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def good(rows: int = 4, features: int = 6) -> dict[str, Any]:
    generator = np.random.default_rng(7)
    return {
        "text_embeddings": generator.normal(size=(rows, features)).astype(np.float32),
        "video_embeddings": generator.normal(size=(rows, features)).astype(np.float32),
    }


def h5(path: Path, arrays: dict[str, Any] | None = None, **more: Any) -> h5py.File:
    file = h5py.File(path / "bad.h5", "w")
    for key, values in ((good() if arrays is None else arrays) | more).items():
        file[key] = values
    return file


def without(name: str) -> dict[str, Any]:
    return {key: values for key, values in good().items() if key != name}


def changed(row: int, value: float, dtype: Any = np.float32) -> dict[str, Any]:
    arrays = {key: values.astype(dtype) for key, values in good().items()}
    arrays["text_embeddings"][row] = value
    return arrays


def npz(path: Path, arrays: dict[str, Any], name: str = "bad.npz") -> Path:
    np.savez(path / name, **{key: np.asarray(values) for key, values in arrays.items()})
    return path / name


def member(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def never_written(path: Path) -> None:
    with h5(path, without("text_embeddings")) as file:
        file.create_dataset("text_embeddings", (4, 6), "f4")


def never_written_chunks(path: Path) -> None:
    with h5(path, without("text_embeddings")) as file:
        file.create_dataset("text_embeddings", (4, 6), "f4", chunks=(1, 6))


def half_written(path: Path) -> None:
    with h5(path, without("text_embeddings")) as file:
        file.create_dataset("text_embeddings", (4, 6), "f4", chunks=(1, 6))[:2] = 1.0


def external_link(path: Path) -> None:
    with h5py.File(path / "other.h5", "w") as other:
        other["secret"] = good()["text_embeddings"]
    with h5(path, without("text_embeddings")) as file:
        file["text_embeddings"] = h5py.ExternalLink("other.h5", "secret")


def soft_link_to_group(path: Path) -> None:
    with h5(path, {"real/text/embeddings": good()["text_embeddings"]}) as file:
        file["test"] = h5py.SoftLink("/real")


def external_storage(path: Path) -> None:
    (path / "outside.bin").write_bytes(bytes(96))
    with h5(path, without("text_embeddings")) as file:
        file.create_dataset("text_embeddings", (4, 6), "f4", external=[(str(path / "outside.bin"), 0, 96)])


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((4, 6), "f4")
    layout[:] = h5py.VirtualSource(str(path / "gone.h5"), "x", (4, 6))
    with h5(path, without("text_embeddings")) as file:
        file.create_virtual_dataset("text_embeddings", layout)


def two_filters(path: Path) -> None:
    with h5(path, without("text_embeddings")) as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 6))
        plist.set_deflate(9)
        plist.set_deflate(9)
        space = h5py.h5s.create_simple((4, 6))
        h5py.h5d.create(file.id, b"text_embeddings", h5py.h5t.NATIVE_FLOAT, space, plist)
        file["text_embeddings"][:] = 1.0


def h5_bomb(path: Path) -> None:
    with h5(path, without("text_embeddings")) as file:
        ones = np.ones((1 << 17, 160), np.float32)
        file.create_dataset("text_embeddings", data=ones, chunks=(1 << 12, 160), compression="gzip", compression_opts=1)


def group_in_itself(path: Path) -> None:
    with h5(path) as file:
        file["group"] = file["/"]


def compound(path: Path) -> None:
    with h5(path, without("text_embeddings")) as file:
        file["text_embeddings"] = np.zeros((4, 6), dtype=[("x", "f4")])


def npz_objects(path: Path) -> None:
    np.savez(path / "bad.npz", text_embeddings=np.array([Payload(path / "PWNED")], dtype=object))


def npz_twice(path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path / "bad.npz", "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("text_embeddings", "video_embeddings", "text_embeddings"):
            archive.writestr(f"{name}.npy", member(good()["text_embeddings"]))


def npz_bomb(path: Path) -> None:
    with zipfile.ZipFile(path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text_embeddings.npy", member(np.zeros((1 << 17, 256), np.float32)))


def npz_declares(path: Path) -> None:
    head = member(np.zeros((4, 6), np.float32)).replace(b"(4, 6), }" + b" " * 8, b"(4000000, 600), }")
    with zipfile.ZipFile(path / "bad.npz", "w") as archive:
        archive.writestr("text_embeddings.npy", head)


def npz_checksum(path: Path) -> None:
    data = bytearray(npz(path, good()).read_bytes())
    place = data.find(good()["text_embeddings"].tobytes())
    data[place + 2] ^= 1
    (path / "bad.npz").write_bytes(data)


def npy_pickle(path: Path) -> None:
    np.save(path / "bad.npy", np.array([Payload(path / "PWNED")], dtype=object), allow_pickle=True)


def npy_cut(path: Path) -> None:
    np.save(path / "bad.npy", good()["text_embeddings"])
    cut(path / "bad.npy", 0.8)


def npy_two(path: Path) -> None:
    with (path / "bad.npy").open("wb") as stream:
        np.save(stream, good()["text_embeddings"])
        np.save(stream, good()["text_embeddings"])


def raw_pickle(name: str) -> Maker:
    return lambda path: (path / name).write_bytes(pickle.dumps(Payload(path / "PWNED")))


def torch_object(path: Path) -> None:
    torch.save({"text_embeddings": Payload(path / "PWNED")}, path / "bad.pt")


def torch_expanded(path: Path) -> None:
    torch.save({"text_embeddings": torch.zeros(1).expand(1 << 20, 64)}, path / "bad.pt")


def torch_legacy(path: Path) -> None:
    torch.save(torch.ones(2, 2), path / "bad.pt", _use_new_zipfile_serialization=False)


def torch_flipped(path: Path) -> None:
    torch.save({key: torch.from_numpy(np.asarray(value)) for key, value in good().items()}, path / "bad.pt")
    whole = bytearray((path / "bad.pt").read_bytes())
    whole[whole.index(np.asarray(good()["text_embeddings"]).tobytes()) + 2] ^= 1
    (path / "bad.pt").write_bytes(whole)


def tensors(path: Path, header: str, data: bytes = bytes(96)) -> None:
    text = header.encode()
    (path / "bad.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def tensors_cut(path: Path) -> None:
    save_file(good(), path / "bad.safetensors")
    cut(path / "bad.safetensors", 0.9)


def tensors_twice(path: Path) -> None:
    one = '{"dtype":"F32","shape":[4,6],"data_offsets":[0,96]}'
    tensors(path, f'{{"text_embeddings":{one},"text_embeddings":{one}}}')


def table(path: Path, **columns: Any) -> None:
    parquet.write_table(pyarrow.table(columns), path / "bad.parquet")


def parquet_cut(path: Path) -> None:
    table(path, text_embeddings=[[1.0, 2.0]] * 3, video_embeddings=[[1.0, 2.0]] * 3)
    cut(path / "bad.parquet", 0.9)


CORPUS: dict[str, tuple[str, Maker, str]] = {
    "NaN": ("bad.npz", lambda p: npz(p, changed(2, np.nan)), "bad.npz:text_embeddings: row 2 holds NaN"),
    "infinite": ("bad.npz", lambda p: npz(p, changed(1, np.inf)), "text_embeddings: row 1 holds an inf"),
    "half overflow": ("bad.npz", lambda p: npz(p, changed(3, np.inf, np.float16)), "row 3 .*overflowed"),
    "zero row": ("bad.npz", lambda p: npz(p, changed(0, 0)), "bad.npz:text_embeddings: row 0 is all zeros"),
    "integers": ("bad.npz", lambda p: npz(p, changed(0, 1, np.int32)), "bad.npz:text_embeddings: dtype int32"),
    "bfloat16 bits": ("bad.npz", lambda p: npz(p, changed(0, 1, np.uint16)), "dtype uint16.*bfloat16"),
    "matrix of bits": ("bad.npy", lambda p: np.save(p / "bad.npy", np.ones((3, 3), np.uint16)), "npy: dtype uint16"),
    "matrix NaN": ("bad.npy", lambda p: np.save(p / "bad.npy", np.full((3, 3), np.nan)), "bad.npy: row 0 holds NaN"),
    "matrix empty": ("bad.npy", lambda p: np.save(p / "bad.npy", np.ones((0, 3))), "bad.npy: shape .0, 3., empty"),
    "cube": ("bad.npy", lambda p: np.save(p / "bad.npy", np.ones((2, 2, 2))), "bad.npy: no known layout"),
    "widths": ("bad.npz", lambda p: npz(p, good() | {"video_embeddings": np.ones((4, 5))}), ": 5 features, but"),
    "empty": ("bad.npz", lambda p: npz(p, good() | {"text_embeddings": np.ones((0, 6))}), "text_embeddings: empty"),
    "ids twice": ("bad.npz", lambda p: npz(p, good() | {"video_ids": list("abca")}), "video_ids: id 'a'.*row 3"),
    "ids too few": ("bad.npz", lambda p: npz(p, good() | {"video_ids": list("abc")}), "video_ids: 3 ids for 4 rows"),
    "ids unknown": (
        "bad.npz",
        lambda p: npz(p, good() | {"video_ids": list("abcd"), "text_video_ids": list("axyb")}),
        r"bad.npz:text_video_ids: 2 ids are not among those of .*video_embeddings \('x', 'y'\)",
    ),
    "ids are floats": ("bad.npz", lambda p: npz(p, good() | {"video_ids": np.ones(4)}), "video_ids: dtype float64"),
    "position outside": (
        "bad.npz",
        lambda p: npz(p, good() | {"text_video_index": [0, 1, -1, 9]}),
        "bad.npz:text_video_index: row 2 says item -1, but there are 4",
    ),
    "no relation": (
        "bad.npz",
        lambda p: npz(p, {"text_embeddings": np.ones((6, 2)), "video_embeddings": np.ones((3, 2))}),
        "bad.npz:text_embeddings: 6 rows, .*has 3, .*captions_per_item=2",
    ),
    "query without item": (
        "bad.npz",
        lambda p: npz(
            p,
            good()
            | {"text_ids": list("pqrs"), "video_ids": list("abcd")}
            | {"test/relevance/query_ids": list("ps"), "test/relevance/item_ids": list("ab")},
        ),
        r"bad.npz:text_embeddings: 2 queries have no relevant item \('q', 'r'\)",
    ),
    "one side": ("bad.npz", lambda p: npz(p, without("video_embeddings")), "no embeddings of the items"),
    "no layout": ("bad.npz", lambda p: npz(p, {"x": np.ones((2, 2)), "y": np.ones((2, 2))}), "no known layout"),
    "logit scale": ("bad.npz", lambda p: npz(p, good() | {"logit_scale": np.array("big")}), "logit_scale is 'big'"),
    "never written": ("bad.h5", never_written, "bad.h5: 'text_embeddings' was created but never written"),
    "no chunk": ("bad.h5", never_written_chunks, "bad.h5: 'text_embeddings' was created but never written"),
    "half written": ("bad.h5", half_written, "bad.h5: 'text_embeddings' is only partly written .2 of 4 chunks"),
    "external link": ("bad.h5", external_link, "bad.h5: 'text_embeddings' is an external link"),
    "soft link": ("bad.h5", soft_link_to_group, "bad.h5: 'test' is a soft link"),
    "external storage": ("bad.h5", external_storage, "bad.h5: 'text_embeddings' keeps its values in another file"),
    "virtual": ("bad.h5", virtual, "bad.h5: 'text_embeddings' is a virtual dataset"),
    "two filters": ("bad.h5", two_filters, "bad.h5: 'text_embeddings' is compressed more than once"),
    "HDF5 bomb": ("bad.h5", h5_bomb, "bad.h5: 'text_embeddings' says .* bytes but stores"),
    "loop": ("bad.h5", group_in_itself, "bad.h5: 'group' is a group that contains itself"),
    "compound": ("bad.h5", compound, "bad.h5: 'text_embeddings' is of type"),
    "HDF5 ids": ("bad.h5", lambda p: h5(p, video_ids=[b"\xff", b"b", b"c", b"d"]).close(), "row 0 is not UTF-8"),
    "HDF5 cut": ("bad.h5", lambda p: (h5(p).close(), cut(p / "bad.h5", 0.6)), "bad.h5: damaged or not HDF5"),
    "not HDF5": ("bad.h5", lambda p: (p / "bad.h5").write_text("hello"), "bad.h5: damaged or not HDF5"),
    "no bytes": ("bad.h5", lambda p: (p / "bad.h5").touch(), "bad.h5: damaged or not HDF5"),
    "npz cut": ("bad.npz", lambda p: cut(npz(p, good()), 0.7), "bad.npz: damaged or not npz"),
    "npz objects": ("bad.npz", npz_objects, "bad.npz:text_embeddings: holds Python objects"),
    "npz twice": ("bad.npz", npz_twice, "bad.npz:text_embeddings: is in the file twice"),
    "npz bomb": ("bad.npz", npz_bomb, "bad.npz:text_embeddings: .* bytes that unpack to"),
    "npz declares": ("bad.npz", npz_declares, "bad.npz:text_embeddings: shape .4000000, 600"),
    "npz checksum": ("bad.npz", npz_checksum, "bad.npz: damaged or not npz .*CRC"),
    "npz is a pickle": ("bad.npz", raw_pickle("bad.npz"), "bad.npz: damaged or not npz"),
    "npy pickle": ("bad.npy", npy_pickle, "bad.npy: holds Python objects"),
    "npy is a pickle": ("bad.npy", raw_pickle("bad.npy"), "bad.npy: damaged or not npy"),
    "npy cut": ("bad.npy", npy_cut, "bad.npy: .*it is cut off"),
    "npy two": ("bad.npy", npy_two, "bad.npy: .*something else follows"),
    "pickle": ("bad.pkl", raw_pickle("bad.pkl"), "bad.pkl: pickles are never read.*numpy.savez"),
    "unknown kind": ("bad.xyz", raw_pickle("bad.xyz"), "bad.xyz: not a known kind of file"),
    "torch object": ("bad.pt", torch_object, "bad.pt: damaged, or holds more than tensors"),
    "torch pickle": ("bad.pt", raw_pickle("bad.pt"), "bad.pt: not a torch zip file"),
    "torch legacy": ("bad.pt", torch_legacy, "bad.pt: not a torch zip file"),
    "torch flipped": ("bad.pt", torch_flipped, "bad.pt:bad/data/.: damaged, its checksum is another"),
    "torch expanded": ("bad.pt", torch_expanded, "bad.pt:text_embeddings: declares"),
    "torch list": ("bad.pt", lambda p: torch.save({"ids": ["a"]}, p / "bad.pt"), "bad.pt:ids: a list, not a tensor"),
    "torch cut": (
        "bad.pt",
        lambda p: (torch.save(torch.ones(9, 9), p / "bad.pt"), cut(p / "bad.pt", 0.8)),
        "bad.pt: damaged",
    ),
    "safetensors cut": ("bad.safetensors", tensors_cut, "bad.safetensors: damaged or not safetensors"),
    "safetensors twice": ("bad.safetensors", tensors_twice, "bad.safetensors:text_embeddings: is in the file twice"),
    "safetensors type": (
        "bad.safetensors",
        lambda p: tensors(p, '{"sims":{"dtype":"F8_E4M3","shape":[8,12],"data_offsets":[0,96]}}'),
        "bad.safetensors:sims: dtype F8_E4M3 is not read",
    ),
    "safetensors header": ("bad.safetensors", lambda p: tensors(p, "[" * 5000), "bad.safetensors: damaged"),
    "Parquet cut": ("bad.parquet", parquet_cut, "bad.parquet: damaged or not Parquet"),
    "Parquet uneven": (
        "bad.parquet",
        lambda p: table(p, text_embeddings=[[1.0], [1.0, 2.0]], video_embeddings=[[1.0], [1.0]]),
        "bad.parquet:text_embeddings: row 1 has 2 numbers, row 0 has 1",
    ),
    "Parquet nulls": (
        "bad.parquet",
        lambda p: table(p, text_embeddings=[[1.0], None], video_embeddings=[[1.0], [1.0]]),
        "bad.parquet:text_embeddings: 1 values are missing",
    ),
    "pipe": ("bad.npy", lambda p: os.mkfifo(p / "bad.npy"), "bad.npy: not a regular file"),
    "device": ("bad.npy", lambda p: (p / "bad.npy").symlink_to("/dev/zero"), "bad.npy: not a regular file"),
    "folder": ("bad.npy", lambda p: (p / "bad.npy").mkdir(), "bad.npy: no known layout"),
    "nothing": ("bad.npy", lambda p: None, "bad.npy: no such file"),
    "link loop": ("bad.npy", lambda p: (p / "bad.npy").symlink_to(p / "bad.npy"), "bad.npy: "),
}


@pytest.mark.parametrize("case", CORPUS)
def test_bad_input_is_one_line(tmp_path: Path, case: str) -> None:
    name, make, message = CORPUS[case]
    make(tmp_path)
    start = time.monotonic()
    with pytest.raises((InputError, MissingError), match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert not (tmp_path / "PWNED").exists()
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("suffix", ["h5", "npz", "safetensors"])
def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path, suffix: str) -> None:
    name, key = "\x1b[31mred\u202e", "\x1b]0;title\x07"
    arrays = {"x": np.ones((2, 2), np.float32), key: np.ones((2, 2), np.float32)}
    path = tmp_path / f"{name}.{suffix}"
    if suffix == "h5":
        h5(tmp_path, arrays).close()
        (tmp_path / "bad.h5").rename(path)
    elif suffix == "npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    for broken in (path, tmp_path / f"{name}.pkl", tmp_path / f"{name}\x9b.npy"):
        with pytest.raises(NclbenchError) as caught:
            load(broken)
        assert str(caught.value).isprintable()


def test_hostile_ids_are_quoted(tmp_path: Path) -> None:
    npz(tmp_path, good() | {"video_ids": ["\x1b[31m", "b", "\x1b[31m", "d"]})
    with pytest.raises(InputError, match="occurs again") as caught:
        load(tmp_path / "bad.npz")
    assert str(caught.value).isprintable()


def test_the_working_folder_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5(tmp_path).close()
    for module in ("h5py", "numpy", "json"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    assert len(load("bad.h5").queries) == 4
    assert not (tmp_path / "PWNED").exists()


def test_a_reader_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5(tmp_path).close()
    child = tmp_path / "child.py"
    monkeypatch.setattr(hdf5, "CHILD", child)
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    child.write_text("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass")
    with pytest.raises(InputError, match="did not come to an end in time"):
        load(tmp_path / "bad.h5")
    child.write_text("import os, signal\nsignal.signal(11, signal.SIG_DFL)\nos.kill(os.getpid(), 11)")
    with pytest.raises(InputError, match="crashed reading it, status -11"):
        load(tmp_path / "bad.h5")
    child.write_text("import sys, struct\nsys.stdout.buffer.write(struct.pack('<Q', 9) + b'{\"a')")
    with pytest.raises(InputError, match="bad.h5: damaged HDF5"):
        load(tmp_path / "bad.h5")


def test_any_changed_byte_of_an_hdf5_file_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "SECONDS", 3)
    h5(tmp_path, video_ids=[f"v{row}" for row in range(4)], captions=["made up"] * 4).close()
    original = (tmp_path / "bad.h5").read_bytes()
    # Bytes that are padding say nothing: the ones that are set are the format.
    places = [place for place, byte in enumerate(original) if byte]
    chance = random.Random(5)
    said = []
    for _ in range(60):
        data = bytearray(original)
        data[chance.choice(places)] ^= 1 << chance.randrange(8)
        (tmp_path / "bad.h5").write_bytes(data)
        try:
            load(tmp_path / "bad.h5")
        except InputError as error:
            said.append(str(error))
    assert len(said) > 5
    assert all("bad.h5" in text and text.isprintable() for text in said)


@pytest.mark.parametrize("suffix", ["npz", "npy", "safetensors", "pt", "parquet"])
def test_changed_bytes_of_other_files_are_survived(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bad.{suffix}"
    arrays = good()
    if suffix == "npz":
        np.savez_compressed(path, **arrays)
    elif suffix == "npy":
        np.save(path, arrays["text_embeddings"])
    elif suffix == "safetensors":
        save_file(arrays, path, {"test.text.ids": json.dumps(list("abcd"))})
    elif suffix == "pt":
        torch.save({key: torch.from_numpy(values) for key, values in arrays.items()}, path)
    else:
        table(tmp_path, **{key: values.tolist() for key, values in arrays.items()})
    original = path.read_bytes()
    chance = random.Random(3)
    said = []
    for _ in range(60):
        data = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.randrange(len(data))] if chance.random() < 0.2 else data)
        try:
            load(path, no_labels=True)
        except InputError as error:
            said.append(str(error))
    assert said
    assert all("bad" in text and text.isprintable() for text in said)

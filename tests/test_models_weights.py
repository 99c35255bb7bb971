"""Files of weights: damaged, hostile and foreign ones get their one line, and nothing in them is run."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nclbench.errors import InputError, MissingError, NclbenchError
from nclbench.models import libraries
from nclbench.models.detection import family
from nclbench.models.weights import read

MARK = "PWNED"


class Payload:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def tensors() -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(0)
    return {f"layer.{number}.weight": torch.randn(4, 5, generator=made) for number in range(3)}


def refused(path: Path, said: str, error: type[NclbenchError] = InputError) -> None:
    with pytest.raises(error, match=said) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and "weights_only" not in text and len(text) < 700
    assert not list(path.parent.glob(MARK)), "code of a file was run"


def written(path: Path, content: Any, **more: Any) -> Path:
    torch.save(content, path, **more)
    return path


# ------------------------------------------------------------------------------------------------------ what is read


def test_every_form_and_wrapping(tmp_path: Path) -> None:
    plain = tensors()
    wrapped = {f"module.{key}": value for key, value in plain.items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98)}]}
    files = [
        written(tmp_path / "bare.bin", plain),
        written(tmp_path / "a.pt", {"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": optimizer}),
        written(tmp_path / "b.ckpt", {"model": plain, "current_iteration": 7, "best": 0.5}),
        written(tmp_path / "pytorch_model.bin.4", OrderedDict(plain)),
        tmp_path / "a.safetensors",
    ]
    save_file(plain, files[-1])
    for path in files:
        found = read(path)
        assert found.tensors.keys() == plain.keys() and all(
            torch.equal(found.tensors[key], plain[key]) for key in plain
        ), path
    assert read(files[1]).beside == {"epoch": 3, "name": "run"} and read(files[1]).found == "state_dict"
    assert read(files[2]).beside == {"current_iteration": 7, "best": 0.5} and read(files[2]).found == "model"
    assert [read(path).form for path in files[-2:]] == ["torch", "safetensors"]
    # a form is known by its bytes, not by the file's name
    assert read(files[-1].rename(tmp_path / "x.pt")).form == "safetensors"


def test_masks_and_other_things_beside_tensors_do_no_harm(tmp_path: Path) -> None:
    mask = torch.full((3, 3), -torch.inf).triu(1)
    content = tensors() | {
        "text.attn_mask": mask,
        "version": 3,
        "note": "x",
        "flag": True,
        "none": None,
        "ids": torch.arange(3),
    }
    assert read(written(tmp_path / "a.pt", content)).tensors.keys() == tensors().keys() | {"ids"}


# --------------------------------------------------------------------------------------------------------- hostile


def test_payloads_are_not_run(tmp_path: Path) -> None:
    mark = tmp_path / MARK
    for name, content in {
        "alone.pt": Payload(mark),
        "beside.pt": {"state_dict": tensors(), "config": Payload(mark)},
        "key.pt": {"state_dict": tensors() | {"x": Payload(mark)}},
    }.items():
        refused(
            written(tmp_path / name, content),
            r"pickles (posix|nt|os).system beside its tensors, which could run code when read",
        )
    legacy = written(tmp_path / "legacy.pt", {"x": Payload(mark)}, _use_new_zipfile_serialization=False)
    refused(legacy, "a bare pickle .torch's format before 1.6., which has no checksums")
    harmless = written(tmp_path / "harmless.bin", tensors(), _use_new_zipfile_serialization=False)
    refused(harmless, "a bare pickle .torch's format before 1.6.")
    (tmp_path / "raw.bin").write_bytes(pickle.dumps(Payload(mark)) + b"garbage")
    refused(tmp_path / "raw.bin", "a bare pickle")
    (tmp_path / "old.bin").write_bytes(pickle.dumps(Payload(mark), protocol=0))
    refused(tmp_path / "old.bin", "neither safetensors nor a zip of torch.save")
    with tarfile.open(tmp_path / "tar.pt", "w") as archive:
        for part in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Payload(mark))
            member = tarfile.TarInfo(part)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    refused(tmp_path / "tar.pt", "a tar of torch's oldest format")
    # the payload would have worked
    pickle.loads(pickle.dumps(Payload(mark)))  # noqa: S301
    assert mark.exists()


def test_the_class_that_a_file_pickles_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("parse_config")

    class ConfigParser:
        pass

    ConfigParser.__module__, ConfigParser.__qualname__ = "parse_config", "ConfigParser"
    module.ConfigParser = ConfigParser  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "parse_config", module)
    path = written(tmp_path / "trained_model.pth", {"state_dict": tensors(), "config": ConfigParser()})
    monkeypatch.delitem(sys.modules, "parse_config")
    refused(
        path,
        r"pickles parse_config.ConfigParser beside .*save checkpoint\['state_dict'\] with safetensors.torch.save_file",
    )
    assert "parse_config" not in sys.modules


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused_and_its_conversion_works(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.trace(layer, torch.zeros(1, 3)), path)
    refused(path, r"ViT-B-32.pt: a TorchScript program, not tensors; .*torch.jit.load.FILE, 'cpu'..state_dict..")
    converted = {key: value.contiguous() for key, value in torch.jit.load(path, "cpu").state_dict().items()}
    save_file(converted, tmp_path / "a.safetensors")
    found = read(tmp_path / "a.safetensors").tensors
    assert torch.equal(found["weight"], layer.weight) and torch.equal(found["bias"], layer.bias)


# --------------------------------------------------------------------------------------------------------- damaged


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_file_cut_anywhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(tensors(), path) if name.endswith("safetensors") else torch.save(tensors(), path)
    whole = path.read_bytes()
    for length in sorted({0, 1, 3, 4, 8, 9, 30, 64, 200, *(len(whole) * k // 12 for k in range(12)), len(whole) - 1}):
        path.write_bytes(whole[:length])
        refused(path, f"{name}: (empty|damaged|neither)")
    path.write_bytes(whole)
    assert read(path).tensors.keys() == tensors().keys()


def test_one_flipped_bit_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    path, wanted = tmp_path / "a.pt", tensors()
    torch.save(wanted, path)
    whole = path.read_bytes()
    draw, seen = random.Random(0), 0
    places = draw.sample(range(len(whole)), 250)
    # in the values themselves, where torch sees nothing
    values = whole.index(wanted["layer.1.weight"].numpy().tobytes())
    for place in [*places, *range(values, values + 20)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read(path).tensors
        except InputError:
            seen += 1
            continue
        assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted), place
        assert place not in range(values, values + 20)
    assert seen > 150


def test_torch_alone_reads_flipped_bits(tmp_path: Path) -> None:
    """Why checksums are compared here; when torch does so itself, this may go."""
    path, wanted = tmp_path / "a.pt", tensors()
    torch.save(wanted, path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(wanted["layer.1.weight"].numpy().tobytes()) + 1] ^= 16
    path.write_bytes(whole)
    assert not torch.equal(torch.load(path, weights_only=True)["layer.1.weight"], wanted["layer.1.weight"])
    refused(path, "a.pt:a/data/1: damaged, its checksum is another")


def rezipped(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    """The zip with every record through change(name, bytes), and right checksums."""
    with zipfile.ZipFile(path) as archive:
        records = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))
    return path


def grown(name: str, data: bytes) -> bytes:
    """Sizes of three become sizes of two thousand million."""
    return data.replace(b"K\x03", b"J\xff\xff\xff\x7f") if name.endswith("data.pkl") else data


def lying(header: str, data: bytes = bytes(96)) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + data


def header(shape: str, offsets: str, name: str = "a") -> str:
    return f'{{"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}'


ONE = header("[4,6]", "[0,96]")[1:-1]
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "x.pt: empty"),
    "zeros": (bytes(4096), "neither safetensors nor a zip"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
    "a page": (b"<!DOCTYPE html><html>Sign in</html>", "a web page or XML"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5, not a checkpoint"),
    "JSON": (b'{"a": 1, "b": [2, 3, 4, 5]}', "neither safetensors nor"),
    "a header longer than the file": (struct.pack("<Q", 99_000_000) + b"{" + bytes(50), "damaged or cut off"),
    "a header longer than allowed": (struct.pack("<Q", 1 << 62) + b"{" + bytes(50), "neither safetensors nor"),
    "a header that is no JSON": (lying("{{{{"), "damaged or cut off"),
    "sizes beyond the file": (lying(header("[1000000000,1000000]", "[0,4000000000000000]")), "damaged or cut off"),
    "a size that overflows": (lying(header("[4294967296,4294967296,4]", "[0,96]")), "damaged or cut off"),
    "offsets that disagree": (lying(header("[4,6]", "[0,48]")), "damaged or cut off"),
    "a hole": (lying(header("[3]", "[84,96]")), "damaged or cut off"),
    "a name twice": (lying(f"{{{ONE},{ONE}}}"), "x.pt:a: is in the file twice"),
    "depth": (lying("[" * 100000), "damaged or cut off|neither"),
    "no tensors": (lying("{}", b""), "no tensors by name"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_bytes_that_are_refused(name: str, tmp_path: Path) -> None:
    content, said = FILES[name]
    (tmp_path / "x.pt").write_bytes(content)
    refused(tmp_path / "x.pt", said)


def test_zips_that_are_refused(tmp_path: Path) -> None:
    three = {"a": torch.zeros(3), "b": torch.zeros(3)}
    refused(
        rezipped(written(tmp_path / "huge.pt", three), grown), "its pickle is damaged or claims what is not in the file"
    )
    short = rezipped(written(tmp_path / "short.pt", three), lambda name, data: data[:2] if "/data/" in name else data)
    refused(short, "its pickle is damaged or claims what is not in the file")
    packed = rezipped(written(tmp_path / "packed.pt", three), lambda _, data: data, zipfile.ZIP_DEFLATED)
    refused(packed, "compressed, which torch.save never does")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(100 << 20))
    refused(tmp_path / "bomb.pt", "bytes that unpack to 104857600; not a plausible file")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "other.pt", "its pickle is damaged or claims")
    with zipfile.ZipFile(tmp_path / "twice.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/data.pkl", b"2")
    refused(tmp_path / "twice.pt", "a/data.pkl: is in the file twice")
    expanded = written(tmp_path / "expanded.pt", {"a": torch.zeros(1).expand(1 << 20, 1 << 10)})
    refused(expanded, "expanded.pt:a: declares 1073741824 values but stores fewer")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.tensor([1.0, torch.nan])}, "x.pt:a: holds NaN or infinity"),
        ({"a": torch.tensor([1.0, -torch.inf]).half()}, "x.pt:a: holds NaN or infinity"),
        ({"a\x1b[31m\nb": torch.tensor([torch.nan])}, "x.pt:a.*b: holds NaN"),
        ({3: torch.zeros(2)}, "a tensor is named 3, not by a text"),
        (torch.zeros(3), "holds a Tensor, not tensors by name"),
        ([torch.zeros(3)], "holds a list, not tensors by name"),
        ({"epoch": 3}, "no tensors by name in it"),
        ({"state_dict": {"epoch": 3}}, "no tensors by name in it"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "x.pt:a: not a plain tensor of numbers"),
        ({"a": torch.eye(3).to_sparse()}, "x.pt:a: not a plain tensor of numbers|pickles"),
        ({"epoch": 1, "optimizer_state_dict": {}, "loss": 0.5}, "the state of an optimizer, not a model"),
    ],
)
def test_contents_that_are_refused(content: Any, said: str, tmp_path: Path) -> None:
    refused(written(tmp_path / "x.pt", content), said)


def test_a_file_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: Any, **_named: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried 1 bytes")

    monkeypatch.setattr(torch, "load", full)
    refused(written(tmp_path / "x.pt", tensors()), "x.pt: no memory left for its tensors", MissingError)


def test_what_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.pt", "no such file", MissingError)
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "not a regular file")


# ------------------------------------------------------------------------------------------------------------ whose


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            ["vid_bert.a", "txt_bert.b", "text_GU.c"],
            "the weights of MMT; .*save its text and video features with its own code",
        ),
        (["text_model.a", "video_model.b", "txt_proj.1.weight"], "the weights of Frozen-in-Time"),
        (["model.dmae_utils.text_weight_fc.weight"], "the weights of DMAE .*wti:head=FILE"),
        (["clip.text_model.a", "clip.vision_model.b", "clip.logit_scale"], "the weights of X-Pool or T-MASS"),
        (["clip.logit_scale", "global_mat_weight", "visual_token_selector.x"], "the weights of UCoFiA"),
        (["clip.logit_scale", "global_mat_weight", "conditional_transformer.x"], "the weights of TC-MGC"),
        (
            ["text_model.a", "vision_model.b", "visual_projection.weight", "logit_scale"],
            "one file of a folder; give the folder",
        ),
        (["embeddings.word_embeddings.weight", "encoder.layer.0.x"], "the weights of a Hugging Face text encoder"),
        (["text_weight_fc.weight", "video_weight_fc.weight"], "there is no encoder in it.*wti:head=FILE"),
        (
            ["b.x", "a\x1b.y", "c.z", "d.w"],
            r"no known model .first names: a..y, b.x, c.z.; known: X-CLIP, DRL, CLIP4Clip",
        ),
    ],
)
def test_families_that_are_not_encoded_with(keys: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        family(dict.fromkeys(keys, torch.zeros(1)), "x.pt")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["visual.conv1.weight", "token_embedding.weight", "logit_scale"], "OpenAI CLIP"),
        (["visual.conv1.weight", "token_embedding.weight", "logit_scale", "logit_bias"], "open_clip"),
        (["visual.trunk.a", "text.token_embedding.weight"], "open_clip"),
        (["clip.visual.conv1.weight", "clip.logit_scale"], "CLIP4Clip"),
        (["transformerClip.resblocks.0.x"], "CLIP4Clip"),
        (["clip.visual.conv1.weight", "text_weight_fc.0.weight", "transformerClip.x"], "DRL"),
        (["clip.visual.conv1.weight", "global_mat_weight", "local_mat_weight"], "X-CLIP"),
    ],
)
def test_families_that_are(keys: list[str], name: str) -> None:
    assert family(dict.fromkeys(keys, torch.zeros(1)), "x.pt") == name


# -------------------------------------------------------------------------------------------------------- libraries


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries.util, "find_spec", lambda name: None)
    for ask in (libraries.open_clip, libraries.transformers):
        with pytest.raises(MissingError, match=r'is not installed; pip install "nclbench\[embed\]"'):
            ask.__wrapped__()


def test_a_library_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("operator x does not exist\nand more")

    monkeypatch.setattr(libraries, "import_module", broken)
    with pytest.raises(
        MissingError, match=r"open_clip cannot be imported here .operator x does not exist.; pip install"
    ):
        libraries.open_clip.__wrapped__()


def test_libraries_come_offline_and_silent_also_where_torchvision_does_not_fit() -> None:
    code = (
        "import os, torch\n"
        "def fails(path): raise OSError('does not fit')\n"
        "torch.ops.load_library = fails\n"
        "from nclbench.models.libraries import open_clip, transformers\n"
        "assert open_clip().image_transform(32, is_train=False)\n"
        "assert transformers().CLIPModel\n"
        "import huggingface_hub\n"
        "assert huggingface_hub.constants.HF_HUB_OFFLINE and os.environ['TRANSFORMERS_OFFLINE'] == '1'\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=600
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

"""OpenAI's and open_clip's checkpoints: the vectors are those of the library called by itself."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import (
    CAPTIONS,
    CONFIG,
    TEXT,
    VIT,
    clips,
    close,
    open_clip,
    openai,
    pictures,
    pooled,
    same,
    shaken,
    state,
    words_of,
)
from torch import Tensor

from nclbench.errors import InputError, UsageError
from nclbench.models.encoder import Settings
from nclbench.models.files_of_weights import open_file

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = [1, 3, 2]


def by_library(model: Any, captions: list[str]) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model.encode_text(open_clip.tokenize(captions))
    return found


def frames_by_library(model: Any, frames: Tensor, mask: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return [model.encode_image(video[there]) for video, there in zip(frames, mask, strict=True)]


def save(path: Path, tensors: dict[str, Any]) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


# ------------------------------------------------------------------------------------------------------ OpenAI CLIP


@pytest.mark.parametrize("name", ["clip.safetensors", "clip.pt", "wrapped.pt", "model.bin", "module.bin"])
def test_an_openai_state_dict_gives_what_the_library_gives(name: str, tmp_path: Path) -> None:
    model, tensors = openai(), state(openai())
    wrapped: dict[str, Any] = {
        "wrapped.pt": {"state_dict": tensors, "epoch": 3},
        "model.bin": {"model": tensors},
        "module.bin": {f"module.{key}": value for key, value in tensors.items()},
    }
    encoder = open_file(save(tmp_path / name, wrapped.get(name, tensors)), Settings())
    assert (encoder.family, encoder.sees, encoder.width, encoder.words, encoder.frames) == (
        "OpenAI CLIP",
        True,
        64,
        77,
        None,
    )
    assert encoder.temperature is not None and encoder.temperature.scale == pytest.approx(50.0, rel=1e-6)
    found = encoder.texts(CAPTIONS)
    close(found.whole, by_library(model, CAPTIONS))
    ids = open_clip.tokenize(CAPTIONS)
    mask = torch.arange(77) <= ids.argmax(1)[:, None]
    assert found.mask is not None and torch.equal(found.mask, mask)
    close(found.parts, words_of(model, CAPTIONS) * mask[..., None])
    # the vector of the text is that of its last word
    assert found.parts is not None
    close(found.parts[torch.arange(len(CAPTIONS)), ids.argmax(1)], found.whole)
    frames, there = clips(encoder, LENGTHS)
    seen, wanted = encoder.videos(frames, there), frames_by_library(model, frames, there)
    close(seen.whole, pooled(wanted))
    assert seen.parts is not None and seen.mask is not None and torch.equal(seen.mask, there)
    close(seen.parts[there], torch.cat(wanted))
    assert not seen.parts[~there].any()
    assert found.weight is None and seen.weight is None


def test_pictures_are_prepared_as_the_library_does(tmp_path: Path) -> None:
    encoder = open_file(save(tmp_path / "a.pt", state(openai())), Settings())
    wanted = open_clip.image_transform(32, is_train=False)
    for picture in (*pictures(1), *pictures(1, (20, 90)), pictures(1)[0].convert("L"), pictures(1)[0].convert("RGBA")):
        assert torch.equal(encoder.prepared(picture), wanted(picture))


def test_fewer_words_cut_long_texts_at_their_end(tmp_path: Path) -> None:
    model, path = openai(), save(tmp_path / "a.pt", state(openai()))
    found = open_file(path, Settings(words=6)).texts(CAPTIONS)
    ids = torch.zeros(len(CAPTIONS), 77, dtype=torch.long)
    ids[:, :6] = open_clip.tokenize(CAPTIONS, context_length=6)
    with torch.inference_mode():
        close(found.whole, model.encode_text(ids))
    assert found.mask is not None and found.mask.shape == (5, 6) and found.mask[2].all() and found.mask[1].sum() == 2
    for words in (2, 78):
        with pytest.raises(UsageError, match=f"--max-words is {words}, but this checkpoint takes from 3 to 77"):
            open_file(path, Settings(words=words))


def test_batches_do_not_change_vectors(tmp_path: Path) -> None:
    encoder = open_file(save(tmp_path / "a.pt", state(openai())), Settings())
    frames, there = clips(encoder, LENGTHS)
    texts, videos = encoder.texts(CAPTIONS), encoder.videos(frames, there)
    for row, caption in enumerate(CAPTIONS):
        close(encoder.texts([caption]).whole[0], texts.whole[row], 1e-6)
    for row in range(len(LENGTHS)):
        close(encoder.videos(frames[row : row + 1], there[row : row + 1]).whole[0], videos.whole[row], 1e-6)
    same(encoder.texts(CAPTIONS), texts)


def test_half_precision_and_openais_own_numbers(tmp_path: Path) -> None:
    tensors = {key: value.half() for key, value in state(openai()).items()}
    numbers = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    encoder = open_file(save(tmp_path / "a.safetensors", tensors | numbers), Settings())
    assert encoder.facts["cautions"] == []
    model = open_clip.CLIP(**CONFIG, quick_gelu=True).eval()
    model.load_state_dict(tensors)
    close(encoder.texts(CAPTIONS).whole, by_library(model, CAPTIONS))
    silent = open_file(save(tmp_path / "b.safetensors", state(openai())), Settings())
    assert "QuickGELU is taken" in silent.facts["cautions"][0]


def test_a_residual_picture_tower(tmp_path: Path) -> None:
    vision = {"layers": (1, 1, 2, 1), "width": 8, "image_size": 64}
    model = shaken(open_clip.CLIP(**CONFIG | {"vision_cfg": vision}, quick_gelu=True))
    encoder = open_file(save(tmp_path / "a.pt", state(model)), Settings())
    frames, there = clips(encoder, LENGTHS)
    assert frames.shape[-1] == 64
    close(encoder.videos(frames, there).whole, pooled(frames_by_library(model, frames, there)))


# -------------------------------------------------------------------------------------------------------- open_clip


def hub_folder(folder: Path, model: Any, config: dict[str, Any], preprocess: dict[str, Any] | None = None) -> Path:
    """As open_clip.push_to_hf_hub writes it."""
    folder.mkdir()
    save_file({key: value.contiguous() for key, value in state(model).items()}, folder / "open_clip_model.safetensors")
    said = {"model_cfg": config, "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["CLIP with GELU", "CustomTextCLIP", "sigmoid", "timm"])
def test_a_hub_folder_gives_what_the_library_gives(kind: str, tmp_path: Path) -> None:
    config: dict[str, Any] = dict(CONFIG)
    if kind != "CLIP with GELU":
        config["custom_text"] = True
    if kind == "sigmoid":
        config["text_cfg"] = TEXT | {
            "context_length": 20,
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
        }
        config |= {"init_logit_bias": -10.0, "init_logit_scale": 4.7}
    if kind == "timm":
        config["vision_cfg"] = {"timm_model_name": "test_vit", "image_size": 32}
    built = {key: value for key, value in config.items() if key != "custom_text"}
    model = shaken((open_clip.CustomTextCLIP if "custom_text" in config else open_clip.CLIP)(**built))
    said = {"mean": [0.5, 0.5, 0.5], "std": [0.4, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"}
    folder = hub_folder(tmp_path / "hub", model, config, said)
    encoder = open_file(folder, Settings())
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    theirs.eval()
    with torch.inference_mode():
        found = encoder.texts(CAPTIONS)
        close(found.whole, theirs.encode_text(tokenizer(CAPTIONS)))
    for picture in pictures(2):
        assert torch.equal(encoder.prepared(picture), transform(picture))
    frames, there = clips(encoder, LENGTHS)
    close(encoder.videos(frames, there).whole, pooled(frames_by_library(theirs, frames, there)))
    assert encoder.temperature is not None
    assert encoder.temperature.scale == pytest.approx(model.logit_scale.exp().item(), rel=1e-5)
    if kind == "sigmoid":
        assert found.parts is None and encoder.facts["logit_bias"] == pytest.approx(model.logit_bias.item())
        with pytest.raises(UsageError, match="reads texts of 20 words"):
            open_file(folder, Settings(words=8))
    else:
        assert found.parts is not None and found.mask is not None
        close(found.parts[torch.arange(5), found.mask.sum(1) - 1], found.whole)
        short = open_file(folder, Settings(words=30)).texts(CAPTIONS)
        close(short.whole, found.whole)
        close(short.parts, found.parts[:, :30])


@pytest.fixture
def named(tmp_path: Path) -> str:
    """A configuration that open_clip knows by name."""
    (tmp_path / "tiny-nclbench.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    open_clip.add_model_config(tmp_path / "tiny-nclbench.json")
    return "tiny-nclbench"


def test_a_checkpoint_of_training(named: str, tmp_path: Path) -> None:
    model = shaken(open_clip.CLIP(**CONFIG))
    optimizer = torch.optim.AdamW(model.parameters())
    run = f"2024_01_31-10_00_00-model_{named}-lr_0.0005-b_64-j_4-p_amp"
    wrapped = {f"module.{key}": value for key, value in state(model).items()}
    content = {"epoch": 5, "name": run, "state_dict": wrapped, "optimizer": optimizer.state_dict()}
    encoder = open_file(save(tmp_path / "epoch_5.pt", content), Settings())
    assert (encoder.family, encoder.facts["model"], encoder.facts["activation"]) == ("open_clip", named, "gelu")
    close(encoder.texts(CAPTIONS).whole, by_library(model, CAPTIONS))
    unnamed = save(tmp_path / "epoch_6.pt", content | {"name": "my run"})
    with pytest.raises(UsageError, match=r"epoch_6.pt: give --open-clip-model.*'my run'"):
        open_file(unnamed, Settings())
    close(open_file(unnamed, Settings(name=named)).texts(CAPTIONS).whole, by_library(model, CAPTIONS))
    with pytest.raises(UsageError, match="did you mean 'tiny-nclbench'"):
        open_file(unnamed, Settings(name="tiny-nclbensh"))
    with pytest.raises(UsageError, match="no model of open_clip is called 'hf-hub:a/b'"):
        open_file(unnamed, Settings(name="hf-hub:a/b"))
    with pytest.raises(InputError, match=r"epoch_6.pt:.* missing"):
        open_file(unnamed, Settings(name="ViT-B-32"))


def test_a_file_out_of_its_hub_folder(named: str, tmp_path: Path) -> None:
    model = shaken(open_clip.CLIP(**CONFIG))
    folder = hub_folder(tmp_path / "hub", model, CONFIG)
    close(
        open_file(folder / "open_clip_model.safetensors", Settings()).texts(CAPTIONS).whole, by_library(model, CAPTIONS)
    )
    alone = tmp_path / "open_clip_model.safetensors"
    shutil.copy(folder / alone.name, alone)
    # without its configuration nothing says which activation it has
    with pytest.raises(UsageError, match="open_clip_model.safetensors: give --open-clip-model"):
        open_file(alone, Settings())
    close(open_file(alone, Settings(name=named)).texts(CAPTIONS).whole, by_library(model, CAPTIONS))


def test_a_tokenizer_of_the_folder(tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "runs", "red", "car"]
    text = TEXT | {"vocab_size": len(words), "context_length": 12, "pool_type": "last", "no_causal_mask": True}
    config = CONFIG | {"custom_text": True, "text_cfg": text | {"hf_tokenizer_name": "google-bert/bert-base-uncased"}}
    model = shaken(open_clip.CustomTextCLIP(64, VIT, config["text_cfg"]))
    folder = hub_folder(tmp_path / "hub", model, config)
    with pytest.raises(InputError, match=r"its tokenizer .google-bert/bert-base-uncased. is not beside it"):
        open_file(folder, Settings())
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(folder)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        close(open_file(folder, Settings()).texts(CAPTIONS).whole, model.encode_text(tokenizer(CAPTIONS)))


def test_a_folder_with_code_of_its_own_runs_none_of_it(tmp_path: Path) -> None:
    config = changed(custom_text=True, text_cfg={"hf_tokenizer_name": "x/y"})
    folder = hub_folder(tmp_path / "hub", openai(), config)
    (folder / "tokenization_own.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w').close()\nclass Own: pass\n")
    said = {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}, "tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "own"} | said), encoding="utf-8")
    with pytest.raises(InputError, match="its tokenizer cannot be opened") as caught:
        open_file(folder, Settings())
    assert "\n" not in str(caught.value) and not (tmp_path / "PWNED").exists()


def changed(**parts: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(json.dumps(CONFIG))
    for name, values in parts.items():
        config[name] = config[name] | values if isinstance(values, dict) and name in config else values
    return config


BAD_CONFIGS: dict[str, tuple[dict[str, Any] | str, str]] = {
    "not JSON": ("{", "open_clip_config.json: not JSON"),
    "a list": ("[]", "no model_cfg"),
    "no towers": ("{}", "no model_cfg"),
    "twice": ('{"model_cfg": 1, "model_cfg": 2}', "model_cfg: is in the file twice"),
    "deep": ("[" * 100000, "not JSON"),
    "code for the tokenizer": (
        changed(text_cfg={"hf_tokenizer_name": "x/y", "tokenizer_kwargs": {"trust_remote_code": True}}),
        "its tokenizer_kwargs hold trust_remote_code, which is not passed on",
    ),
    "a hub's text tower": (changed(text_cfg={"hf_model_name": "roberta-base"}), "made from roberta-base of a hub"),
    "a hub's picture tower": (changed(vision_cfg={"timm_model_name": "hf-hub:a/b"}), "not one of timm's own"),
    "coca": (changed(multimodal_cfg={}), "a model of CoCa"),
    "unknown setting": (changed(vision_cfg={"wings": 2}), "no model can be made of its sizes .TypeError.*wings"),
    "a wrong type": (changed(vision_cfg={"width": "wide"}), "no model can be made of its sizes"),
    "wider": (changed(text_cfg={"width": 128, "heads": 2}), r"positional_embedding: shape .77, 64. where"),
    "deeper": (changed(text_cfg={"layers": 3}), r"transformer.resblocks.2.* and 11 more are missing"),
    "shallower": (changed(text_cfg={"layers": 1}), r"transformer.resblocks.1.* and 11 more are of no use"),
    "gigantic": (changed(text_cfg={"width": 1 << 20, "heads": 1}), r"where the other tensors ask for"),
    "no places": (changed(text_cfg={"context_length": 0}), r"texts of 0 words .context_length. are none"),
    "words of places": (changed(text_cfg={"context_length": "many"}), "texts of many words"),
    "endless places": (changed(text_cfg={"context_length": 1 << 90}), "no model can be made of its sizes|where the other"),
    "a vocabulary in words": (changed(text_cfg={"vocab_size": "large"}), "its tokenizer .of large words. is not beside it"),
    "no such cleaning": (changed(text_cfg={"tokenizer_kwargs": {"clean": "well"}}), "its tokenizer cannot be opened .Assert"),
    "tokenizer's list": (changed(text_cfg={"tokenizer_kwargs": [1]}), "its tokenizer_kwargs hold .not an object."),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_configuration_that_is_refused(name: str, tmp_path: Path) -> None:
    content, said = BAD_CONFIGS[name]
    folder = hub_folder(tmp_path / "hub", openai(), CONFIG)
    text = content if isinstance(content, str) else json.dumps({"model_cfg": content})
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    with pytest.raises((InputError, UsageError), match=said) as caught:
        open_file(folder, Settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        {"interpolation": "x"},
        {"mode": "L"},
        {"mean": [0.5, 0.5]},
        {"std": [0, 1, 1]},
        {"std": [1e-50, 1, 1]},
        {"resize_mode": "y"},
    ],
)
def test_preprocessing_that_is_none(said: dict[str, Any], tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", openai(), CONFIG, said)
    with pytest.raises(InputError, match="no picture can be prepared as its preprocess_cfg says") as caught:
        open_file(folder, Settings())
    assert "\n" not in str(caught.value)


def test_what_a_folder_lacks_and_what_it_is_not_asked(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", openai(), CONFIG)
    for settings, said in (
        (Settings(name="ViT-B-32"), "leave --open-clip-model out"),
        (Settings(header="meanP"), "leave --header out"),
    ):
        with pytest.raises(UsageError, match=said):
            open_file(folder, settings)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights beside open_clip_config.json"):
        open_file(folder, Settings())


BAD_TENSORS: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "no end": ({"ln_final.weight": None}, "a.pt:ln_final.weight is missing"),
    "no block's part": ({"transformer.resblocks.1.ln_1.bias": None}, r"a.pt:transformer.resblocks.1.ln_1.bias is missing"),
    "a block between": ({f"transformer.resblocks.7.{k}": torch.ones(1) for k in "ab"}, r"resblocks.2.* and 11 more are missing"),
    "a stranger": ({"wings": torch.ones(3)}, "a.pt:wings is of no use"),
    "another width": ({"ln_final.weight": torch.ones(128)}, r"ln_final.weight: shape .128,. where .* .64,."),
    "another vocabulary": ({"token_embedding.weight": torch.ones(100, 64)}, "a vocabulary of 100, but"),
    "flat": ({"text_projection": torch.ones(64)}, r"text_projection: shape .64,., which it has in no CLIP"),
    "empty": ({"positional_embedding": torch.ones(0, 64)}, r"positional_embedding: shape .0, 64."),
    "no grid": ({"visual.positional_embedding": torch.ones(7, 64)}, "64 wide with 7 places"),
    "odd width": ({"visual.conv1.weight": torch.ones(65, 3, 16, 16)}, "65 wide"),
    "gigantic": ({"visual.conv1.weight": torch.ones(1 << 20, 1, 1, 1)}, "where the other tensors ask for"),
    "many places": ({"positional_embedding": torch.ones(5000, 64)}, "with 5000 places"),
    "temperatures": ({"logit_scale": torch.ones(2)}, "logit_scale: 2 values"),
    "a wild temperature": ({"logit_scale": torch.tensor(2e9)}, "logit_scale: 2e.09 is no temperature"),
    "NaN": ({"ln_final.bias": torch.full((64,), torch.nan)}, "a.pt:ln_final.bias: holds NaN"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_another_architecture_is_one_line(name: str, tmp_path: Path) -> None:
    parts, said = BAD_TENSORS[name]
    tensors = {key: value for key, value in (state(openai()) | parts).items() if value is not None}
    with pytest.raises(InputError, match=said) as caught:
        open_file(save(tmp_path / "a.pt", tensors), Settings())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stored", "scale", "caution"),
    [
        (4.6052, 100.0, ""),
        (0.0, 1.0, ""),
        (100.0, 100.0, "taken as the scale itself"),
        (4.8, 121.5, "clamps it to 100"),
    ],
)
def test_temperatures(stored: float, scale: float, caution: str, tmp_path: Path) -> None:
    encoder = open_file(save(tmp_path / "a.pt", state(openai()) | {"logit_scale": torch.tensor(stored)}), Settings())
    assert encoder.temperature is not None and encoder.temperature.scale == pytest.approx(scale, rel=1e-3)
    assert caution in encoder.facts["cautions"][0]


def test_no_temperature_and_one_in_a_list(tmp_path: Path) -> None:
    tensors = state(openai())
    listed = open_file(save(tmp_path / "a.pt", tensors | {"logit_scale": tensors["logit_scale"][None]}), Settings())
    assert listed.temperature is not None and listed.temperature.scale == pytest.approx(50.0, rel=1e-5)
    del tensors["logit_scale"]
    without = open_file(save(tmp_path / "b.pt", tensors), Settings())
    assert without.temperature is None and "stores no logit_scale" in without.facts["cautions"][0]


def test_settings_that_it_cannot_have(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", state(openai()))
    with pytest.raises(UsageError, match="OpenAI CLIP, which has no header seqTransf"):
        open_file(path, Settings(header="seqTransf"))


# ------------------------------------------------------------------------------------------------------ conversions


def blocks(page: str) -> list[str]:
    text = (Path(__file__).parents[1] / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_the_conversions_of_the_page_work(tmp_path: Path) -> None:
    model = openai()
    traced = torch.jit.trace(model, (torch.zeros(1, 3, 32, 32), open_clip.tokenize(["a"])), check_trace=False)
    torch.jit.save(traced, tmp_path / "ViT-B-32.pt")
    torch.save(state(model), tmp_path / "pytorch_model.bin.3", _use_new_zipfile_serialization=False)
    ran = blocks("checkpoints.md")
    for block in ran:
        subprocess.run([sys.executable, "-W", "ignore", "-c", block], cwd=tmp_path, check=True, timeout=600)
    for name in ("ViT-B-32.safetensors", "pytorch_model.bin.4"):
        close(open_file(tmp_path / name, Settings()).texts(CAPTIONS).whole, by_library(model, CAPTIONS))
    for name, said in (("ViT-B-32.pt", "a TorchScript program"), ("pytorch_model.bin.3", "format before 1.6")):
        with pytest.raises(InputError, match=said):
            open_file(tmp_path / name, Settings())
    assert len(ran) == 2

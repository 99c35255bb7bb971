"""Encoders of folders give what their own library gives; folders that are damaged, foreign or hostile give one line."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from tiny_folders import bert, clip, frame, sentence_folder
from torch.nn.functional import normalize

from nclbench.errors import InputError, MissingError, UsageError
from nclbench.models import libraries, open_encoder
from nclbench.models.encoder import Settings

CAPTIONS = ["a dog runs", "the man is red and eats a cat", "zebra", "  A Red DOG  "]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("models") / "clip")


def altered(folder: Path, to: Path, name: str, **changed: object) -> Path:
    shutil.copytree(folder, to)
    found = json.loads((to / name).read_text()) if (to / name).exists() else {}
    (to / name).write_text(json.dumps(found | changed))
    return to


def refused(path: Path, kind: type[Exception] = InputError, **settings: object) -> str:
    with pytest.raises(kind) as caught:
        open_encoder(path, Settings(**settings))  # type: ignore[arg-type]
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


def test_clip_gives_what_transformers_gives(folder: Path) -> None:
    library = libraries.transformers()
    model = library.CLIPModel.from_pretrained(folder).eval()
    processor = library.CLIPProcessor.from_pretrained(folder)
    pictures = [frame(1, at) for at in range(3)]
    given = processor(text=CAPTIONS, images=pictures, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**given)
        words = model.text_projection(model.text_model(given["input_ids"], given["attention_mask"]).last_hidden_state)
    encoder = open_encoder(folder, Settings())
    texts = encoder.texts(CAPTIONS)
    assert texts.parts is not None and texts.mask is not None
    torch.testing.assert_close(normalize(texts.whole), expected.text_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(texts.parts, words, atol=1e-5, rtol=0)
    assert (texts.mask == given["attention_mask"].bool()).all()
    seen = torch.stack([encoder.prepared(picture) for picture in pictures])
    torch.testing.assert_close(seen, given["pixel_values"], atol=1e-5, rtol=0)
    alone = encoder.videos(seen[:, None], torch.ones(3, 1, dtype=torch.bool))
    torch.testing.assert_close(alone.whole, expected.image_embeds, atol=1e-5, rtol=0)
    assert encoder.temperature is not None
    assert encoder.temperature.scale == pytest.approx(math.exp(model.logit_scale.item()), rel=1e-6)


def test_a_video_is_the_mean_of_its_frames_and_padding_counts_for_nothing(folder: Path) -> None:
    encoder = open_encoder(folder, Settings())
    seen = torch.stack([encoder.prepared(frame(2, at)) for at in range(4)])
    padded = torch.full((2, 4, *seen.shape[1:]), 7.0)
    padded[0], padded[1, :2] = seen, seen[:2]
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    both = encoder.videos(padded, mask)
    short = encoder.videos(seen[None, :2], mask[1:, :2])
    torch.testing.assert_close(both.whole[1:], short.whole, atol=1e-6, rtol=0)
    assert both.parts is not None and not both.parts[1, 2:].any()
    torch.testing.assert_close(both.whole[0], normalize(both.parts[0]).mean(dim=0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "mean_sqrt_len_tokens"])
def test_sentences_are_those_of_sentence_transformers(mode: str, tmp_path: Path) -> None:
    libraries.transformers()
    from sentence_transformers import SentenceTransformer

    place = sentence_folder(tmp_path / "model", mode, unit=mode != "max")
    encoder = open_encoder(place, Settings())
    texts = [*CAPTIONS, "the man " * 20]
    expected = SentenceTransformer(str(place), device="cpu").encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(encoder.texts(texts).whole, expected, atol=1e-5, rtol=0)
    assert encoder.words == 10 and encoder.facts["pooling"] == mode and not encoder.sees


def test_plain_bert_is_pooled_by_the_mean_and_says_so(tmp_path: Path) -> None:
    place = bert(tmp_path / "bert")
    library = libraries.transformers()
    encoder = open_encoder(place, Settings(words=8))
    model, tokens = library.BertModel.from_pretrained(place).eval(), library.AutoTokenizer.from_pretrained(place)
    given = tokens(CAPTIONS, padding=True, truncation=True, max_length=8, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**given).last_hidden_state
    mask = given["attention_mask"][..., None]
    found = encoder.texts(CAPTIONS)
    torch.testing.assert_close(found.whole, (hidden * mask).sum(1) / mask.sum(1), atol=1e-5, rtol=0)
    assert encoder.facts["pooling"] == "mean" and encoder.temperature is None


def test_shards_and_files_of_torch_give_the_same(folder: Path, tmp_path: Path) -> None:
    expected = open_encoder(folder, Settings()).texts(CAPTIONS).whole
    sharded = clip(tmp_path / "sharded", max_shard_size="40KB")
    assert (sharded / "model.safetensors.index.json").exists() and not (sharded / "model.safetensors").exists()
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    from safetensors.torch import load_file

    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    for place in (sharded, old):
        assert torch.equal(open_encoder(place, Settings()).texts(CAPTIONS).whole, expected)


class Payload:
    """What runs when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.canary,)  # type: ignore[return-value]


def test_pickled_objects_are_refused_and_nothing_runs(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "hostile"
    shutil.copytree(folder, place)
    (place / "model.safetensors").unlink()
    canary = tmp_path / "ran"
    torch.save({"logit_scale": Payload(canary)}, place / "pytorch_model.bin")
    assert "pickles" in refused(place)
    assert not canary.exists()


def test_code_that_a_configuration_names_is_refused(folder: Path, tmp_path: Path) -> None:
    code = tmp_path / "modeling.py"
    for number, name in enumerate(("config.json", "tokenizer_config.json", "preprocessor_config.json")):
        place = altered(folder, tmp_path / str(number), name, auto_map={"AutoModel": "modeling.Model"})
        code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        shutil.copy(code, place / "modeling.py")
        assert "auto_map" in refused(place)
    assert not (tmp_path / "ran").exists()


def test_an_index_leads_nowhere_else(folder: Path, tmp_path: Path) -> None:
    """The library would follow it out of the folder, or into a pickle, and say how to switch its protection off."""
    place = tmp_path / "hostile"
    shutil.copytree(folder, place)
    (place / "model.safetensors").rename(tmp_path / "out.safetensors")
    torch.save({"logit_scale": Payload(tmp_path / "ran")}, place / "evil.bin")
    for name in ("../out.safetensors", "evil.bin"):
        (place / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"logit_scale": name}}))
        assert "names no .safetensors files of this folder" in refused(place)
    assert not (tmp_path / "ran").exists()


def test_what_would_give_other_numbers_or_fetch_code_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "attn_implementation" in refused(altered(folder, tmp_path / "a", "config.json", attn_implementation="some/kernel"))
    assert "holds an adapter" in refused(altered(folder, tmp_path / "b", "adapter_config.json", peft_type="LORA"))
    place = altered(folder, tmp_path / "c", "preprocessor_config.json", crop_size={"height": 16, "width": 16})
    assert "it makes pictures of (16, 16) pixels, but the model sees (32, 32)" in refused(place)
    place = altered(folder, tmp_path / "d", "preprocessor_config.json", crop_size={"height": 10**7, "width": 10**7})
    assert "pictures of 10000000 pixels" in refused(place)
    prompted = sentence_folder(tmp_path / "prompted")
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (prompted / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    altered(prompted / "1_Pooling", prompted / "2", "config.json", include_prompt=False)
    shutil.copy(prompted / "2" / "config.json", prompted / "1_Pooling" / "config.json")
    assert "include_prompt" in refused(prompted)


@pytest.mark.parametrize(("stored", "scale"), [(math.log(100), 100.0), (50.0, 50.0), (900.0, None)])
def test_temperatures_of_folders_follow_the_same_rules(stored: float, scale: float | None, folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = tmp_path / "clip"
    shutil.copytree(folder, place)
    tensors = load_file(place / "model.safetensors") | {"logit_scale": torch.tensor(stored)}
    save_file(tensors, place / "model.safetensors", {"format": "pt"})
    if scale is None:
        assert "no temperature" in refused(place)
        return
    encoder = open_encoder(place, Settings())
    assert encoder.temperature is not None and encoder.temperature.scale == pytest.approx(scale, rel=1e-5)
    assert len(encoder.facts["cautions"]) == (stored == 50)


def test_damaged_and_foreign_folders_say_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused(tmp_path / "empty")
    assert "'whisper'" in refused(altered(folder, tmp_path / "whisper", "config.json", model_type="whisper"))
    assert "'siglip' is none that is read here (sentence-transformers, clip, bert" in refused(
        altered(folder, tmp_path / "siglip", "config.json", model_type="siglip")
    )
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert "cannot be opened" in refused(cut)
    (cut / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "run git lfs pull" in refused(cut)
    (cut / "model.safetensors").unlink()
    assert "no weights" in refused(cut)
    (cut / "config.json").write_text("{")
    assert "not JSON" in refused(cut)
    lost = tmp_path / "lost"
    shutil.copytree(folder, lost)
    from safetensors.torch import load_file, save_file

    state = load_file(lost / "model.safetensors")
    save_file({name: tensor for name, tensor in state.items() if "visual_projection" not in name}, lost / "model.safetensors")
    assert "1 weights of CLIPModel are missing (first visual_projection.weight)" in refused(lost)
    other = altered(folder, tmp_path / "other", "config.json", projection_dim=8)
    assert "not of the sizes that its config.json says" in refused(other)
    deep = altered(folder, tmp_path / "deep", "config.json", text_config={"num_hidden_layers": 10**6})
    assert "more than 1000 layers" in refused(deep)
    wordless = tmp_path / "wordless"
    shutil.copytree(folder, wordless)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (wordless / name).unlink()
    assert "no tokenizer" in refused(wordless)
    foreign = bert(tmp_path / "foreign")
    found = json.loads((foreign / "tokenizer.json").read_text())
    found["model"]["vocab"] |= {f"more{at}": 15 + at for at in range(9)}
    (foreign / "tokenizer.json").write_text(json.dumps(found))
    assert "of two models" in refused(foreign)
    (foreign / "tokenizer.json").write_text("{}")
    assert "tokenizer cannot be opened" in refused(foreign)
    with pytest.raises(MissingError, match="no such file"):
        open_encoder(tmp_path / "nothing", Settings())


def test_settings_that_a_folder_cannot_have(folder: Path, tmp_path: Path) -> None:
    assert "takes from 3 to 20" in refused(folder, UsageError, words=77)
    assert "leave the model's name out" in refused(folder, UsageError, name="ViT-B-32")
    assert "header" in refused(folder, UsageError, header="seqTransf")
    place = sentence_folder(tmp_path / "st")
    steps = json.loads((place / "modules.json").read_text())
    steps[1]["path"] = "../elsewhere"
    (place / "modules.json").write_text(json.dumps(steps))
    assert "outside" in refused(place)
    steps[1]["type"] = "sentence_transformers.models.LSTM"
    (place / "modules.json").write_text(json.dumps(steps))
    assert "LSTM" in refused(place)
    for name in ("a", "b"):
        with pytest.raises(UsageError, match="texts only"):
            open_encoder(bert(tmp_path / name), Settings()).prepared(frame(0, 0))

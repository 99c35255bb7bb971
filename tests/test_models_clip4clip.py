"""CLIP4Clip, X-CLIP and DRL: CLIP by the library, headers by formula, learned weights as the scorer has them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_dmae import scores, side
from tiny_models import (
    CAPTIONS,
    clips,
    close,
    open_clip,
    openai,
    pooled,
    same,
    state,
    under_clip,
    words_of,
)
from torch import Tensor, nn
from torch.nn.functional import layer_norm, multi_head_attention_forward, normalize

from nclbench.errors import InputError, UsageError
from nclbench.models import temporal
from nclbench.models.encoder import Settings
from nclbench.models.files_of_weights import open_file
from nclbench.plan import SUMS, Plan
from nclbench.scorers import heads
from nclbench.scorers.sets import Part

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = [3, 1, 4]


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 1) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {key: 0.2 * torch.randn(shape, generator=made) for key, shape in shapes.items()}


def transformer(depth: int = 2, width: int = 64, places: int = 77) -> dict[str, Tensor]:
    """A header seqTransf, its tensors named as the authors' code names them."""
    shapes: dict[str, tuple[int, ...]] = {"frame_position_embeddings.weight": (places, width)}
    for layer in range(depth):
        for name, shape in {
            "attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,),
            "ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,), "ln_2.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,),
        }.items():  # fmt: skip
            shapes[f"transformerClip.resblocks.{layer}.{name}"] = shape
    return drawn(shapes)


def recurrent(width: int = 64) -> dict[str, Tensor]:
    shapes = {"weight_ih_l0": (4 * width, width), "weight_hh_l0": (4 * width, width), "bias_ih_l0": (4 * width,)}
    named = {f"lstm_visual.{key}": shape for key, shape in (shapes | {"bias_hh_l0": (4 * width,)}).items()}
    return drawn(named | {"frame_position_embeddings.weight": (77, width)})


def sequential(frames: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """(F, D) frames of one video, all of them there, through the header by its formula."""
    x = (frames + tensors["frame_position_embeddings.weight"][: len(frames)])[:, None]
    width = frames.shape[1]
    for layer in range(2):
        w = {
            key.split(f"resblocks.{layer}.")[1]: value for key, value in tensors.items() if f"resblocks.{layer}." in key
        }
        y = layer_norm(x, (width,), w["ln_1.weight"], w["ln_1.bias"], 1e-12)
        x = x + multi_head_attention_forward(
            y, y, y, width, width // 64, w["attn.in_proj_weight"], w["attn.in_proj_bias"], None, None, False, 0.0,
            w["attn.out_proj.weight"], w["attn.out_proj.bias"], training=False, need_weights=False,
        )[0]  # fmt: skip
        y = (
            layer_norm(x, (width,), w["ln_2.weight"], w["ln_2.bias"], 1e-12) @ w["mlp.c_fc.weight"].T
            + w["mlp.c_fc.bias"]
        )
        x = x + (y * torch.sigmoid(1.702 * y)) @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]
    return x[:, 0] + frames


def by_clip(frames: Tensor, mask: Tensor) -> list[Tensor]:
    """The frames of each video that are there, by the library."""
    with torch.inference_mode():
        return [openai().encode_image(video[there]) for video, there in zip(frames, mask, strict=True)]


def opened(
    tmp_path: Path, extra: dict[str, Tensor] | None = None, settings: Settings | None = None, **changes: Any
) -> Any:
    tensors: dict[str, Tensor] = under_clip(extra) | changes
    path = tmp_path / "pytorch_model.bin.3"
    torch.save({key: value for key, value in tensors.items() if value is not None}, path)
    return open_file(path, settings or Settings())


def refused(said: str, *given: Any, error: type[Exception] = InputError, **changes: Any) -> None:
    with pytest.raises(error, match=said) as caught:
        opened(*given, **changes)
    assert "\n" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- CLIP4Clip


def test_mean_pooling(tmp_path: Path) -> None:
    encoder = opened(tmp_path)
    assert (encoder.family, encoder.words, encoder.frames, encoder.facts["header"]) == ("CLIP4Clip", 32, None, "meanP")
    assert (
        encoder.temperature.scale == pytest.approx(50.0, rel=1e-6) and "clip.logit_scale" in encoder.temperature.source
    )
    found = encoder.texts(CAPTIONS)
    with torch.inference_mode():
        close(found.whole, openai().encode_text(open_clip.tokenize(CAPTIONS)))
    assert found.mask.sum(1).tolist() == (open_clip.tokenize(CAPTIONS) > 0).sum(1).tolist()
    close(found.parts, (words_of(openai(), CAPTIONS)[:, :32]) * found.mask[..., None])
    frames, mask = clips(encoder, LENGTHS)
    seen, wanted = encoder.videos(frames, mask), by_clip(frames, mask)
    close(seen.whole, pooled(wanted))
    close(seen.parts[mask], torch.cat(wanted))
    assert found.weight is None and seen.weight is None
    assert not encoder.facts["tokens_aligned"]


@pytest.mark.parametrize("header", ["auto", "seqTransf"])
def test_the_sequential_transformer(header: str, tmp_path: Path) -> None:
    tensors = transformer()
    encoder = opened(tmp_path, tensors, Settings(header=header))
    assert (encoder.frames, encoder.facts["header"]) == (12, "seqTransf")
    frames, mask = clips(encoder, LENGTHS)
    seen = encoder.videos(frames, mask)
    # one video at a time, so that no mask is needed
    wanted = [sequential(video, tensors) for video in by_clip(frames, mask)]
    close(seen.whole, pooled(wanted))
    close(seen.parts[mask], torch.cat(wanted))
    assert not seen.parts[~mask].any()
    # what stands in the place of a frame that is not there does not matter, nor who else is in the batch
    frames[~mask] = 7.0
    same(encoder.videos(frames, mask), seen)
    for row, length in enumerate(LENGTHS):
        alone = encoder.videos(frames[row : row + 1, :length], mask[row : row + 1, :length])
        close(alone.whole[0], seen.whole[row], 1e-6)


def test_several_heads_are_each_hidden_from_their_own_padding() -> None:
    tensors = transformer(width=128)
    # so small that the epsilon of the norms is felt
    tensors["frame_position_embeddings.weight"] *= 1e-3
    header, places = temporal.build("seqTransf", tensors, 128, "x.pt", "cpu")
    assert places == 77
    frames = 1e-3 * torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
    with torch.inference_mode():
        close(
            header(frames, mask)[mask],
            torch.cat([sequential(v[there], tensors) for v, there in zip(frames, mask, strict=True)]),
        )


def test_mean_pooling_of_a_file_with_a_header_is_said(tmp_path: Path) -> None:
    encoder = opened(tmp_path, transformer(), Settings(header="meanP"))
    assert encoder.facts["header"] == "meanP" and "was trained with seqTransf" in encoder.facts["cautions"][0]
    frames, mask = clips(encoder, LENGTHS)
    close(encoder.videos(frames, mask).whole, pooled(by_clip(frames, mask)))


def test_the_recurrent_header(tmp_path: Path) -> None:
    tensors = recurrent()
    encoder = opened(tmp_path, tensors)
    assert encoder.facts["header"] == "seqLSTM"
    frames, mask = clips(encoder, LENGTHS)
    network = nn.LSTM(64, 64)
    network.load_state_dict(
        {key.removeprefix("lstm_visual."): v for key, v in tensors.items() if key.startswith("lstm_")}
    )
    with torch.inference_mode():
        wanted = [network(video)[0] + video for video in by_clip(frames, mask)]
    close(encoder.videos(frames, mask).whole, pooled(wanted))


def test_numbers_of_frames_and_words(tmp_path: Path) -> None:
    assert opened(tmp_path, None, Settings(frames=500, words=77)).frames == 500
    assert opened(tmp_path, transformer(), Settings(frames=12)).frames == 12
    refused(
        "--max-frames is 78, but this checkpoint takes from 1 to 77",
        tmp_path,
        transformer(),
        Settings(frames=78),
        error=UsageError,
    )
    refused("--max-words is 99", tmp_path, None, Settings(words=99), error=UsageError)


# ----------------------------------------------------------------------------------------------------- DRL and X-CLIP


def head(side: str, layers: int) -> dict[str, Tensor]:
    if layers == 1:
        return drawn({f"{side}_weight_fc.weight": (1, 64), f"{side}_weight_fc.bias": (1,)}, seed=len(side))
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        out = 64 if layer < layers - 1 else 1
        shapes |= {f"{side}_weight_fc.{2 * layer}.weight": (out, 64), f"{side}_weight_fc.{2 * layer}.bias": (out,)}
    return drawn(shapes, seed=len(side))


def shares(tensors: dict[str, Tensor], side: str, layers: int, vectors: Tensor) -> Tensor:
    """(T,) DRL's weights of the words or frames of one text or video, by torch's own layers."""
    linear = [nn.Linear(64, 64 if layer < layers - 1 else 1) for layer in range(layers)]
    network = nn.Sequential(*[part for each in linear for part in (each, nn.ReLU())][:-1])
    named = {key.split("_fc.")[1]: value for key, value in tensors.items() if key.startswith(f"{side}_weight_fc.")}
    network.load_state_dict({f"0.{key}" if layers == 1 else key: value for key, value in named.items()})
    with torch.inference_mode():
        found: Tensor = network(vectors)[:, 0].softmax(0)
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_drl_writes_its_weights_of_words_and_frames(layers: int, tmp_path: Path) -> None:
    tensors = transformer() | head("text", layers) | head("video", layers)
    encoder = opened(tmp_path, tensors)
    assert encoder.facts["tokens_aligned"]
    assert encoder.family == "DRL" and "does not apply it at test" in encoder.temperature.source
    frames, mask = clips(encoder, LENGTHS)
    text, video = encoder.texts(CAPTIONS), encoder.videos(frames, mask)
    wanted = [sequential(each, tensors) for each in by_clip(frames, mask)]
    close(video.parts[mask], torch.cat(wanted))
    for row, each in enumerate(wanted):
        close(video.weight[row, : len(each)], shares(tensors, "video", layers, each))
    for row, vectors in enumerate(words_of(openai(), CAPTIONS)):
        count = int(text.mask[row].sum())
        close(text.weight[row, :count], shares(tensors, "text", layers, vectors[:count]))
        assert not text.weight[row, count:].any()
    # to the bit what the scorer makes of the saved vectors with the checkpoint as its head
    file = str(tmp_path / "pytorch_model.bin.3")
    for name, found in (("text", text), ("video", video)):
        part = Part(found.parts.to(SUMS), found.mask, None)
        assert torch.equal(heads.read(file, name, 64, Plan()).shares(part).float(), found.weight)


def test_wti_of_what_drl_writes_is_the_similarity_of_drl(tmp_path: Path) -> None:
    encoder = opened(tmp_path, transformer() | head("text", 2) | head("video", 2))
    frames, mask = clips(encoder, LENGTHS)
    text, video = encoder.texts(CAPTIONS), encoder.videos(frames, mask)
    # weighted token-wise interaction: masked products are 0 before the maxima
    products = torch.einsum("atd,bvd->abtv", normalize(text.parts, dim=2), normalize(video.parts, dim=2))
    products = products * text.mask[:, None, :, None] * mask[None, :, None]
    forth = torch.einsum("abt,at->ab", products.amax(3), text.weight)
    wanted = (forth + torch.einsum("abv,bv->ab", products.amax(2), video.weight)) / 2
    sides = [
        side(found.whole.numpy(), found.parts.numpy(), found.mask.numpy(), found.weight.numpy())
        for found in (text, video)
    ]
    np.testing.assert_allclose(scores("wti:mask=zero", *sides), wanted.numpy(), rtol=0, atol=1e-6)


def matrices(words: int = 24, frames: int = 6, width: int = 64) -> dict[str, Tensor]:
    shapes = {f"{name}_mat_weight": (width, width) for name in ("global", "local")}
    for name, size in (("word", words), ("frame", frames)):
        shapes |= {f"{name}_{rest}": (size, size) for rest in ("logit_weight", "mat_weight", "mat_weight2")}
    return drawn(shapes)


def test_xclip(tmp_path: Path) -> None:
    tensors = transformer() | matrices()
    encoder = opened(tmp_path, tensors)
    assert (encoder.family, encoder.words, encoder.frames) == ("X-CLIP", 24, 6)
    assert encoder.facts["matrices"] == {"words": 24, "frames": 6, "applied": False}
    assert "scores made of them are not X-CLIP's" in encoder.facts["cautions"][-1]
    frames, mask = clips(encoder, LENGTHS)
    seen, first = encoder.videos(frames, mask), by_clip(frames, mask)
    close(seen.whole, pooled([sequential(video, tensors) for video in first]))
    # words meet the frames as CLIP gives them
    close(seen.parts[mask], torch.cat(first))
    found = encoder.texts(CAPTIONS)
    assert found.parts.shape == (5, 24, 64)
    close(found.whole, openai().encode_text(open_clip.tokenize(CAPTIONS)).detach())
    refused("--max-words is 25, but", tmp_path, tensors, Settings(words=25), error=UsageError)
    refused(
        "--max-frames is 7, but this checkpoint takes from 1 to 6",
        tmp_path,
        tensors,
        Settings(frames=7),
        error=UsageError,
    )


# ---------------------------------------------------------------------------------------------------- what is refused


def test_without_clip_there_is_nothing_to_encode_with(tmp_path: Path) -> None:
    gone = dict.fromkeys(under_clip())
    refused("no clip.* in it, which CLIP4Clip's own code would silently fill", tmp_path, transformer(), **gone)
    one = {"clip.visual.transformer.resblocks.1.mlp.c_fc.bias": None}
    refused(r"c_fc.bias is missing; this is not the whole model", tmp_path, None, **one)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"transformerClip.resblocks.1.ln_2.bias": None}, r"transformerClip.resblocks.1.ln_2.bias is missing"),
        ({"transformerClip.resblocks.0.mlp.c_fc.bias": torch.ones(3)}, r"c_fc.bias: shape .3,. where .* .256,."),
        ({"frame_position_embeddings.weight": None}, "frame_position_embeddings.weight is missing"),
        ({"frame_position_embeddings.weight": torch.ones(77, 32)}, r"shape .77, 32., but CLIP's vectors have 64"),
        ({"token_selector.weight": torch.ones(2)}, "token_selector.weight: no part of CLIP4Clip but of a model built on it"),
        ({"lstm_visual.bias_ih_l0": torch.ones(2), "zz": torch.ones(1)}, "zz: no part of CLIP4Clip"),
        ({"clip.logit_scale": torch.ones(3)}, "logit_scale"),
        ({"transformerClip.resblocks.0.ln_1.bias": torch.full((64,), torch.inf)}, "ln_1.bias: holds NaN or infinity"),
        ({"clip.visual.conv2.weight": torch.ones(2)}, "CLIP4Clip with 3d patches; linear_patch=3d is not read"),
        ({"cross.a": torch.ones(2), "similarity_dense.weight": torch.ones(2)}, "tightTransf looks at each text with each"),
        ({"pool_frames.k": torch.ones(2)}, "the weights of X-Pool or T-MASS; its video vectors differ with the text"),
        ({"pixel_mat_weight": torch.ones(2)}, "the weights of UCoFiA"),
        ({"logit_weight": torch.ones(2)}, "the weights of TC-MGC"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused(said, tmp_path, transformer(), **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"word_mat_weight2": None}, "word_mat_weight2: is missing"),
        ({"frame_mat_weight": torch.ones(6, 5)}, r"frame_mat_weight: has shape .6, 5., not that of a square"),
        ({"frame_mat_weight": torch.ones(5, 5)}, "should be equal"),
        ({"global_mat_weight": torch.ones(5, 5)}, "should be equal"),
        (
            {"global_mat_weight": torch.ones(5, 5), "local_mat_weight": torch.ones(5, 5)},
            "5 wide, but CLIP's vectors have 64",
        ),
    ],
)
def test_matrices_that_do_not_fit(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused(said, tmp_path, matrices(), **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text_weight_fc.0.bias": None}, "no text_weight_fc.weight and .bias of one to 3 layers"),
        ({"video_weight_fc.0.weight": torch.ones(64, 32)}, r"video_weight_fc has a layer of shape .64, 32."),
        ({"text_weight_fc.2.weight": torch.ones(2, 64)}, r"text_weight_fc has a layer of shape .2, 64."),
    ],
)
def test_heads_that_do_not_fit(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused(said, tmp_path, head("text", 2) | head("video", 2), **changes)


def test_settings_that_it_cannot_have(tmp_path: Path) -> None:
    refused("has no weights of seqTransf .its header is meanP.", tmp_path, None, Settings(header="seqTransf"))
    refused("did you mean 'seqTransf'", tmp_path, None, Settings(header="seqTrans"), error=UsageError)
    refused("leave --open-clip-model out", tmp_path, None, Settings(name="ViT-B-32"), error=UsageError)


def test_the_state_dict_of_clip_itself_is_not_changed(tmp_path: Path) -> None:
    before = state(openai())
    opened(tmp_path, transformer(), Settings(words=8))
    assert all(torch.equal(value, before[key]) for key, value in state(openai()).items())

"""Whose weights these are, by the names of their tensors; and the temperature that they were trained with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.models.encoder import Temperature

_SAVE = "save its text and video features with its own code and give those to nclbench eval --emb"
_FOLDER = "give the folder that holds it with config.json and the tokenizer"
# CLIP's training clamps the scale to 100; 100.5 leaves room for half precision
CLAMP = 100.5
_LARGEST = 1000.0


@dataclass(frozen=True)
class Family:
    """signs: of each group at least one is the beginning of a tensor's name. refused: why, and what to do instead."""

    name: str
    signs: tuple[tuple[str, ...], ...]
    refused: str = ""


# the most specific first
FAMILIES = (
    Family("MMT", (("vid_bert.",),), f"its similarity is a mixture of experts over features of its own; {_SAVE}"),
    Family("Frozen-in-Time", (("txt_proj.", "vid_proj.", "video_model."),), f"its space-time encoder is not read; {_SAVE}"),
    Family(
        "DMAE of Ant-Multi-Modal-Framework",
        (("model.dmae_utils.", "dmae_utils.", "model.module.img_encoder.", "model.text_encoder."),),
        f"its encoders need its config.yaml and code; {_SAVE}; learned weights of words and frames go to --scorer "
        "'wti:head=FILE'",
    ),
    Family(
        "X-Pool or T-MASS",
        (("clip.text_model.", "clip.vision_model.", "pool_frames."),),
        f"its video vectors differ with the text; {_SAVE}, or its similarities",
    ),
    Family(
        "UCoFiA",
        (("pixel_mat_weight", "visual_token_selector."),),
        f"its patches of frames are not read; {_SAVE}, or its similarities",
    ),
    Family(
        "TC-MGC",
        (("conditional_transformer.", "logit_weight", "attentive_"),),
        f"its video vectors differ with the text; {_SAVE}, or its similarities",
    ),
    Family("CLIP4Clip with 3d patches", (("clip.visual.conv2.",),), f"linear_patch=3d is not read; {_SAVE}"),
    Family(
        "CLIP4Clip with the tight header",
        (("cross.",), ("similarity_dense.",)),
        "tightTransf looks at each text with each video, so there are no vectors to save; give its similarities to "
        "nclbench eval --emb",
    ),
    Family("X-CLIP", (("global_mat_weight",), ("local_mat_weight", "word_mat_weight", "frame_mat_weight"))),
    Family("DRL", (("text_weight_fc.", "video_weight_fc."), ("clip.",))),
    Family("CLIP4Clip", (("clip.logit_scale", "clip.visual.", "clip.transformer.", "clip.token_embedding", "transformerClip."),)),
    Family(
        "a WTI head alone",
        (("text_weight_fc.", "video_weight_fc."),),
        "there is no encoder in it; embed with the checkpoint that it belongs to, and give this to --scorer 'wti:head=FILE'",
    ),
    Family("Hugging Face CLIP", (("text_model.", "vision_model."), ("visual_projection.", "text_projection.", "logit_scale"))
           , f"one file of a folder; {_FOLDER}"),
    Family(
        "a Hugging Face text encoder",
        (("embeddings.word_embeddings.", "bert.embeddings.", "encoder.layer."),),
        f"one file of a folder; {_FOLDER}",
    ),
    Family("open_clip", (("text.", "visual.trunk.", "logit_bias"), ("visual.",))),
    Family("OpenAI CLIP", (("visual.conv1.",), ("token_embedding.", "transformer.", "text_projection", "logit_scale"))),
)  # fmt: skip


def family(tensors: Mapping[str, Tensor], where: str) -> str:
    """The name of a family that is encoded with; InputError for another, or none that is known."""
    for each in FAMILIES:
        if all(any(key.startswith(signs) for key in tensors) for signs in each.signs):
            if each.refused:
                raise InputError(f"{where}: the weights of {each.name}; {each.refused}")
            return each.name
    first = ", ".join(printable(key)[:60] for key in sorted(tensors)[:3])
    known = ", ".join(each.name for each in FAMILIES if not each.refused)
    raise InputError(
        f"{where}: weights of no known model (first names: {first}); known: {known}, and folders of transformers"
    )


def temperature(
    tensors: Mapping[str, Tensor], key: str, where: str, clamped: bool = True
) -> tuple[Temperature | None, str]:
    """The linear scale of `key`, which CLIP's kin stores as a logarithm, and a caution where there is one.

    clamped: trained with a scale of at most 100. InputError for what can be neither the one nor the other.
    """
    if key not in tensors:
        return None, f"{where} stores no {key}; give Sinkhorn and its kin a temperature"
    if tensors[key].numel() != 1:
        raise InputError(f"{where}:{printable(key)}: {tensors[key].numel()} values where one temperature is expected")
    value = float(tensors[key])
    scale = math.exp(min(value, 100.0))
    if scale <= CLAMP or (not clamped and scale <= _LARGEST):
        return Temperature(scale, f"{key}, stored as a logarithm"), ""
    if 10 <= value <= CLAMP:
        return Temperature(
            value, f"{key}, stored as it is"
        ), f"{key} is {value:g}, taken as the scale itself, not its logarithm"
    if scale <= _LARGEST:
        said = f"{key} is {value:g}, a scale of {scale:.0f}, though CLIP's training clamps it to 100"
        return Temperature(scale, f"{key}, stored as a logarithm"), said
    raise InputError(f"{where}:{printable(key)}: {value:g} is no temperature, neither as it is nor as a logarithm")

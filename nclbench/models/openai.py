"""State dicts of OpenAI's CLIP: all sizes are in the shapes; the activation is QuickGELU."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nclbench.errors import InputError
from nclbench.models import clip
from nclbench.models.building import build
from nclbench.models.clip import ClipEncoder
from nclbench.models.detection import temperature
from nclbench.models.encoder import Settings
from nclbench.models.libraries import open_clip
from nclbench.models.weights import Weights

# the tokenizer of CLIP and of all that was made from it
VOCABULARY = 49408
# numbers that OpenAI's archives keep among the weights
SCALARS = ("input_resolution", "context_length", "vocab_size")
_HEAD = 64
_MOST_WORDS = 4096
_MOST_LAYERS = 512


def open_weights(weights: Weights, settings: Settings) -> ClipEncoder:
    """CLIP as OpenAI's code would make it from these tensors, in float32."""
    said = any(key in weights.tensors for key in SCALARS) or any(
        value.is_floating_point() and value.element_size() == 2 for value in weights.tensors.values()
    )
    scale, caution = temperature(weights.tensors, "logit_scale", weights.where)
    found = encoder(weights.tensors, settings, weights.where, "OpenAI CLIP")
    found.temperature = scale
    found.facts["cautions"] = [caution] * bool(caution)
    if not said:
        found.facts["cautions"].append(
            f"{weights.where} does not say which activation it was trained with; QuickGELU is taken, as OpenAI's models have it. "
            "For a model of open_clip give --open-clip-model"
        )
    return found


def encoder(
    tensors: Mapping[str, Tensor], settings: Settings, where: str, family: str, own: int | None = None
) -> ClipEncoder:
    """The two towers. own: how many words a caption has where nobody asks, None for all that the model has places for."""
    tensors = {key: value for key, value in tensors.items() if key not in SCALARS}
    config = sizes(tensors, where)
    most = config["text_cfg"]["context_length"]
    words = clip.words(settings, own or most, most)
    # the text tower is causal: what stands behind a text's end does not change it
    config["text_cfg"]["context_length"] = words
    tensors["positional_embedding"] = tensors["positional_embedding"][:words]
    # files without a temperature differ in nothing that is encoded
    tensors.setdefault("logit_scale", torch.zeros(()))
    if tensors["logit_scale"].numel() == 1:
        tensors["logit_scale"] = tensors["logit_scale"].reshape(())
    model = build({**config, "quick_gelu": True}, tensors, where, settings.device)
    transform, preprocessing = clip.transform(config["vision_cfg"]["image_size"], None, where)
    library = open_clip()
    return ClipEncoder(
        family=family,
        model=model,
        tokenizer=partial(library.tokenize, context_length=words),
        transform=transform,
        width=config["embed_dim"],
        words=words,
        frames=settings.frames,
        temperature=None,
        device=settings.device,
        facts={
            "library": f"open_clip {library.__version__}",
            "activation": "quick_gelu",
            "words": words,
            "sizes": config,
            "preprocessing": preprocessing,
            "video": "mean of the frames' vectors of length 1",
        },
    )


def sizes(tensors: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """open_clip's configuration, from shapes. InputError where they are none of CLIP's."""

    def shape(key: str, length: int) -> tuple[int, ...]:
        if key not in tensors:
            raise InputError(
                f"{where}: {key} is missing; this is not the whole of a CLIP model, save its full state_dict()"
            )
        found = tuple(tensors[key].shape)
        if len(found) != length or 0 in found:
            raise InputError(f"{where}:{key}: shape {found}, which it has in no CLIP model")
        return found

    vocabulary, width = shape("token_embedding.weight", 2)
    places, _ = shape("positional_embedding", 2)
    if vocabulary != VOCABULARY:
        raise InputError(
            f"{where}: a vocabulary of {vocabulary}, but CLIP's tokenizer has {VOCABULARY} words; it needs its own"
        )
    if width % _HEAD or not 0 < places <= _MOST_WORDS:
        raise InputError(f"{where}: a text tower {width} wide with {places} places is none of CLIP's")
    vision = _transformer(tensors, shape, where) if "visual.proj" in tensors else _residual(tensors, shape, where)
    return {
        "embed_dim": shape("text_projection", 2)[1],
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": places,
            "vocab_size": vocabulary,
            "width": width,
            "heads": width // _HEAD,
            "layers": layers(tensors, "transformer.resblocks.", where),
        },
    }


def layers(tensors: Mapping[str, Tensor], prefix: str, where: str) -> int:
    """How many blocks there are under a prefix. InputError for none, or for more than any model has."""
    found = {key.removeprefix(prefix).partition(".")[0] for key in tensors if key.startswith(prefix)}
    if not 0 < len(found) <= _MOST_LAYERS:
        raise InputError(f"{where}: {len(found)} layers under {prefix}*, which no CLIP model has")
    return len(found)


def _transformer(tensors: Mapping[str, Tensor], shape: Any, where: str) -> dict[str, Any]:
    width, _, patch, _ = shape("visual.conv1.weight", 4)
    tokens, _ = shape("visual.positional_embedding", 2)
    grid = round((tokens - 1) ** 0.5)
    if width % _HEAD or not grid or grid * grid + 1 != tokens:
        raise InputError(f"{where}: a picture tower {width} wide with {tokens} places is none of CLIP's")
    count = layers(tensors, "visual.transformer.resblocks.", where)
    return {"layers": count, "width": width, "patch_size": patch, "image_size": patch * grid, "head_width": _HEAD}


def _residual(tensors: Mapping[str, Tensor], shape: Any, where: str) -> dict[str, Any]:
    counts = tuple(layers(tensors, f"visual.layer{number}.", where) for number in (1, 2, 3, 4))
    width = shape("visual.layer1.0.conv1.weight", 4)[0]
    tokens, _ = shape("visual.attnpool.positional_embedding", 2)
    grid = round((tokens - 1) ** 0.5)
    if (width * 32) % _HEAD or not grid or grid * grid + 1 != tokens:
        raise InputError(f"{where}: a residual picture tower {width} wide with {tokens} places is none of CLIP's")
    # its pictures are 32 times as large as its last grid
    return {"layers": counts, "width": width, "image_size": grid * 32, "head_width": _HEAD, "patch_size": None}

"""Tiny random models, made by open_clip itself, and the pictures and captions that tests give them."""

from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from nclbench.models import libraries
from nclbench.models.encoder import Features

# not imported by name: where torchvision does not fit torch, this mends it first
open_clip = libraries.open_clip()

CAPTIONS = [
    "a dog runs",
    "",
    "two people cook a large pot of soup on an open fire in the snow",
    "red car",
    "A DOG, runs!",
]
VIT = {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
CONFIG = {"embed_dim": 64, "vision_cfg": VIT, "text_cfg": TEXT}


def shaken(module: nn.Module, seed: int = 0) -> Any:
    """Every parameter moved, so that none is 0 or 1 and a weight left out would be seen."""
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=made))
    return module.eval()


@cache
def openai(embed: int = 64) -> Any:
    """A CLIP with QuickGELU."""
    model = shaken(open_clip.CLIP(**CONFIG | {"embed_dim": embed}, quick_gelu=True))
    model.logit_scale.data.fill_(float(np.log(50.0)))
    return model


def state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def under_clip(extra: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A state dict as CLIP4Clip writes it."""
    return {f"clip.{key}": value for key, value in state(openai()).items()} | (extra or {})


def pictures(count: int, size: tuple[int, int] = (50, 41), seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for _ in range(count)]


def clips(encoder: Any, lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """(n, F, 3, H, W) prepared frames and (n, F) mask."""
    frames = torch.stack([encoder.prepared(picture) for picture in pictures(sum(lengths), seed=seed)])
    out, mask = (
        frames.new_zeros(len(lengths), max(lengths), *frames.shape[1:]),
        torch.zeros(len(lengths), max(lengths)).bool(),
    )
    for row, some in enumerate(frames.split(lengths)):
        out[row, : len(some)], mask[row, : len(some)] = some, True
    return out, mask


def words_of(model: Any, captions: list[str]) -> Tensor:
    """(n, 77, D) every position of the text tower, by the formula."""
    ids = open_clip.tokenize(captions)
    with torch.inference_mode():
        hidden = model.token_embedding(ids) + model.positional_embedding
        hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask))
        found: Tensor = hidden @ model.text_projection
    return found


def pooled(frames: list[Tensor]) -> Tensor:
    """(n, D) the mean of unit frames of each video, of length one."""
    return torch.stack([normalize(normalize(part, dim=1).mean(0), dim=0) for part in frames])


def close(found: Tensor | None, wanted: Tensor, tolerance: float = 1e-5) -> None:
    assert found is not None and found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def same(found: Features, wanted: Features, tolerance: float = 1e-6) -> None:
    for name in ("whole", "parts", "weight"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a is None) == (b is None), name
        if a is not None:
            close(a, b, tolerance)

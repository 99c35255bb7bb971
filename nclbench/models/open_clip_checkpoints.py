"""Checkpoints of open_clip: its hub folders, and what its training writes."""

import json
import re
from pathlib import Path
from typing import Any

from nclbench.archives import unique
from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import printable, regular
from nclbench.models import clip, tokenizers_of_open_clip
from nclbench.models.building import build
from nclbench.models.clip import ClipEncoder
from nclbench.models.detection import family, temperature
from nclbench.models.encoder import Settings
from nclbench.models.libraries import open_clip
from nclbench.models.weights import Weights, read

CONFIG = "open_clip_config.json"
FILES = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
_LARGEST = 1 << 20
# the run's name of open_clip's training, where nobody gave another: 2024_01_31-10_00_00-model_ViT-B-32-lr_0.001-…
_RUN = re.compile(r"(?:^|-)model_(.+?)-lr_")


def is_one(weights: Weights) -> bool:
    """Whether a file says that open_clip wrote it: its training's dict, or a name of its hub folders."""
    return ({"name", "epoch"} <= weights.beside.keys() and weights.found == "state_dict") or weights.path.name in FILES[
        :4
    ]


def open_folder(folder: Path, settings: Settings) -> ClipEncoder:
    """A folder with `open_clip_config.json` and weights. Nothing is downloaded, and no code in it is run."""
    said = read_config(folder / CONFIG)
    if settings.name is not None:
        raise UsageError(f"{printable(folder)}: {CONFIG} says which model it is; leave --open-clip-model out")
    if settings.header != "auto":
        raise UsageError(
            f"{printable(folder)}: a model of open_clip has no header {settings.header}; leave --header out"
        )
    path = next((folder / name for name in FILES if (folder / name).exists()), None)
    if path is None:
        raise InputError(f"{printable(folder)}: no weights beside {CONFIG}; one of {', '.join(FILES[:3])} is expected")
    return _opened(read(path), said, settings, folder, "open_clip folder")


def open_weights(weights: Weights, settings: Settings) -> ClipEncoder:
    """One file: its model is what `settings.name` says, the configuration beside it, or the name of its training run."""
    beside = weights.path.parent / CONFIG
    if settings.name is not None:
        said, name = {"model_cfg": _config(settings.name)}, settings.name
    elif weights.path.name in FILES and beside.is_file():
        said, name = read_config(beside), CONFIG
    else:
        name = _named(weights)
        said = {"model_cfg": _config(name)}
    return _opened(weights, said, settings, None, name)


def _named(weights: Weights) -> str:
    """The model in the name of a training run. UsageError where it does not hold one."""
    run = str(weights.beside.get("name", ""))
    match = _RUN.search(run)
    for name in (run, match[1] if match else ""):
        if name in open_clip().list_models():
            return name
    what = f"its run is called {printable(run)[:80]!r}" if run else "the file does not say so"
    raise UsageError(f"{weights.where}: give --open-clip-model, such as ViT-B-32 ({what})")


def _config(name: str) -> dict[str, Any]:
    known = open_clip().list_models()
    if name not in known:
        raise UsageError(f"no model of open_clip is called {printable(name)!r}{nearest(name, known)}")
    found: dict[str, Any] = open_clip().get_model_config(name)
    return found


def read_config(path: Path) -> dict[str, Any]:
    """`open_clip_config.json`. InputError where it is none."""
    where = printable(path)
    if regular(path).stat().st_size > _LARGEST:
        raise InputError(f"{where}: larger than 1 MB; that is no configuration of a model")
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique(where))
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{where}: not JSON; copy or download it again") from None
    said = found.get("model_cfg") if isinstance(found, dict) else None
    if not isinstance(said, dict) or not all(isinstance(said.get(key), dict) for key in ("vision_cfg", "text_cfg")):
        raise InputError(
            f"{where}: no model_cfg with vision_cfg and text_cfg in it; it is not a configuration of open_clip"
        )
    if not isinstance(found.get("preprocess_cfg", {}), dict):
        raise InputError(f"{where}: its preprocess_cfg is no object")
    return found


def _opened(weights: Weights, said: dict[str, Any], settings: Settings, folder: Path | None, name: str) -> ClipEncoder:
    found = family(weights.tensors, weights.where)
    if found not in ("open_clip", "OpenAI CLIP"):
        raise InputError(f"{weights.where}: the weights of {found}, not of open_clip's {name}")
    where, library, config = weights.where, open_clip(), dict(said["model_cfg"])
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    _refuse(config, vision, text, where)
    tensors = {key: value for key, value in weights.tensors.items() if not key.endswith("position_ids")}
    if config.get("custom_text") and "positional_embedding" in tensors:
        tensors = library.model.convert_to_custom_text_state_dict(tensors)
    most = text.get("context_length", 77)
    if not isinstance(most, int) or most < 1:
        raise InputError(f"{where}: texts of {printable(most)[:20]} words (context_length) are none; mend {CONFIG}")
    words = clip.words(settings, most, most)
    if words != most:
        _shorten(text, tensors, words, most)
    for key in ("logit_scale", "logit_bias"):
        if key in tensors and tensors[key].numel() == 1:
            tensors[key] = tensors[key].reshape(())
    biased = "logit_bias" in tensors
    config |= {"vision_cfg": vision, "text_cfg": text, "nonscalar_logit_scale": False}
    config |= {"init_logit_bias": 0.0} if biased else {"init_logit_bias": None}
    # sigmoid losses are trained with a bias, and without a clamp
    scale, caution = temperature(tensors, "logit_scale", where, clamped=not biased)
    tokenizer = tokenizers_of_open_clip.tokenizer(text, words, folder, where)
    model = build(config, tensors, where, settings.device)
    size: Any = getattr(model.visual, "image_size", None)
    transform, preprocessing = clip.transform(size, said.get("preprocess_cfg"), where)
    quick = "quick_gelu" if config.get("quick_gelu") else "gelu"
    return ClipEncoder(
        family="open_clip",
        model=model,
        tokenizer=tokenizer,
        transform=transform,
        width=int(config.get("embed_dim", 0)),
        words=words,
        frames=settings.frames,
        temperature=scale,
        device=settings.device,
        facts={
            "library": f"open_clip {library.__version__}",
            "model": name,
            "activation": quick,
            "words": words,
            "sizes": config,
            "preprocessing": preprocessing,
            "video": "mean of the frames' vectors of length 1",
            "logit_bias": float(tensors["logit_bias"]) if "logit_bias" in tensors else None,
            "cautions": [caution] * bool(caution),
        },
    )


def _refuse(config: dict[str, Any], vision: dict[str, Any], text: dict[str, Any], where: str) -> None:
    """What would be fetched from elsewhere, and what has more than two towers."""
    if "multimodal_cfg" in config:
        raise InputError(f"{where}: a model of CoCa, which is not read; save its features with open_clip")
    if text.get("hf_model_name"):
        said = printable(text["hf_model_name"])[:80]
        raise InputError(
            f"{where}: its text tower is made from {said} of a hub, and nothing is downloaded; save its features"
        )
    if re.search(r"[:/\\]", str(vision.get("timm_model_name") or "")):
        raise InputError(f"{where}: its picture tower is not one of timm's own; save its features with open_clip")
    vision["timm_model_pretrained"] = False


def _shorten(text: dict[str, Any], tensors: dict[str, Any], words: int, most: int) -> None:
    """Fewer places, where what stands behind a text's end changes nothing."""
    if text.get("no_causal_mask") or text.get("embed_cls") or text.get("pool_type", "argmax") != "argmax":
        raise UsageError(f"--max-words is {words}, but this model reads texts of {most} words, padded; leave it out")
    for key in ("positional_embedding", "text.positional_embedding"):
        if key in tensors and tensors[key].ndim == 2 and len(tensors[key]) == most:
            tensors[key] = tensors[key][:words]
    text["context_length"] = words

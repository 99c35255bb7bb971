"""Encoders of texts alone: folders of sentence-transformers, and plain ones of BERT and its like."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.models import folders, libraries
from nclbench.models.encoder import Features, Settings, Temperature
from nclbench.models.hugging_face import tokenized, tokenizer, words

KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "albert", "electra", "modernbert", "deberta-v2")
_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
_KNOWN = ("Transformer", "Pooling", "Normalize")
# heads of pretraining that pooling does not ask for
_SPARED = ("pooler.",)


class Sentences:
    """An `Encoder` without pictures. pooling: how a text's words become one vector; several are put side by side."""

    family = "sentences"
    sees = False
    frames: int | None = None
    temperature: Temperature | None = None

    def __init__(self, folder: Path, settings: Settings, body: Path, pooling: Sequence[str], unit: bool) -> None:
        folders.check(body)
        kind = str(folders.read_json(body / "config.json").get("model_type"))
        if kind not in KINDS:
            raise InputError(f"{printable(body)}/config.json: model_type {printable(kind)!r} is no encoder of texts read here")
        library = libraries.transformers()
        self._model = folders.load(library.AutoModel, body, spared=_SPARED).to(settings.device)
        self._tokenizer = tokenizer(body, int(self._model.config.vocab_size))
        self._device = settings.device
        self._pooling, self._unit = tuple(pooling), unit
        said = _optional(body / "sentence_bert_config.json")
        self._lower = bool(said.get("do_lower_case", False))
        self._prompt = _prompt(folder)
        places = int(self._model.config.max_position_embeddings)
        places -= 2 if kind in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
        own = said.get("max_seq_length") or self._tokenizer.model_max_length
        self.words = words(folder, settings.words, places) if settings.words else min(int(own), places)
        self.width = int(self._model.config.hidden_size) * len(self._pooling)
        self.facts: dict[str, Any] = {
            "library": f"transformers {library.__version__}",
            "class": type(self._model).__name__,
            "words": self.words,
            "pooling": "+".join(self._pooling),
            "length 1": unit,
            "lower case": self._lower,
            "prompt": self._prompt,
        }

    def texts(self, captions: Sequence[str]) -> Features:
        """parts: the last hidden state of every word."""
        given = [self._prompt + caption.strip() for caption in captions]
        given = [text.lower() for text in given] if self._lower else given
        found, cut = tokenized(self._tokenizer, given, self.words)
        found = {name: values.to(self._device) for name, values in found.items()}
        with torch.inference_mode():
            parts = self._model(**found).last_hidden_state.float()
            mask = found["attention_mask"] > 0
            whole = torch.cat([_pooled(parts, mask, mode) for mode in self._pooling], dim=1)
        whole = normalize(whole, dim=1) if self._unit else whole
        return Features(whole.cpu(), parts.cpu() if len(self._pooling) == 1 else None, mask.cpu(), cut=cut)

    def prepared(self, picture: Image) -> Tensor:
        raise UsageError("this checkpoint encodes texts only; give --gallery-captions instead of pictures or videos")

    def videos(self, frames: Tensor, mask: Tensor) -> Features:
        raise UsageError("this checkpoint encodes texts only; give --gallery-captions instead of pictures or videos")


def _pooled(parts: Tensor, mask: Tensor, mode: str) -> Tensor:
    if mode == "cls":
        return parts[:, 0]
    if mode == "max":
        return parts.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    total, count = (parts * mask[..., None]).sum(dim=1), mask.sum(dim=1, keepdim=True)
    return total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def open_sentences(folder: Path, settings: Settings) -> Sentences:
    """By `modules.json`, or without it the mean of the last hidden states, which `facts` says."""
    if not (folder / "modules.json").is_file():
        return Sentences(folder, settings, folder, ("mean",), unit=False)
    where = printable(folder / "modules.json")
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        steps = [(str(step["type"]).rpartition(".")[2], str(step.get("path", ""))) for step in modules]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{where}: not a list of modules, each with its type and path") from None
    kinds = [kind for kind, _ in steps]
    if kinds not in ([*_KNOWN], [*_KNOWN[:2]]):
        raise InputError(f"{where}: {printable(' + '.join(kinds))} is not read here; Transformer + Pooling (+ Normalize) is")
    if _prompt(folder) and _optional(folder / steps[1][1] / "config.json").get("include_prompt") is False:
        raise InputError(f"{where}: pools without the prompt that stands before every text (include_prompt), which is not read")
    for _, name in steps:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{where}: {printable(name)} lies outside of the folder")
    return Sentences(folder, settings, folder / steps[0][1], _modes(folder / steps[1][1]), unit=len(steps) == 3)


def _modes(folder: Path) -> list[str]:
    """The ways of pooling, in the order in which the library puts them side by side."""
    path = folder / "config.json"
    said = folders.read_json(path)
    named = said.get("pooling_mode")
    if named is None:
        known = {key for key in said if key.startswith("pooling_mode") and said[key]}
        if known - _POOLING.keys():
            raise InputError(f"{printable(path)}: {printable(min(known - _POOLING.keys()))} is not read here")
        named = [mode for key, mode in _POOLING.items() if key in known]
    modes = [named] if isinstance(named, str) else list(named)
    if not modes or not set(modes) <= set(_POOLING.values()):
        raise InputError(f"{printable(path)}: pooling {printable(modes)} is not read here; known: {', '.join(_POOLING.values())}")
    return modes


def _prompt(folder: Path) -> str:
    """What the folder says is put before every text, if anything."""
    said = _optional(folder / "config_sentence_transformers.json")
    prompts, name = said.get("prompts"), said.get("default_prompt_name")
    return str(prompts[name]) if isinstance(prompts, dict) and name in prompts else ""


def _optional(path: Path) -> dict[str, Any]:
    return folders.read_json(path) if path.is_file() else {}

"""Folders of transformers with a CLIPModel: words, frames and their vectors as the library makes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image, new
from torch import Tensor
from torch.nn.functional import normalize

from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.models import folders, libraries
from nclbench.models.clip import PICTURES, exact
from nclbench.models.detection import temperature
from nclbench.models.encoder import Features, Settings, Temperature

KINDS = ("clip",)
# pixels of a side that any model sees
_LARGEST = 1 << 13

_VOCABULARIES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip


class TwoTowers:
    """An `Encoder`."""

    family = "clip"
    sees = True

    def __init__(self, folder: Path, settings: Settings) -> None:
        folders.check(folder)
        library = libraries.transformers()
        self._model = folders.load(library.CLIPModel, folder).to(settings.device)
        self._device = settings.device
        self._tokenizer = tokenizer(folder, int(self._model.config.text_config.vocab_size))
        config = self._model.config
        self._pictures = _processor(library.CLIPImageProcessor, folder, int(config.vision_config.image_size))
        self.width = int(config.projection_dim)
        longest = int(config.text_config.max_position_embeddings)
        self.words = words(folder, settings.words, longest)
        self.frames = settings.frames
        self.temperature: Temperature | None
        state = {"logit_scale": self._model.logit_scale.detach()}
        self.temperature, caution = temperature(state, "logit_scale", printable(folder))
        self.facts: dict[str, Any] = {
            "library": f"transformers {library.__version__}",
            "class": "CLIPModel",
            "words": self.words,
            "preprocessing": _said(self._pictures),
            "video": "mean of the frames' vectors of length 1",
            "cautions": [caution] * bool(caution),
        }

    def texts(self, captions: Sequence[str]) -> Features:
        """parts: the last hidden state of every word, through the projection of the whole text."""
        found, cut = tokenized(self._tokenizer, captions, self.words)
        given = {name: found[name].to(self._device) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            out = self._model.text_model(**given)
            whole, parts = (self._model.text_projection(each) for each in (out.pooler_output, out.last_hidden_state))
        return Features(_back(whole), _back(parts), (given["attention_mask"] > 0).cpu(), cut=cut)

    def prepared(self, picture: Image) -> Tensor:
        found: Tensor = self._pictures(images=picture.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return found

    def videos(self, frames: Tensor, mask: Tensor) -> Features:
        count, most = mask.shape
        with torch.inference_mode(), exact():
            some = torch.split(frames[mask], PICTURES)
            seen = torch.cat([self._model.get_image_features(pixel_values=each.to(self._device)).pooler_output for each in some])
            parts = torch.zeros(count, most, seen.shape[1], device=seen.device)
            parts[mask.to(seen.device)] = seen
            whole = normalize(parts, dim=-1).sum(dim=1) / mask.sum(dim=1, keepdim=True).to(seen.device)
        return Features(_back(whole), _back(parts), mask)


def open_clip_folder(folder: Path, settings: Settings) -> TwoTowers:
    """The encoder of a folder whose `model_type` is one of KINDS."""
    return TwoTowers(folder, settings)


def tokenizer(folder: Path, known: int) -> Any:
    """The library's tokenizer of a folder; InputError where there is none that it can read, or one of another model.

    known: words that the model has vectors for.
    """
    library = libraries.transformers()
    if not any((folder / name).is_file() for name in _VOCABULARIES):  # the library would make one that knows no word
        raise InputError(f"{printable(folder)}: no tokenizer in it; one of {', '.join(_VOCABULARIES)} must be there")
    try:
        found = library.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        highest = max(found.get_vocab().values(), default=0)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{printable(folder)}: its tokenizer cannot be opened ({folders.brief(error)})") from None
    if highest >= known:
        raise InputError(f"{printable(folder)}: its tokenizer has {highest + 1} words, its model {known}; they are of two models")
    return found


def tokenized(tokens: Any, captions: Sequence[str], most: int) -> tuple[Any, int]:
    """What a model is given for captions, and how many of them are longer than `most` words."""
    found = tokens(list(captions), padding=True, truncation=True, max_length=most, return_tensors="pt")
    if found["attention_mask"].sum(dim=1).max() < most:
        return found, 0
    lengths = (len(ids) for ids in tokens(list(captions), truncation=False)["input_ids"])
    return found, sum(length > most for length in lengths)


def words(folder: Path, asked: int | None, longest: int) -> int:
    """How many words a caption may have; UsageError for more than the model has places for."""
    if asked is not None and not 3 <= asked <= longest:
        raise UsageError(f"--max-words is {asked}, but {printable(folder)} takes from 3 to {longest}")
    return asked or longest


def _processor(kind: Any, folder: Path, size: int) -> Any:
    """The library's preprocessing of a folder; InputError where it makes no pictures of `size` for the model."""
    try:
        found = kind.from_pretrained(folder, local_files_only=True)
        asked = [value for each in (found.size, found.crop_size) for value in dict(each or {}).values() if value]
        if any(value > _LARGEST for value in asked):
            raise ValueError(f"it makes pictures of {max(asked)} pixels")
        made = found(images=new("RGB", (8, 8)), return_tensors="pt")["pixel_values"]
        if tuple(made.shape[2:]) != (size, size):
            raise ValueError(f"it makes pictures of {tuple(made.shape[2:])} pixels, but the model sees {(size, size)}")
        return found
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        why = folders.brief(error)
        raise InputError(f"{printable(folder)}: its preprocessing of pictures cannot be opened ({why})") from None


def _said(processor: Any) -> dict[str, Any]:
    names = ("size", "crop_size", "resample", "do_center_crop", "do_resize", "rescale_factor", "image_mean", "image_std")
    found = processor.to_dict()
    return {"class": type(processor).__name__} | {name: found[name] for name in names if found.get(name) is not None}


def _back(values: Tensor) -> Tensor:
    return values.float().cpu()

"""Models with CLIP's two towers as encoders of captions and of videos, whichever file they come from."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from PIL.Image import Image, new
from torch import Tensor, nn
from torch.nn.functional import normalize

from nclbench.errors import InputError, UsageError
from nclbench.files import printable
from nclbench.models.encoder import Features, Settings, Temperature
from nclbench.models.libraries import open_clip
from nclbench.plan import SCORES, SUMS
from nclbench.scorers.heads import Head
from nclbench.scorers.sets import Part

# pictures in one call, so that long videos do not ask for more memory than short ones
PICTURES = 128
_FEWEST_WORDS = 3


@dataclass(eq=False)
class ClipEncoder:
    """An `Encoder`.

    tokenizer: captions, and how many places if not `words` -> (n, words) ids. temporal: (n, F, D) frames and (n, F) mask ->
    frames that know of each other. first_frames: frames are written as they are before `temporal`. heads: learned weights of
    words and of frames.
    """

    family: str
    model: Any
    tokenizer: Callable[..., Tensor]
    transform: Callable[[Image], Tensor]
    width: int
    words: int
    frames: int | None
    temperature: Temperature | None
    device: str
    facts: dict[str, Any] = field(default_factory=dict)
    temporal: nn.Module | None = None
    first_frames: bool = False
    heads: tuple[Head, Head] | None = None
    sees: bool = True

    def texts(self, captions: Sequence[str]) -> Features:
        """whole: at the end of the text. parts: every position up to it, through the same projection, where it is causal."""
        ids = self.tokenizer(list(captions))
        # with a place more, only what was cut has other ids: a word where its end was put
        longer = self.tokenizer(list(captions), context_length=self.words + 1)[:, : self.words]
        cut = int((longer != ids).any(1).sum())
        ids = ids.to(self.device)
        tower: Any = getattr(self.model, "text", self.model)
        kept: list[Tensor] = []
        hook = tower.ln_final.register_forward_hook(lambda _module, _given, found: kept.append(found))
        try:
            with torch.inference_mode(), exact():
                whole = self.model.encode_text(ids)
                end = _end(tower, ids)
                if end is None:
                    return Features(_back(whole), cut=cut)
                parts = _projected(tower, kept[0])
        finally:
            hook.remove()
        mask = (torch.arange(ids.shape[1], device=ids.device) <= end[:, None]).cpu()
        parts = _back(parts) * mask[..., None]
        return Features(_back(whole), parts, mask, self._weight(0, parts, mask), cut)

    def prepared(self, picture: Image) -> Tensor:
        return self.transform(picture)

    def videos(self, frames: Tensor, mask: Tensor) -> Features:
        """whole: the mean of the frames' vectors of length 1, of length 1 itself."""
        real = frames[mask]
        with torch.inference_mode(), exact():
            seen = torch.cat([self.model.encode_image(some.to(self.device)) for some in torch.split(real, PICTURES)])
            there = mask.to(seen.device)
            first = torch.zeros(*mask.shape, seen.shape[1], dtype=seen.dtype, device=seen.device)
            first[there] = seen
            last = first if self.temporal is None else self.temporal(first, there) * there[..., None]
            whole = normalize(normalize(last, dim=-1).sum(1) / there.sum(1, keepdim=True), dim=-1)
        parts = _back(first if self.first_frames else last)
        return Features(_back(whole), parts, mask.cpu(), self._weight(1, parts, mask.cpu()))

    def _weight(self, side: int, parts: Tensor, mask: Tensor) -> Tensor | None:
        """As `--scorer wti:head=FILE` makes them from the saved vectors."""
        return None if self.heads is None else self.heads[side].shares(Part(parts.to(SUMS), mask, None)).to(SCORES)


def exact() -> Any:
    """Convolutions in float32 also where a device would round to fewer bits."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def bounded(asked: int | None, own: int, most: int, option: str, fewest: int = 1) -> int:
    """asked, or the model's own; UsageError for what it has no place for."""
    if asked is not None and not fewest <= asked <= most:
        raise UsageError(f"{option} is {asked}, but this checkpoint takes from {fewest} to {most}")
    return min(own, most) if asked is None else asked


def words(settings: Settings, own: int, most: int) -> int:
    """How many words a caption may have, its beginning and end included."""
    return bounded(settings.words, own, most, "--max-words", _FEWEST_WORDS)


def transform(size: Any, said: dict[str, Any] | None, where: str) -> tuple[Callable[[Image], Tensor], dict[str, Any]]:
    """open_clip's preprocessing of pictures for use, and its parameters. said: what a configuration says of it.

    InputError for what no picture can be prepared by.
    """
    module = open_clip().transform
    asked = module.merge_preprocess_dict(asdict(module.PreprocessCfg()), said or {}) | {"size": size}
    try:
        found = module.PreprocessCfg(**asked)
        made = module.image_transform_v2(found, is_train=False)
        if not bool(made(new("RGB", (8, 8))).isfinite().all()):
            raise ValueError("it makes NaN or infinity")
    except MemoryError:
        raise
    except Exception as error:  # whatever the library raises on settings from outside
        said_of_it = printable((str(error).splitlines() or [""])[0])[:160]
        raise InputError(f"{where}: no picture can be prepared as its preprocess_cfg says ({said_of_it})") from None
    return made, asdict(found)


def _end(tower: Any, ids: Tensor) -> Tensor | None:
    """(n,) where each text ends; None for a tower whose words know what comes after them or are not one a position."""
    pool = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    if tower.attn_mask is None or getattr(tower, "cls_emb", None) is not None:
        return None
    if pool == "argmax":
        return ids.argmax(1)
    if pool == "eos":
        last: int = tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
        return (ids == last).int().argmax(1)
    return None


def _projected(tower: Any, hidden: Tensor) -> Tensor:
    projection = tower.text_projection
    if projection is None:
        return hidden
    found: Tensor = projection(hidden) if isinstance(projection, nn.Linear) else hidden @ projection
    return found


def _back(values: Tensor) -> Tensor:
    return values.to("cpu", SCORES)

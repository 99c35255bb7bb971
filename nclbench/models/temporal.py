"""Learned heads over the frames of a video, as CLIP4Clip names them: seqTransf and seqLSTM."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from nclbench.errors import InputError
from nclbench.models.building import check, loaded, made
from nclbench.models.libraries import open_clip
from nclbench.models.openai import layers

_POSITIONS = "frame_position_embeddings.weight"
_HEAD = 64
# what CLIP4Clip adds for a frame that is not there; its exponential is 0
_AWAY = -1e6


class SeqTransf(nn.Module):
    """Frames and their positions through a transformer, added to the frames (Luo et al. 2021, sequential type).

    Frames that are not there are hidden from each video's own frames. The authors' code repeats the masks of a batch in another
    order than its heads, so that there a video's frames may be hidden by its neighbours' masks; for videos of equal length both
    are the same.
    """

    def __init__(self, positions: int, width: int, depth: int) -> None:
        super().__init__()
        parts = open_clip().transformer
        norm = partial(nn.LayerNorm, eps=1e-12)
        self._heads = width // _HEAD
        self.frame_position_embeddings = nn.Embedding(positions, width)
        self.transformerClip = parts.Transformer(width, depth, self._heads, act_layer=parts.QuickGELU, norm_layer=norm)

    def forward(self, frames: Tensor, there: Tensor) -> Tensor:
        """(n, F, D), (n, F) -> (n, F, D)."""
        away = (~there).to(frames.dtype)[:, None, :].expand(-1, there.shape[1], -1) * _AWAY
        x = frames + self.frame_position_embeddings.weight[: there.shape[1]]
        found: Tensor = self.transformerClip(x, attn_mask=away.repeat_interleave(self._heads, 0))
        return found + frames


class SeqLSTM(nn.Module):
    """Frames through a recurrent network, added to the frames. Frames that are not there come last, so nothing sees them."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        # stored by the authors' code, and not used by it
        self.frame_position_embeddings = nn.Embedding(positions, width)
        self.lstm_visual = nn.LSTM(width, width, batch_first=True)

    def forward(self, frames: Tensor, there: Tensor) -> Tensor:
        """(n, F, D), (n, F) -> (n, F, D)."""
        found: Tensor = self.lstm_visual(frames * there[..., None])[0]
        return found + frames


def build(header: str, tensors: Mapping[str, Tensor], width: int, where: str, device: str) -> tuple[nn.Module, int]:
    """The head, and how many frames it has places for. InputError for tensors that are missing or do not fit."""
    if _POSITIONS not in tensors or tensors[_POSITIONS].ndim != 2:
        raise InputError(
            f"{where}: {_POSITIONS} is missing or no matrix, and {header} needs it; save the full state_dict()"
        )
    positions = int(tensors[_POSITIONS].shape[0])
    if tensors[_POSITIONS].shape[1] != width or width % _HEAD or not positions:
        shape = tuple(tensors[_POSITIONS].shape)
        raise InputError(
            f"{where}:{_POSITIONS}: shape {shape}, but CLIP's vectors have {width} values; is it the same model?"
        )

    def make() -> nn.Module:
        if header == "seqLSTM":
            return SeqLSTM(positions, width)
        return SeqTransf(positions, width, layers(tensors, "transformerClip.resblocks.", where))

    check(made(make, where, meta=True).state_dict(), tensors, where)
    return loaded(made(make, where), tensors, device), positions


def names(header: str) -> tuple[str, ...]:
    """How the names of its tensors begin."""
    own = {"seqTransf": ("transformerClip.",), "seqLSTM": ("lstm_visual.",), "meanP": ()}[header]
    return (*own, "frame_position_embeddings.") if own else ()


def header_of(tensors: Mapping[str, Tensor]) -> str:
    """The header that a state dict holds."""
    for header in ("seqTransf", "seqLSTM"):
        if any(key.startswith(names(header)[0]) for key in tensors):
            return header
    return "meanP"

"""What every family of checkpoints becomes: a thing that turns captions and frames into vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL.Image import Image
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """Of a batch of n captions or videos, in float32 on the CPU, as the model gives them (not normalised).

    whole: (n, D) one vector each. parts: (n, T, D) words or frames, or None. mask: (n, T) bool, which of them are real.
    weight: (n, T) how much each part counts, by a head that the checkpoint has learned; None without one. cut: of how many
    captions the end was left out, because they have more words than the encoder reads.
    """

    whole: Tensor
    parts: Tensor | None = None
    mask: Tensor | None = None
    weight: Tensor | None = None
    cut: int = 0


@dataclass(frozen=True)
class Temperature:
    """scale: linear (100, not 4.605). source: where it comes from, for provenance."""

    scale: float
    source: str


class Encoder(Protocol):
    """family: its name in provenance. facts: what decides the numbers (sizes, pooling, preprocessing, library versions).

    sees: whether it has an encoder of pictures. width: D. words: most words of a caption, special ones included. frames: most
    frames of a video, None where any number will do.
    """

    family: str
    sees: bool
    width: int
    words: int
    frames: int | None
    temperature: Temperature | None
    facts: dict[str, Any]

    def texts(self, captions: Sequence[str]) -> Features:
        """parts: words as they stand in the model's own space of comparison."""
        ...

    def prepared(self, picture: Image) -> Tensor:
        """(3, H, W) float32, as `videos` wants it."""
        ...

    def videos(self, frames: Tensor, mask: Tensor) -> Features:
        """frames: (n, F, 3, H, W), mask: (n, F) bool, each with at least one frame. parts: frames."""
        ...


@dataclass(frozen=True)
class Settings:
    """How to open a checkpoint. words, frames: as many at most, None for the model's own.

    header: `auto` (what the checkpoint has), `meanP` or `seqTransf`. name: a model of open_clip where the file does not say.
    extras: further facts that a family wants, by their option's name.
    """

    words: int | None = None
    frames: int | None = None
    header: str = "auto"
    name: str | None = None
    device: str = "cpu"
    extras: dict[str, str] = field(default_factory=dict)

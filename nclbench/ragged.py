"""Sets of vectors on the device, one after the other, as scorers of words and frames take them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import Tensor

Rows = slice | Tensor


@dataclass(frozen=True, eq=False)
class Ragged:
    """N sets of T vectors in all. Choosing some of the sets copies no vector.

    vectors: (T, D) float32. start, count: (N,) which of them each set has. weight: (T,) float64 share of each in a sum
    over its set. near: (T,) int64 place, in its set, of a frame's nearest other one, and gain: (T,) float64 what that
    adds; None where nothing is. texts: whether these are words. sentence: whether the first vector of each set is that of
    the whole text. back: how much the best words of the sentence and of the other vectors count for a frame.
    """

    vectors: Tensor
    start: Tensor
    count: Tensor
    weight: Tensor
    near: Tensor | None = None
    gain: Tensor | None = None
    texts: bool = False
    sentence: bool = False
    back: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: Rows) -> "Ragged":
        return replace(self, start=self.start[rows], count=self.count[rows])

    @property
    def device(self) -> torch.device:
        return self.vectors.device

    @property
    def longest(self) -> int:
        return int(self.count.max())

    def numel(self) -> int:
        """Numbers in the largest set times the number of sets."""
        return len(self) * self.longest * self.vectors.shape[1]

    def keys(self) -> Iterator[bytes]:
        """For every set a short key; equal sets have equal keys."""
        parts = [part.cpu().numpy() for part in (self.vectors, self.weight, self.near, self.gain) if part is not None]
        for start, count in zip(self.start.tolist(), self.count.tolist(), strict=True):
            digest = blake2b(digest_size=16)
            for part in parts:
                digest.update(part[start : start + count].tobytes())
            yield digest.digest()

    def places(self) -> tuple[Tensor, Tensor]:
        """(N, L) where the vectors of each set stand, L those of the largest, and (N, L) whether there is one.

        Beyond the end of a set stands its last vector again.
        """
        step = torch.arange(self.longest, device=self.device)
        count = self.count[:, None]
        return self.start[:, None] + torch.minimum(step, count - 1), step < count

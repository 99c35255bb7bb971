"""Anderson acceleration (type II) of a fixed-point iteration y <- g(y) (Anderson 1965; Walker & Ni 2011)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nclbench.plan import SUMS

# of the scaled Gram matrix; from 1e-12 to 1e-3 the number of steps is the same, but noise is amplified by its inverse
_RIDGE = 1e-4
# coefficients are rounded, so that sums in another order, which differ in last bits, give the same ones
_GRID = 2.0**16
# a step this much longer than the plain one (in units of L) is not trusted
_LEAP = 20.0


@dataclass(eq=False)
class Anderson:
    """Mixes the last `depth` differences so that the residual g(y) - y is least; the Gram matrix grows by a row a step."""

    length: int
    depth: int
    device: str = "cpu"
    _count: int = 0
    _last: tuple[Tensor, Tensor] | None = None
    _residuals: Tensor = field(init=False)
    _images: Tensor = field(init=False)
    _gram: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._residuals = torch.zeros(self.depth, self.length, dtype=SUMS, device=self.device)
        self._images = torch.zeros_like(self._residuals)
        self._gram = torch.zeros(self.depth, self.depth, dtype=SUMS, device=self.device)

    def forget(self) -> None:
        self._count, self._last = 0, None

    def step(self, at: Tensor, image: Tensor) -> Tensor:
        """y and g(y), (length,) each -> the next y; g(y) itself where there is no history or it is not to be trusted."""
        residual = image - at
        if self._last is None:
            self._last = residual, image
            return image
        place = self._count % self.depth
        torch.sub(residual, self._last[0], out=self._residuals[place])
        torch.sub(image, self._last[1], out=self._images[place])
        self._last = residual, image
        self._count += 1
        used = min(self._count, self.depth)
        row = self._residuals[:used] @ self._residuals[place]
        self._gram[place, :used] = row
        self._gram[:used, place] = row
        gram = self._gram[:used, :used]
        size = gram.diagonal().clamp(min=1e-300).rsqrt()
        scaled = gram * size[:, None] * size
        scaled.diagonal().add_(_RIDGE)
        wanted = (self._residuals[:used] @ residual) * size
        share, failed = torch.linalg.solve_ex(scaled, wanted)
        mixed = image - ((share * size * _GRID).round() / _GRID) @ self._images[:used]
        if int(failed) or not bool(torch.isfinite(mixed).all()) or float((mixed - image).abs().max()) > _LEAP:
            self.forget()
            return image
        return torch.as_tensor(mixed)

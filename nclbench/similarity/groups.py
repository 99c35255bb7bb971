"""Columns that count as one item: the captions of a video."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Groups:
    """Consecutive columns that count as one item, scored as its best member. starts: (G,) first columns, width: M."""

    starts: tuple[int, ...]
    width: int

    @cached_property
    def of_column(self) -> Tensor:
        sizes = torch.tensor([*self.starts[1:], self.width]) - torch.tensor(self.starts)
        return torch.repeat_interleave(torch.arange(len(self.starts)), sizes)

    def members(self, group: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) groups -> (Q,) columns, and (Q,) which of the P each belongs to."""
        start = torch.tensor([*self.starts, self.width], device=group.device)
        sizes = start[group + 1] - start[group]
        owner = torch.repeat_interleave(torch.arange(len(group), device=group.device), sizes)
        offset = torch.arange(len(owner), device=group.device) - (sizes.cumsum(0) - sizes)[owner]
        return start[group][owner] + offset, owner

    def best(self, x: Tensor, columns: slice) -> tuple[Tensor, slice]:
        """(n, m) scores of these columns -> (n, g) best of each group, and which groups. Cuts must be at starts."""
        owner = self.of_column[columns].to(x.device)
        first, last = int(owner[0]), int(owner[-1]) + 1
        out = x.new_full((x.shape[0], last - first), -torch.inf)
        out.scatter_reduce_(1, (owner - first).expand(x.shape[0], -1), x, "amax")
        return out, slice(first, last)

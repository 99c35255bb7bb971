"""A function of one tensor as a CUDA graph: its many short operations are sent to the device once, and then replayed."""

from collections.abc import Callable

import torch
from torch import Tensor

Work = Callable[[Tensor], tuple[Tensor, ...]]
# runs before the capture, in which libraries choose their routines and take their memory
_WARM = 3


class Replayed:
    """work(x), as a graph where x is on a CUDA device and the capture succeeds, else work itself on the same memory.

    work must not wait for the device, make shapes of values, or depend on anything that changes but x. x: an example.
    """

    def __init__(self, work: Work, x: Tensor) -> None:
        self._work, self._given = work, x.clone()
        self._found: tuple[Tensor, ...] = ()
        self._graph = self._captured() if x.device.type == "cuda" else None

    @property
    def captured(self) -> bool:
        return self._graph is not None

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        self._given.copy_(x)
        if self._graph is None:
            self._found = self._work(self._given)
        else:
            self._graph.replay()
        # the next call writes into the same memory
        return tuple(each.clone() for each in self._found)

    def _captured(self) -> "torch.cuda.CUDAGraph | None":
        """What cannot be captured is done without: a graph saves time and changes nothing."""
        try:
            stream = torch.cuda.Stream(self._given.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self._given.device))
            with torch.cuda.stream(stream):
                for _ in range(_WARM):
                    self._work(self._given)
            torch.cuda.current_stream(self._given.device).wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._found = self._work(self._given)
        except RuntimeError:
            return None
        return graph

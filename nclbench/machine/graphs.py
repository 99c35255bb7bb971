"""A function of one tensor as a CUDA graph: its many short operations are sent to the device once, and then replayed."""

from collections.abc import Callable

import torch
from torch import Tensor

Work = Callable[[Tensor], tuple[Tensor, ...]]
# runs before the capture, in which libraries choose their routines and take their memory
_WARM = 3
# of the sums: how far a replay may lie from the work itself, which another routine may have done
_NEAR = 1e-5


class Replayed:
    """work(x), as a graph where x is on a CUDA device and the capture holds the work, else work itself on the same memory.

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
            # streams belong to a device: work sent to another's would not be in the graph
            with torch.cuda.device(self._given.device):
                graph = self._recorded()
                return graph if self._holds(graph) else None
        except RuntimeError:
            return None

    def _recorded(self) -> "torch.cuda.CUDAGraph":
        stream = torch.cuda.Stream(self._given.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._given.device))
        graph = torch.cuda.CUDAGraph()
        # a capture that fails leaves its own stream the current one; this gives the caller's back
        with torch.cuda.stream(stream):
            for _ in range(_WARM):
                self._work(self._given)
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._found = self._work(self._given)
        torch.cuda.current_stream(self._given.device).wait_stream(stream)
        return graph

    def _holds(self, graph: "torch.cuda.CUDAGraph") -> bool:
        """Whether a replay finds what the work finds, of another x than that of the capture."""
        other = self._given + torch.linspace(0, 1, self._given.numel()).to(self._given).view_as(self._given)
        wanted = self._work(other)
        self._given.copy_(other)
        graph.replay()
        return all(_near(one, two) for one, two in zip(self._found, wanted, strict=True))


def _near(found: Tensor, wanted: Tensor) -> bool:
    """In proportion to the largest number that is wanted: some are far below 1 throughout."""
    finite = wanted[wanted.isfinite()]
    size = float(finite.abs().max()) if len(finite) else 0.0
    return torch.allclose(found, wanted, rtol=_NEAR, atol=_NEAR * size, equal_nan=True)

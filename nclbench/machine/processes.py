"""The processes of one run: how many there are, which this is, and what they tell each other."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

Made = TypeVar("Made")
# nothing that one process does alone takes longer than this
_PATIENCE = timedelta(minutes=30)
# bytes that are sent at once
_PIECE = 64 << 20
# whether memory that runs out is asked about on the CPU too, which never says so in this way; tests do
ASKS = False


class Unreachable(RuntimeError):
    """Another process has ended, or cannot be reached."""


class ShortOfMemory(torch.OutOfMemoryError):
    """The device of one process ran out of memory, and all processes know it."""


def retried(error: torch.OutOfMemoryError) -> bool:
    """Whether what failed may be tried in another way: never by one of several processes without the others."""
    return world() == 1 or isinstance(error, ShortOfMemory)


def world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world() > 1 else 0


def gather(values: Tensor) -> list[Tensor]:
    """The tensor of every process, in rank order."""
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    with _reaching():
        dist.all_gather(parts, values.contiguous())
    return parts


def attempt(work: Callable[[], Made], device: str) -> Made:
    """What work gives. All processes call it, and nothing within it waits for another one.

    Where the device of one of them runs out of memory, ShortOfMemory is raised in all, so that all go on in the same
    way. It holds nothing of what was tried. On the CPU nothing is asked, because torch raises OutOfMemoryError for devices.
    """
    found: list[Made] = []
    lack = ""
    try:
        found.append(work())
    except torch.OutOfMemoryError as error:
        lack = str(error) or "out of memory"
    asked = device != "cpu" or ASKS
    if asked and world() > 1 and any(map(any, exchange(bytes([bool(lack)])))):
        lack = lack or "the device of another process of this run is out of memory"
    if lack:
        found.clear()
        raise ShortOfMemory(lack) if asked or world() == 1 else torch.OutOfMemoryError(lack)
    return found[0]


def exchange(said: bytes) -> list[bytes]:
    """What every process says, in rank order; all must say equally many bytes."""
    sent = torch.from_numpy(np.frombuffer(said, np.uint8).copy()).to(_carrier())
    return [part.cpu().numpy().tobytes() for part in gather(sent)]


def between(some: list[int]) -> Any:
    """How some processes speak without the others. All call it."""
    return dist.new_group(some)


def spread(values: npt.NDArray[np.uint8], source: int, some: Any = None) -> None:
    """Fills the bytes (B,) of all processes, or of some that are `between` themselves, with those of one."""
    for start in range(0, len(values), _PIECE):
        part = torch.from_numpy(values[start : start + _PIECE])
        sent = part.to(_carrier())
        with _reaching():
            dist.broadcast(sent, source, some)
        if sent is not part and rank() != source:
            part.copy_(sent)


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise Unreachable(str(error)) from None


def _carrier() -> str:
    """Where bytes lie that are sent to others: on the device only where whoever started the processes chose so."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Meets the other processes that a launcher such as torchrun has started; gives the device of this one."""
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()

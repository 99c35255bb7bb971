"""One copy of a table for all processes of a machine: each fills its rows in memory that they share.

Memory is shared as a file without a name (Linux), which is gone with the last process that has it open. Elsewhere, and between
machines, rows are sent.
"""

import mmap
import os
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.machine.processes import between, exchange, rank, spread, world
from nclbench.machine.together import agreed, share

Array = npt.NDArray[Any]
# bytes of a number that is told, and of a word
_NUMBER, _WORD = 8, 32


@dataclass(frozen=True)
class Machines:
    """heads: of each process the first one that it shares memory with. others: how the heads send to each other."""

    heads: tuple[int, ...]
    others: Any

    @classmethod
    def met(cls) -> "Machines":
        """All processes call it."""
        heads = _heads()
        several = sorted(set(heads))
        return cls(heads, between(several) if 1 < len(several) < world() else None)

    def table(self, mine: Array, rows: int) -> Array:
        """(rows, …) filled by all processes, which all call it. mine: this one's share. What one then changes, no other sees."""
        shape = (rows, *mine.shape[1:])
        heads, others, place, values = self.heads, self.others, -1, None
        if len(set(heads)) < world():
            place, values, works = self._shared(shape, mine.dtype)
            if not works:
                heads, others = tuple(range(world())), None
        with agreed("the memory of a table"):
            values = np.empty(shape, mine.dtype) if values is None else values
            values[share(rows)] = mine
        if len(set(heads)) > 1:
            if rank() in heads:
                for process in range(world()):
                    part = values[share(rows, process)].reshape(-1).view(np.uint8)
                    spread(part, heads[process], others)
            exchange(b"filled")
        with agreed("the memory of a table"):
            if place < 0:
                return values
            try:
                return _mapped(place, shape, mine.dtype, mmap.MAP_PRIVATE)
            finally:
                os.close(place)

    def _shared(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, Array | None, bool]:
        """An open file of shared memory, what it holds, and whether all have theirs; -1 and None for one that shares none."""
        head, place, values = self.heads[rank()], -1, None
        alone = self.heads.count(head) == 1
        if head == rank() and not alone:
            place = _made(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        known = exchange(_number(os.getpid()) + _number(place))
        if not alone:
            try:
                place = place if head == rank() else os.open(_path(known[head]), os.O_RDWR)
                values = _mapped(place, shape, dtype, mmap.MAP_SHARED)
            except (OSError, ValueError):
                values = None
        works = all(map(any, exchange(bytes([alone or values is not None]))))
        if not works and place >= 0:
            os.close(place)
        return (place, values, True) if works else (-1, None, False)


def _heads() -> tuple[int, ...]:
    """Tried out, because processes of one machine may be walled off from each other."""
    word = secrets.token_bytes(_WORD)
    try:
        own = os.memfd_create("nclbench")
        os.write(own, word)
    except (AttributeError, OSError):  # another system, or one that forbids it
        own = -1
    said = exchange(_machine() + _number(os.getpid()) + _number(own) + word)
    head = next(process for process in range(rank() + 1) if process == rank() or _reaches(said[rank()], said[process]))
    heads = tuple(int.from_bytes(each, "little") for each in exchange(_number(head)))
    if own >= 0:
        os.close(own)
    # who reaches whom may differ from both ends; then nobody shares
    return heads if all(heads[each] == each for each in heads) else tuple(range(world()))


def _reaches(mine: bytes, theirs: bytes) -> bool:
    if mine[:_WORD] != theirs[:_WORD]:
        return False
    try:
        with open(_path(theirs[_WORD:]), "r+b", buffering=0) as file:
            return file.read() == theirs[_WORD + 2 * _NUMBER :]
    except OSError:
        return False


def _made(size: int) -> int:
    """An open file of so many bytes in memory; -1 where the system forbids it or a limit stands against it."""
    place = -1
    try:
        place = os.memfd_create("nclbench")
        os.ftruncate(place, size)
        return place
    except OSError:
        if place >= 0:
            os.close(place)
        return -1


def _machine() -> bytes:
    """What is the same for processes that know each other by number, and for no others."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        return sha256(booted + os.readlink("/proc/self/ns/pid").encode()).digest()
    except OSError:
        return secrets.token_bytes(_WORD)


def _path(known: bytes) -> str:
    """Of a process' open file, known by both their numbers."""
    process, place = (int.from_bytes(known[at : at + _NUMBER], "little", signed=True) for at in (0, _NUMBER))
    return f"/proc/{process}/fd/{place}"


def _number(value: int) -> bytes:
    return value.to_bytes(_NUMBER, "little", signed=True)


def _mapped(place: int, shape: tuple[int, ...], dtype: np.dtype[Any], how: int) -> Array:
    return np.frombuffer(mmap.mmap(place, 0, flags=how, prot=mmap.PROT_READ | mmap.PROT_WRITE), dtype).reshape(shape)

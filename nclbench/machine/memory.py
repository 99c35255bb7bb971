"""How much memory there is, how much is worked on at once, and how a person writes an amount of it."""

import ctypes
import os

from nclbench.errors import UsageError

# a process that has looked at fewer scores holds little, and would miss the milliseconds
_MANY = 1 << 24


def available() -> int:
    """Bytes that this machine says are free, 4 GB where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 4 << 30


def give_back(scores: int) -> None:
    """To the system, what was let go and is held for later use, after so many scores were looked at.

    Each thread has a heap, of which others use nothing. Only glibc can be told.
    """
    if scores >= _MANY and os.name == "posix" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def breadth(device: str) -> int:
    """How many times more a device does at once than fits into the cache of a processor."""
    return 1 if device == "cpu" else 64


def parse_bytes(text: str | int | None) -> int | None:
    """`300M`, `4G`, `1.5G` or a number of bytes."""
    if text is None or isinstance(text, int):
        return text
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    plain = text.strip().upper().removesuffix("B").removesuffix("I")
    factor = units.get(plain[-1:], 1)
    try:
        value = float(plain[:-1] if factor > 1 else plain)
    except ValueError:
        raise UsageError(f"cannot read memory {text!r}; write for example 4G or 300M") from None
    if not 0 < value < float("inf"):
        raise UsageError(f"memory {text!r} must be a positive amount")
    return int(value * factor)

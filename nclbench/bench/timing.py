"""Variants of one piece of work, run in turns, so that a busy neighbour or a warm clock meets all of them alike."""

import gc
import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Series = list[float]
# a variant whose first run took so many seconds is run so many times at most
_SLOW = ((20.0, 1), (3.0, 3))
# what took longer at first is known well enough
_ONCE = 1.0
# what takes less is run several times in a round, at most so many: a single short run shows the caches and not the work
_LEAST, _MOST = 0.02, 50


@dataclass(frozen=True)
class Variant:
    """One way to do the work. foreign: code of others, whose failure is a finding and not an error."""

    name: str
    call: Callable[[], Any]
    foreign: bool = False


@dataclass
class Turns:
    """wall, cpu: seconds of each variant, one a round (slow ones have fewer). found: what each gave last.

    clock: wall | cpu, the one that counts. failed: why a foreign variant has no figures.
    """

    clock: str = "wall"
    wall: dict[str, Series] = field(default_factory=dict)
    cpu: dict[str, Series] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, Series]:
        """By the clock that counts."""
        return self.cpu if self.clock == "cpu" else self.wall

    def ratio(self, name: str, other: str) -> float | None:
        """The median of name / other over the rounds that have both."""
        return None if name in self.failed else over(self.seconds[name], self.seconds[other])


def take_turns(
    variants: Sequence[Variant],
    repeats: int,
    clock: str = "wall",
    said: Callable[[str], None] = lambda name: None,
    memory: int = 0,
) -> Turns:
    """A B C, A B C, … after each has run once unmeasured. said: told the name of what is run next.

    clock: with one thread the process's own seconds (cpu) are blind to neighbours; with several only wall seconds count.
    memory: bytes that are written to and let go before each run.
    """
    gc.collect()
    gc.freeze()  # of all that there is already, collections before each run need not think again
    try:
        return _taken(variants, repeats, clock, said, memory)
    finally:
        gc.unfreeze()


def _taken(
    variants: Sequence[Variant], repeats: int, clock: str, said: Callable[[str], None], memory: int
) -> Turns:
    turns = Turns(clock)
    rounds: dict[str, int] = {}
    times: dict[str, int] = {}
    for variant in variants:
        said(variant.name)
        seconds = _timed(variant, turns, memory)
        if seconds < _ONCE and variant.name not in turns.failed:  # what was loaded and compiled is there now
            seconds = _timed(variant, turns, memory)
        rounds[variant.name] = min([repeats, *(most for least, most in _SLOW if seconds > least)])
        times[variant.name] = min(_MOST, math.ceil(_LEAST / max(seconds, 1e-9)))
    for number in range(repeats):
        for variant in variants:
            if variant.name not in turns.failed and number < rounds[variant.name]:
                said(variant.name)
                _timed(variant, turns, memory, times[variant.name])
    return turns


def _timed(variant: Variant, turns: Turns, memory: int, times: int = 0) -> float:
    """Seconds of one run, kept if there are `times` of them."""
    gc.collect()
    # a virtual machine gives memory back to its host a second after it was let go, and to get it again takes longer than to
    # work on it: whoever is first would pay
    np.ones(memory, dtype=np.uint8)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            for _ in range(max(1, times)):
                found = variant.call()
        except Exception as error:  # of others it may be anything
            if not variant.foreign:
                raise
            turns.failed[variant.name] = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            return 0.0
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if times:
        turns.wall.setdefault(variant.name, []).append(wall / times)
        turns.cpu.setdefault(variant.name, []).append(cpu / times)
        turns.found[variant.name] = found
    return wall / max(1, times)


def over(upper: Series, lower: Series) -> float | None:
    """The median of the ratios of pairs; None where that is no positive number."""
    pairs = list(zip(upper, lower, strict=False))
    if not pairs or any(b <= 0 for _, b in pairs):
        return None
    value = statistics.median(a / b for a, b in pairs)
    return value if value > 0 and math.isfinite(value) else None


def per_step(long: Series, short: Series, steps: int) -> Series | None:
    """Seconds a step, from runs that differ by so many; None where the difference drowns in noise."""
    found = [(a - b) / steps for a, b in zip(long, short, strict=False)]
    return found if min(found) > 0 else None

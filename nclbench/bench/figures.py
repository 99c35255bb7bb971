"""What seconds say: a share of a limit, a multiple of it, or how many times longer somebody else takes."""

import statistics
from dataclasses import dataclass

from nclbench.bench.timing import Series, Turns, over

Goal = tuple[str, float]


@dataclass(frozen=True)
class Figure:
    """One line. seconds: one a round by the clock that counts, of the whole work or, where the name says so, of one
    pass. wall: the same on the wall.

    value: what `unit` says, None where the difference drowned in noise or a peer failed. goal: value must be `at least`
    or `at most` so much. failed: why there are no seconds.
    """

    name: str
    seconds: tuple[float, ...] = ()
    wall: tuple[float, ...] = ()
    value: float | None = None
    unit: str = ""
    goal: Goal | None = None
    note: str = ""
    failed: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None where there is none, or no value."""
        if self.goal is None or self.value is None:
            return None
        return self.value >= self.goal[1] if self.goal[0] == "at least" else self.value <= self.goal[1]


def plain(turns: Turns, name: str, value: float | None = None, unit: str = "", goal: Goal | None = None) -> Figure:
    """The seconds of a variant, with a value that was found elsewhere."""
    return Figure(name, tuple(turns.seconds[name]), tuple(turns.wall[name]), value, unit, goal)


def multiple(turns: Turns, name: str, limit: str, goal: Goal | None = None) -> Figure:
    """How many times the limit's seconds."""
    return plain(turns, name, turns.ratio(name, limit), "x its GEMM", goal)


def single(name: str, seconds: Series | None, value: float | None, unit: str, goal: Goal | None = None) -> Figure:
    """A part of the work, by the difference of two runs; None where it drowned in noise."""
    return Figure(name, tuple(seconds or ()), (), value, unit, goal, failed="" if seconds else "too short to be told apart")


def beside(
    turns: Turns, name: str, ours: str, goal: float | None = None, scale: float = 1.0, note: str = ""
) -> Figure:
    """How many times our seconds a peer takes, or why it has none. scale: of its seconds, to the same count of steps."""
    if name in turns.failed:
        return Figure(name, failed=turns.failed[name])
    value = over([scale * each for each in turns.seconds[name]], turns.seconds[ours])
    least = None if goal is None else ("at least", goal)
    return Figure(name, tuple(turns.seconds[name]), tuple(turns.wall[name]), value, "x ours", least, note)


def median(seconds: Series) -> float:
    return statistics.median(seconds)

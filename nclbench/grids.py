"""Grids in a spec: `tau=0.005..0.1/log8`, `k=1..50/lin5`, `fit=bank|test`. Several of them give their product."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from nclbench.errors import UsageError

LIMIT = 1000
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})/(log|lin)(\d+)")
_BEGUN = re.compile(rf"{_NUMBER}\s*\.\.")
_LINK = re.compile(r"\+(?=\s*[a-z])")
_PART = re.compile(r'([A-Za-z_]\w*)\s*=\s*((?:"(?:[^"\\]|\\.)*"|[^,"])*)')
_BAR = re.compile(r'\|(?=(?:[^"]*"[^"]*")*[^"]*\Z)')


@dataclass(frozen=True)
class Axis:
    """One gridded parameter. values: as they stand in the specs. scale: log, lin or choice."""

    name: str
    values: tuple[str, ...]
    scale: str

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values as rising numbers, None where they are words or have no order."""
        try:
            found = tuple(float(value) for value in self.values)
        except ValueError:
            return None
        return found if all(a < b for a, b in pairwise(found)) else None


@dataclass(frozen=True)
class Grid:
    """template: as it was typed. specs: every combination, the last axis fastest; at: where it stands on each axis."""

    template: str
    axes: tuple[Axis, ...]
    specs: tuple[str, ...]
    at: tuple[tuple[int, ...], ...]


def expand(template: str, whole: Callable[[str, str], bool] = lambda name, key: False) -> Grid:
    """A spec, or a chain of them, with grids for some values. whole(name, key): whether a parameter takes integers only.

    The numbers of a range have three digits, more where they would be equal; its ends are as given. UsageError for a
    grid that cannot be read, or one of more than LIMIT points.
    """
    pieces: list[str] = [""]
    axes: list[Axis] = []
    for number, link in enumerate(_LINK.split(template)):
        name, colon, rest = link.partition(":")
        pieces[-1] += ("+" if number else "") + name + colon
        done = 0
        for match in _PART.finditer(rest):
            axis = _axis(template, match[1], match[2].strip(), whole(name.strip(), match[1]))
            if axis is not None:
                axes.append(axis)
                pieces[-1] += rest[done : match.start(2)]
                pieces.append("")
                done = match.end(2)
        pieces[-1] += rest[done:]
    count = math.prod(len(axis.values) for axis in axes)
    if count > LIMIT:
        raise UsageError(f"{template}: a grid of {count} points; at most {LIMIT} can be run, make it coarser")
    at = tuple(product(*(range(len(axis.values)) for axis in axes)))
    return Grid(template, tuple(axes), tuple(_filled(pieces, axes, place) for place in at), at)


def refuse(spec: str) -> None:
    """UsageError for a spec with a grid, where one value is wanted."""
    for link in _LINK.split(spec):
        for match in _PART.finditer(link.partition(":")[2]):
            if _BEGUN.match(match[2].strip()) or _BAR.search(match[2]):
                raise UsageError(
                    f"{spec}: {match[1]} is a grid, and one value is needed; `nclbench sweep` chooses it on validation data"
                )


def _filled(pieces: list[str], axes: list[Axis], place: tuple[int, ...]) -> str:
    values = (axis.values[at] for axis, at in zip(axes, place, strict=True))
    return pieces[0] + "".join(value + piece for value, piece in zip(values, pieces[1:], strict=True))


def _axis(template: str, name: str, text: str, whole: bool) -> Axis | None:
    """None for a single value."""
    if match := _RANGE.fullmatch(text):
        low, high = float(match[1]), float(match[2])
        count = int(match[4]) if len(match[4]) < 7 else LIMIT + 1
        return Axis(name, tuple(map(repr, _spread(f"{template}: {name}={text}", low, high, match[3], count, whole))), match[3])
    choices = [part.strip() for part in _BAR.split(text)]
    if any(_BEGUN.match(part) for part in choices):
        raise UsageError(f"{template}: cannot read {name}={text}; write a..b/log8, a..b/lin5 or x|y|z")
    if len(choices) == 1:
        return None
    if not all(choices):
        raise UsageError(f"{template}: {name}={text} has an empty choice; write x|y|z")
    return Axis(name, tuple(dict.fromkeys(choices)), "choice")


def _spread(where: str, low: float, high: float, scale: str, count: int, whole: bool) -> list[float] | list[int]:
    """Rising values from low to high."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{where}: a range goes from the smaller number to the larger one")
    if scale == "log" and low <= 0:
        raise UsageError(f"{where}: a log range needs positive numbers; use lin")
    if not 2 <= count <= LIMIT:
        raise UsageError(f"{where}: give 2 to {LIMIT} points")
    exact = list(_exact(low, high, scale, count))
    if whole:
        first, last = math.ceil(low), math.floor(high)
        if first > last:
            raise UsageError(f"{where}: there is no whole number in this range")
        return sorted({min(max(round(value), first), last) for value in exact})
    for digits in range(3, 18):
        values = [low, *(float(f"{value:.{digits}g}") for value in exact[1:-1]), high]
        if all(a < b for a, b in pairwise(values)):
            return values
    raise UsageError(f"{where}: the numbers are too close to be told apart")


def _exact(low: float, high: float, scale: str, count: int) -> Iterator[float]:
    for number in range(count):
        part = number / (count - 1)
        if scale == "lin":
            yield low * (1 - part) + high * part
        else:
            yield math.exp(math.log(low) * (1 - part) + math.log(high) * part)

"""The items that stand out, with what they are called: those that are shown most, and those that are shown least."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nclbench.audit.states import Direction, State

COUNT = 10


@dataclass(frozen=True)
class Person:
    """One item. shown: N_k in each state; stolen: of how many queries it takes the first place wrongly, and over: of how many
    it stands above the right one, in each state; mass: p in each state, None where not defined.
    """

    at: int
    name: str
    title: str
    shown: tuple[int, ...]
    stolen: tuple[int | None, ...]
    over: tuple[int | None, ...]
    mass: tuple[float | None, ...]


def hubs(direction: Direction, count: int = COUNT) -> list[Person]:
    """The items that are in most lists, worst first: raw, or whatever the first state is."""
    shown, mass = direction.occurrence(direction.reference), direction.reference.items["p"]
    order = np.lexsort((np.arange(len(shown)), -np.nan_to_num(mass), -shown))
    return _people(direction, order[:count])


def starved(direction: Direction, count: int = COUNT) -> list[Person]:
    """The items with least probability mass, worst first; of equal ones those in fewest lists."""
    shown, mass = direction.occurrence(direction.reference), direction.reference.items["p"]
    order = np.lexsort((np.arange(len(shown)), shown, np.nan_to_num(mass)))
    return _people(direction, order[:count])


def _people(direction: Direction, places: npt.NDArray[np.integer]) -> list[Person]:
    return [_person(direction, int(at), direction.states) for at in places]


def _person(direction: Direction, at: int, states: Sequence[State]) -> Person:
    masses = [float(state.items["p"][at]) for state in states]
    return Person(
        at,
        str(direction.reference.items["id"][at]),
        direction.titles[at],
        tuple(int(direction.occurrence(state)[at]) for state in states),
        _counts("bad@1", at, states),
        _counts("over", at, states),
        tuple(None if np.isnan(mass) else mass for mass in masses),
    )


def _counts(name: str, at: int, states: Sequence[State]) -> tuple[int | None, ...]:
    return tuple(int(state.items[name][at]) if name in state.items else None for state in states)

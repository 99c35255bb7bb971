"""`--fail-on 'antihubs@10>0.2'`: a limit on a diagnostic or a metric, for continuous integration."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nclbench.audit.states import Direction, State
from nclbench.diagnostics import of_counts, of_masses
from nclbench.errors import InputError, UsageError, nearest

_SIGNS = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_GRAMMAR = re.compile(r"\s*(?:(t2v|v2t)\.)?([A-Za-z][A-Za-z_.]*(?:@\d+)?)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*%?\s*")


@dataclass(frozen=True)
class Condition:
    """What must not be. direction: t2v | v2t, '' for both."""

    text: str
    direction: str
    name: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """`antihubs@10>0.2`, `v2t.p.over>=0.1`, `skewness@10>2`: shares are fractions. Raises UsageError."""
        found = _GRAMMAR.fullmatch(text)
        try:
            bound = float(found[4]) if found else 0.0
        except ValueError:
            found = None
        if found is None:
            raise UsageError(f"cannot read --fail-on {text!r}; write NAME>NUMBER, such as antihubs@10>0.2")
        name = found[2]
        base, at, _ = name.partition("@")
        against = (each.replace("p.", f"p.{kind}.") for each in of_masses() for kind in ("wanted", "bank"))
        known = [*of_counts(), *of_masses(), *against]
        if base not in known or bool(at) != (base in of_counts()):
            names = [each + ("@10" if each in of_counts() else "") for each in known]
            raise UsageError(f"--fail-on {text!r}: unknown diagnostic {name!r}{nearest(name, names)}")
        return cls(text, found[1] or "", name, found[3], bound)

    def broken(self, directions: Sequence[Direction]) -> Iterator[str]:
        """A sentence for each state that the condition is about and that breaks it.

        That is each operator that was asked for; the raw row where none was. Raises InputError where it is not defined.
        """
        mine = [each for each in directions if self.direction in ("", each.name)]
        judged = 0
        for direction in mine:
            for state in _judged(direction):
                value = state.number(self.name)
                if value is None:
                    continue
                judged += 1
                if _SIGNS[self.sign](value, self.bound):
                    yield f"{direction.name} {direction.label(state)}: {self.name} is {value:.4g}, and fails {self.text}"
        if not judged:
            raise InputError(f"--fail-on {self.text!r}: {self.name} is not defined for any row of this report")


def _judged(direction: Direction) -> Sequence[State]:
    asked = [state for state in direction.states if state.spec != "none"]
    return asked or direction.states

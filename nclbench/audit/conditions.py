"""`--fail-on 'antihubs@10>0.2'`: a limit on a diagnostic or a metric, for continuous integration."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nclbench.audit.states import Direction
from nclbench.diagnosis import CUTOFFS
from nclbench.diagnostics import of_counts, of_masses, of_rivals
from nclbench.errors import InputError, UsageError, nearest
from nclbench.files import printable
from nclbench.metrics import parse

_SIGNS = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_GRAMMAR = re.compile(r"\s*(?:(t2v|v2t)\.)?([A-Za-z][A-Za-z_.]*(?:@\d+)?)\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*(%?)\s*")


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
        """`antihubs@10>0.2` or `>20%`, `v2t.p.over>=0.1`, `t2v.R@1<45`: shares are fractions, R@k is in percent as ever.

        Raises UsageError.
        """
        found = _GRAMMAR.fullmatch(text)
        try:
            bound = float(found[4]) if found else 0.0
        except ValueError:
            found = None
        if found is None:
            raise UsageError(f"cannot read --fail-on {text!r}; write NAME>NUMBER, such as antihubs@10>0.2")
        name = found[2]
        if found[5]:
            bound /= 100
        base, _, k = name.partition("@")
        against = (each.replace("p.", f"p.{kind}.") for each in of_masses() for kind in ("wanted", "bank"))
        names = [*(f"{each}@{cutoff}" for each in of_counts() for cutoff in CUTOFFS), *of_masses(), *of_rivals(), *against]
        if name not in names:
            try:
                name = str(parse(name))
            except UsageError:
                hint = nearest(name, names) if base not in of_counts() or k else f"; write {base}@10"
                raise UsageError(f"--fail-on {text!r}: unknown diagnostic {name!r}{hint}") from None
        return cls(text, found[1] or "", name, found[3], bound)

    def broken(self, directions: Sequence[Direction], operators: bool) -> Iterator[str]:
        """A sentence for each state that the condition is about and that breaks it.

        operators: whether any were asked for; the condition is then about them, else about the raw rows. Raises
        InputError where it is not defined for one of them, or there is none.
        """
        judged = 0
        for direction in directions:
            for state in direction.states:
                if self.direction not in ("", direction.name) or operators != (state.spec != "none"):
                    continue
                judged += 1
                value = state.number(self.name)
                if value is None:
                    where = f"{direction.name} {printable(direction.label(state))}"
                    raise InputError(f"--fail-on {self.text!r}: {self.name} is not defined for {where}")
                if _SIGNS[self.sign](value, self.bound):
                    yield f"{direction.name} {direction.label(state)}: {self.name} is {value:.4g}, and fails {self.text}"
        if not judged:
            raise InputError(f"--fail-on {self.text!r}: there is no row that it could be about, see the notes")

"""The models that a command was given, read, told apart and checked against what was said of them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nclbench.cli import options
from nclbench.errors import InputError, UsageError, nearest

if TYPE_CHECKING:
    from nclbench.problem import Problem


def read(
    paths: Sequence[str], *, dataset: str | None, scorer: str | None, strict: bool, **how: Any
) -> "list[Problem]":
    """One problem a path, read by all processes of the run together. how: what `nclbench.sources.load` takes."""
    from nclbench.sources import load

    found = [load(path, together=True, **how) for path in paths]
    return [_prepared(problem, dataset, scorer, strict) for problem in _told_apart(found)]


def understood(direction: str, specs: Iterable[str] = ()) -> None:
    """Words that mean nothing fail before anything is read."""
    from nclbench.evaluation import DIRECTIONS

    if direction not in DIRECTIONS:
        raise UsageError(f"unknown direction {direction!r}{nearest(direction, DIRECTIONS)}")
    from nclbench.grids import refuse
    from nclbench.operators import parse_chain

    for spec in specs:
        refuse(spec)
        parse_chain(spec)


def _told_apart(problems: "list[Problem]") -> "list[Problem]":
    """Models of one name are called by the folder that they are in too, and by their number if that is the same."""
    from collections import Counter
    from dataclasses import replace
    from pathlib import Path

    def doubled(problem: "Problem") -> bool:
        return names[problem.dataset, problem.split, problem.model] > 1

    for number in (0, 1):
        names = Counter((each.dataset, each.split, each.model) for each in problems)
        folders = [Path(each.inputs[0].path).resolve().parent.name if each.inputs else "" for each in problems]
        labels = [f"{each.model} ({at + 1})" if number else f"{folders[at]}/{each.model}" for at, each in enumerate(problems)]
        problems = [
            replace(each, model=label) if doubled(each) else each for each, label in zip(problems, labels, strict=True)
        ]
    return problems


def _prepared(problem: "Problem", dataset: str | None, scorer: str | None, strict: bool) -> "Problem":
    """The problem checked against its benchmark, with the scorer that was asked for."""
    from dataclasses import replace

    notes = list(problem.notes)
    if dataset is not None:
        from nclbench.sources.datasets import check, get

        notes += check(problem, dataset)
        problem = replace(problem, dataset=get(dataset).name)
    problem = options.scored(problem, scorer)
    if strict and problem.logit_scale is not None and problem.logit_scale < 10:
        raise InputError(f"logit_scale is {problem.logit_scale:g}: a logarithm? it must be linear (100, not 4.605)")
    return replace(problem, notes=tuple(notes))

"""With which other runs a run may be ranked: by what it was fitted on, what it was chosen with, and how it was ranked."""

from collections.abc import Sequence

from nclbench.results import Run


def standing(run: Run) -> str:
    """The one of `STANDINGS` that says with which other runs it may be ranked."""
    if run.oracle:
        return "oracle"
    if any("-folds(" in part for part in run.operator.fitted_on.split("+")):
        return "folds"
    return "transductive" if run.operator.transductive else "inductive"


def standings(run: Run) -> tuple[str, ...]:
    """What a run stands as, and that it saw the test queries where something weightier is said of it."""
    return standings_of(standing(run), run.operator.transductive)


def standings_of(name: str, transductive: bool) -> tuple[str, ...]:
    """The same of a standing and whether the run was fitted on the test queries."""
    return (name, "transductive") if transductive and name != "transductive" else (name,)


def terms(runs: Sequence[Run]) -> dict[int, tuple[tuple[str, ...], str]]:
    """By the `id` of each run: under which terms it was ranked, and in words what of them other runs of its dataset and
    direction do not share. A run without figures competes with none, and stands with the first that has some.
    """
    alike: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.dataset, run.split, run.selector), []).append(run)
    found = {}
    for several in alike.values():
        with_figures = [run.terms for run in several if run.metrics] or [run.terms for run in several]
        shared = set(with_figures[0]).intersection(*with_figures)
        for run in several:
            own = run.terms if run.metrics else with_figures[0]
            words = ", ".join(term for term in own if term not in shared)
            found[id(run)] = own, f"{words}: ranked apart" if words and run.metrics else ""
    return found

"""With which other runs a run may be ranked: by what it was fitted on, and what it was chosen with."""

from nclbench.results import Run


def standing(run: Run) -> str:
    """The one of `STANDINGS` that says with which other runs it may be ranked."""
    if run.oracle:
        return "oracle"
    if any(part.startswith("test-folds") for part in run.operator.fitted_on.split("+")):
        return "folds"
    return "transductive" if run.operator.transductive else "inductive"


def standings(run: Run) -> tuple[str, ...]:
    """What a run stands as, and that it saw the test queries where something weightier is said of it."""
    return standings_of(standing(run), run.operator.transductive)


def standings_of(name: str, transductive: bool) -> tuple[str, ...]:
    """The same of a standing and whether the run was fitted on the test queries."""
    return (name, "transductive") if transductive and name != "transductive" else (name,)

"""What stands beside every number: the signature of how it was made, and the notes that a reader must know."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from nclbench import __version__
from nclbench.problem import Problem
from nclbench.results import Applied, Convergence

LARGEST_COSINE = 1.5


def revision() -> str | None:
    """The git commit of a checkout that the package runs from; None where it was installed without one."""
    folder = Path(__file__).parents[1] / ".git"
    try:
        head = (folder / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        if (folder / reference).is_file():
            return (folder / reference).read_text(encoding="ascii").strip()
        packed = (folder / "packed-refs").read_text(encoding="ascii").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), None)
    except (OSError, ValueError):
        return None


_SILENT_PARAMS = {"start": "gallery", "marginals": "uniform", "fit": None, "max_iters": None}


def signature(
    selector: str,
    shape: tuple[int, int],
    ties: str,
    scorer: str,
    dtype: str,
    operator: Applied,
    convergence: Convergence | None,
    oracle: bool = False,
) -> str:
    """`t2v|R@k:hit|ties:expected|q:1000|g:1000|scorer:cosine|op:sinkhorn(tau=0.01,tol=0.0001)|fit:test-queries|…`

    shape: how many queries were averaged, and how many items each of them ranked.
    """
    params = ",".join(
        f"{key}={value!r}" if isinstance(value, float) else f"{key}={value}"
        for key, value in operator.params.items()
        if key not in _SILENT_PARAMS or value != (_SILENT_PARAMS[key] or value)
    )
    parts = [
        selector,
        "R@k:hit",
        f"ties:{ties}",
        f"q:{shape[0]}",
        f"g:{shape[1]}",
        f"scorer:{scorer}",
        f"op:{operator.name}({params})" if params else f"op:{operator.name}",
        f"fit:{operator.fitted_on}",
        f"transductive:{'yes' if operator.transductive else 'no'}",
    ]
    parts += ["oracle:yes"] if oracle else []
    if convergence is not None:
        parts += [f"it:{convergence.iterations}", f"err:{convergence.marginal_error:.1e}"]
    return "|".join([*parts, dtype, f"v:{__version__}"])


def cautions(problem: Problem, *, tempered: bool, transductive: Collection[str], largest: float) -> list[str]:
    """Notes on the problem as a whole.

    tempered: an operator has a temperature; transductive: the directions in which one saw the test queries; largest:
    a bound on |score|.
    """
    notes = []
    ready = ("queries", "items") in problem.scores
    if tempered and problem.logit_scale is None and largest > LARGEST_COSINE and (ready or problem.scorer != "cosine"):
        reach = f"scores reach {largest:.3g}" if ready else f"scores may reach {largest:.3g}"
        notes.append(
            f"{reach} and the input has no logit_scale: they look like logits, not cosines; "
            "tau is in units of the scores as loaded"
        )
    if problem.relevance is None:
        return notes
    pairs = problem.relevance
    galleries = {"t2v": (pairs.item, problem.items), "v2t": (pairs.query, problem.queries)}
    for direction in transductive:
        wanted, side = galleries[direction]
        asked = np.bincount(wanted, minlength=len(side))
        if asked.min() != asked.max():
            notes.append(
                f"{direction}: a gallery item is wanted {asked.min()} to {asked.max()} times, but an "
                "operator fitted on the test queries takes each as equally often asked for: it can hurt here, a query "
                "bank is the safe choice"
            )
    return notes

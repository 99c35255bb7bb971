"""What stands beside every number: the signature of how it was made, and the notes that a reader must know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nclbench import __version__
from nclbench.fitting import Fit, Row
from nclbench.leaks import leaks
from nclbench.problem import Problem, Relevance
from nclbench.results import Applied, Convergence
from nclbench.similarity.pairs import Bases

LARGEST_COSINE = 1.5
_FOLDS = "test-folds"


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
        f"fit:{operator.seen}",
        f"transductive:{'yes' if operator.transductive else 'no'}",
    ]
    parts += ["oracle:yes"] if oracle else []
    if convergence is not None:
        parts += [f"it:{convergence.iterations}", f"err:{convergence.marginal_error:.1e}"]
    return "|".join([*parts, dtype, f"v:{__version__}"])


@dataclass(frozen=True)
class Used:
    """An operator in a direction: its name, what it was fitted on, what it assumes; tempered: it has a temperature.

    folds: of how many its bank is all but one, 0 for none.
    """

    direction: str
    name: str
    fitted_on: str
    transductive: bool
    assumes: str = ""
    tempered: bool = False
    folds: int = 0


    @classmethod
    def of(cls, fit: Fit) -> "Used":
        return cls(
            "v2t" if fit.views.reverse else "t2v",
            fit.operator.name,
            fit.views.fitted_on,
            fit.views.transductive,
            getattr(fit.operator, "assumes", ""),
            "tau" in fit.params,
            fit.views.folds,
        )


def cautions(problem: Problem, used: Sequence[Used], largest: float) -> list[str]:
    """Notes on what evidence says can hurt. largest: a bound on |score|."""
    notes = []
    ready = ("queries", "items") in problem.scores
    tempered = any(each.tempered for each in used)
    if tempered and problem.logit_scale is None and largest > LARGEST_COSINE and (ready or problem.scorer != "cosine"):
        reach = f"scores reach {largest:.3g}" if ready else f"scores may reach {largest:.3g}"
        notes.append(
            f"{reach} and the input has no logit_scale: they look like logits, not cosines; "
            "tau is in units of the scores as loaded"
        )
    if tempered and problem.logit_scale is not None and ready and largest > LARGEST_COSINE:
        notes.append(
            f"scores reach {largest:.3g} and the input has logit_scale {problem.logit_scale:g}: if it is already in the "
            f"scores, the model's own temperature is tau=1, not {1 / problem.logit_scale:.3g}"
        )
    poor: dict[str, list[str]] = {}
    for direction, asking, gallery, bank, kind in (
        ("t2v", problem.queries, problem.items, problem.query_bank, "query-bank"),
        ("v2t", problem.items, problem.queries, problem.item_bank, "item-bank"),
    ):
        mine = [each for each in used if each.direction == direction]
        sizes = {kind: 0 if bank is None else len(bank)}
        folds = max((each.folds for each in mine), default=0)
        if folds:
            sizes[_FOLDS] = len(asking) - -(-len(asking) // folds)
        for name, size in sizes.items():
            small = [each.name for each in mine if any(seen.startswith(name) for seen in each.fitted_on.split("+"))]
            if small and size < len(gallery):
                text = (
                    f"{'the bank of a fold' if name == _FOLDS else 'the bank'} has {size} rows for a gallery of "
                    f"{len(gallery)}: what no bank row comes near is estimated poorly ({', '.join(dict.fromkeys(small))}); "
                    "give a larger bank"
                )
                poor.setdefault(text, []).append(direction)
    notes += [f"{', '.join(directions)}: {text}" for text, directions in poor.items()]
    if any("bank" in each.fitted_on for each in used):
        notes += leaks(problem)
    return notes if problem.relevance is None else [*notes, *_unequal(problem.relevance, problem, used)]


def _unequal(pairs: Relevance, problem: Problem, used: Sequence[Used]) -> Iterator[str]:
    """Galleries that are not asked for as operators on the test queries take them to be."""
    galleries = {"t2v": (pairs.item, len(problem.items)), "v2t": (pairs.query, len(problem.queries))}
    for direction, (wanted, size) in galleries.items():
        asked = np.bincount(wanted, minlength=size)
        mine = [each for each in used if each.direction == direction and each.transductive]
        if mine and asked.min() != asked.max():
            yield (
                f"{direction}: a gallery item is wanted {asked.min()} to {asked.max()} times, but an "
                "operator fitted on the test queries takes each as equally often asked for: it can hurt here, a query "
                "bank is the safe choice"
            )
        single = [each.name for each in mine if "one to one" in each.assumes]
        if single and asked.max() > 1:
            yield (
                f"{direction}: {', '.join(dict.fromkeys(single))} take each item as the answer to one query, and here it "
                f"is to up to {asked.max()}"
            )


def notes(problem: Problem, bases: Bases, rows: Sequence[Row], protocol: str) -> list[str]:
    """What is to be said of the rows, once each; protocol: what is to be said of v2t."""
    said: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        texts = [f"n/a, {row.first.unavailable}"] if row.first.unavailable else []
        for text in [*texts, *row.notes]:
            said.setdefault((row.first.spec, text), []).append("v2t" if row.reverse else "t2v")
    used = [Used.of(row.first) for row in rows if row.available]
    return [
        *(f"{', '.join(directions)} {spec}: {text}" for (spec, text), directions in said.items()),
        *(note for row in rows for note in row.first.views.bases.notes),
        *([protocol] if protocol and any(row.reverse for row in rows) else []),
        *cautions(problem, used, bases.base("queries", "items").largest),
    ]

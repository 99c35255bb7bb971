"""Sum retrieval probability: how much of the queries' attention each item gets, raw and under an operator.

p_j = sum_i softmax_j(S_ij / tau) (Park et al. 2022, section 3). It is defined for scores in units of similarity: raw ones,
ones of moved vectors, and ones with a bias an item; a term that all items of a query share changes no softmax.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from nclbench.fitting import Fit, Row
from nclbench.modality import gap
from nclbench.plan import SUMS
from nclbench.problem import Integers
from nclbench.ranking.ranks import Ranking
from nclbench.similarity.maps import column_bias
from nclbench.similarity.reducers import SoftmaxMass
from nclbench.similarity.view import Job, View, sweep
from nclbench.temperature import choose_tau

Floats = npt.NDArray[np.float64]
Values = tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False)
class Representation:
    """mass: (M,) p of the test queries. pairs: (P,) softmax_j(S_ij / tau) of the relevant pairs. tau: in score units.

    bank: (M,) p of the queries of the bank, and how many these are; None where the direction has none.
    gap: how far both sides lie apart, of raw scores.
    """

    mass: Floats
    pairs: Floats
    tau: float
    bank: tuple[Floats, int] | None = None
    gap: Mapping[str, float] = field(default_factory=dict)


def represent(
    found: Sequence[tuple[Row, Ranking | None]], tau: float | None, logit_scale: float | None, also: Sequence[Job] = ()
) -> tuple[list[Representation | None], list[str], list[Values]]:
    """One a ranking, those of the same scores in one pass over them, and notes. None where p is not defined.

    also: other jobs that join these passes; what they found comes last. All rows of a direction have one temperature: tau, else
    that of its first operator with one, else the model's own.
    """
    notes: list[str] = []
    taus = {}
    for reverse in {row.reverse for row, _ in found}:
        mine = [row.params.get("tau") for row, _ in found if row.reverse == reverse]
        named = [value for value in mine if isinstance(value, float)]
        chosen = next((t for t in [tau, *named] if t is not None), None)
        taus[reverse], more = choose_tau(chosen, logit_scale, "--tau")
        notes += [f"probability masses: {text}" for text in more]
    asked = [(row, [] if ranking is None else _views(row), _bank(row), taus[row.reverse]) for row, ranking in found]
    jobs: list[Job] = []
    for row, views, bank, at in asked:
        for view, fit in zip(views, row.fits, strict=False):
            jobs.append((view, SoftmaxMass(1 / at, _flat(view), _share(view, fit.rows))))
        if views and bank is not None:
            jobs.append((bank, SoftmaxMass(1 / at, _flat(bank), _share(bank, None))))
    every = _swept([*jobs, *also])
    values = iter(every)
    masses: list[Representation | None] = []
    for (row, views, bank, at), (_, ranking) in zip(asked, found, strict=True):
        if not views or ranking is None:
            masses.append(None)
            continue
        mass, pairs = _joined(views, row, [next(values) for _ in views], at, ranking)
        banked = None if bank is None else (next(values)[0].exp().cpu().numpy(), bank.shape[0])
        raw = row.first.spec == "none"
        masses.append(Representation(mass, pairs, at, banked, gap(row.first.views) if raw else {}))
    return masses, list(dict.fromkeys(notes)), every[len(jobs) :]


def _views(row: Row) -> list[View]:
    """The scores of each fold in units of similarity, empty where they are not."""
    maps = [fit.fitted.map for fit in row.fits if fit.fitted is not None]
    defined = bool(maps) and all(found is None or found.item_bias is not None for found in maps)
    return [in_units(fit, fit.seen) for fit in row.fits] if defined else []


def in_units(fit: Fit, view: View) -> View:
    """A view of the scores as similarities with a bias an item, without what all items of a query share."""
    assert fit.fitted is not None
    bias = None if fit.fitted.map is None else fit.fitted.map.item_bias
    return replace(view, map=None if bias is None else column_bias(bias))


def _bank(row: Row) -> View | None:
    """The scores of a bank of its own; folds are the test queries once more."""
    fit = row.first
    if fit.views.folds or fit.fitted is None or fit.fitted.moved is not None or not fit.views.has("query_bank", "items"):
        return None
    return in_units(fit, fit.views.view("query_bank", "items"))


def _flat(view: View) -> torch.Tensor:
    return torch.zeros(view.shape[1], dtype=SUMS, device=view.plan.device)


def _share(view: View, rows: Integers | None) -> torch.Tensor:
    """(N,) 1 for the queries of a fold (None: for all), 0 for others."""
    share = torch.zeros(view.shape[0], dtype=SUMS, device=view.plan.device)
    share[slice(None) if rows is None else view.plan.indices(rows)] = 1
    return share


def _swept(jobs: Sequence[Job]) -> list[Values]:
    """Rows must be whole, so a pass has one base and one direction; an operator that must see whole columns has its own."""
    passes: dict[tuple[int, bool, int | None], list[int]] = {}
    for number, (view, _) in enumerate(jobs):
        passes.setdefault((id(view.base), view.reverse, view.whole), []).append(number)
    values: dict[int, Values] = {}
    for numbers in passes.values():
        values |= dict(zip(numbers, sweep([jobs[number] for number in numbers]), strict=True))
    return [values[number] for number in range(len(jobs))]


def _joined(
    views: Sequence[View], row: Row, parts: Sequence[Values], tau: float, ranking: Ranking
) -> tuple[Floats, Floats]:
    """(M,) p over all folds, (P,) the probability of each relevant pair."""
    mass = torch.stack([log_mass.exp() for log_mass, _ in parts]).sum(0)
    pairs = np.zeros(len(ranking.query))
    for view, fit, (_, total) in zip(views, row.fits, parts, strict=True):
        mine = np.arange(len(pairs)) if fit.rows is None else np.flatnonzero(np.isin(ranking.query, fit.rows))
        query, item = view.plan.indices(ranking.query[mine]), view.plan.indices(ranking.item[mine])
        pairs[mine] = (view.exact(query, item) / tau - total[query]).exp().cpu().numpy()
    return mass.cpu().numpy(), pairs

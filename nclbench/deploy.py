"""A fitted operator outside of nclbench: a bias an item, vectors for any inner-product index, or the adjusted scores."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nclbench import __version__
from nclbench.errors import ConvergenceError, InputError, NotAvailable, UsageError, nearest
from nclbench.files import replacing, sha256
from nclbench.fitting import Fit, bases_of, fit_row
from nclbench.machine.threads import alone
from nclbench.operators import Fitted, parse_chain
from nclbench.operators.biases import SCHEMA, beside
from nclbench.plan import SCORES, SUMS, Plan, choose
from nclbench.problem import Embeddings, Floats, Problem
from nclbench.registry import show
from nclbench.stamps import Used, cautions, revision

KINDS = ("biases", "vectors", "scores")
DIRECTIONS = ("t2v", "v2t")
# what the scorer `dot` takes
_LONGEST = 1e15


def check(spec: str, kind: str) -> None:
    """Fails before anything is read where a spec cannot be understood, or can never be served in this way."""
    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}{nearest(kind, KINDS)}")
    _, operator = parse_chain(spec)
    why = getattr(operator, "unserved", "")
    if kind != "scores" and why:
        raise _refused(spec, kind, why)


@alone()
def fit(
    problem: Problem, spec: str, *, direction: str = "t2v", strict: bool = False, plan: Plan | None = None
) -> Fit:
    """The operator of a spec, fitted in one direction. UsageError, NotAvailable, ConvergenceError as for `evaluate`."""
    if direction not in DIRECTIONS:
        raise UsageError(f"unknown direction {direction!r}{nearest(direction, DIRECTIONS)}")
    scorer, operator = parse_chain(spec)
    reverse = direction == "v2t"
    bases = bases_of(problem, plan or choose(), reverse)
    if scorer is not None:
        bases = bases.scored(show(scorer))
    if strict and bases.degenerate:
        raise ConvergenceError(f"{bases.notes[0]}; add tokens, or use cosine")
    name = "+".join(show(part) for part in (scorer, operator) if part is not None)
    found = fit_row(name, operator, bases, reverse, strict).first
    if found.fitted is None:
        raise NotAvailable(f"{name}: {found.unavailable}")
    return found


def biases(fit: Fit) -> npt.NDArray[np.float64]:
    """(M,) what to add to the raw scores of each gallery item for the operator's order in every row."""
    bias = _bias(fit)
    if bias is None:
        raise _refused(fit.spec, "biases", _why(fit))
    return bias.cpu().numpy()


def vectors(fit: Fit) -> Problem:
    """The problem with vectors whose inner products rank as the operator does: gallery (M, D + 1), asking (N, D + 1).

    The last coordinate is the bias on one side and 1 on the other. An operator that moves items gives (M, D), (N, D).
    """
    problem, views, moved, bias = fit.views.problem, fit.views, _fitted(fit).moved, _bias(fit)
    if _fitted(fit).map is not None and bias is None:
        raise _refused(fit.spec, "vectors", _why(fit))
    if problem.scored_by.partition(":")[0] not in ("cosine", "dot"):
        raise _refused(fit.spec, "vectors", f"it needs embeddings and an inner product, and the scores are {problem.scored_by}")
    asking, gallery = views.vectors("queries"), views.vectors("items") if moved is None else moved
    if bias is not None:
        # the same number added to all items ranks nothing: float32 is finest where the largest is smallest
        bias = bias - (bias.amax() + bias.amin()) / 2
        if not float(bias.abs().max()) <= _LONGEST:
            raise InputError(f"{fit.spec}: biases up to {float(bias.abs().max()):.1e}; rescale the embeddings")
        gallery = torch.cat([gallery, bias[:, None].to(SCORES)], 1)
        asking = torch.cat([asking, asking.new_ones(len(asking), 1)], 1)
    queries, items = (asking, gallery) if not views.reverse else (gallery, asking)
    return replace(
        problem,
        queries=replace(problem.queries, vectors=queries.cpu().numpy(), tokens=None),
        items=replace(problem.items, vectors=items.cpu().numpy(), tokens=None),
        query_bank=None,
        item_bank=None,
        scores={},
        scorer="dot",
        model=_model(fit),
        fitted_on=_fitted_on(fit),
        adjusted_for=_adjusted_for(fit),
    )


def scored(fit: Fit, matrix: Floats) -> Problem:
    """The problem with a ready matrix (N, M) of adjusted scores, from `nclbench.sinks.adjusted`, for its embeddings and banks."""
    problem = fit.views.problem

    def bare(side: Embeddings) -> Embeddings:
        return replace(side, vectors=None, tokens=None)

    return replace(
        problem,
        queries=bare(problem.queries),
        items=bare(problem.items),
        query_bank=None,
        item_bank=None,
        scores={("queries", "items"): matrix},
        parts=(),
        each="",
        logit_scale=None,
        model=_model(fit),
        fitted_on=_fitted_on(fit),
        adjusted_for=_adjusted_for(fit),
    )


def manifest(fit: Fit) -> dict[str, Any]:
    """How it was made, as plain data for JSON."""
    problem, views, fitted = fit.views.problem, fit.views, _fitted(fit)
    asking, gallery = views.side("queries"), views.side("items")
    assert asking is not None and gallery is not None
    banks = {role: len(side) for role in ("query_bank", "item_bank") if (side := problem.role(role)) is not None}
    return {
        "schema": SCHEMA,
        "spec": fit.spec,
        "params": fit.params,
        "direction": "v2t" if views.reverse else "t2v",
        "scorer": problem.scored_by,
        "items": len(gallery),
        "queries": len(asking),
        "banks": banks,
        "fitted_on": views.fitted_on,
        "transductive": views.transductive,
        "convergence": None if fitted.convergence is None else asdict(fitted.convergence),
        "notes": [
            *fitted.notes,
            *views.bases.notes,
            *cautions(problem, [Used.of(fit)], views.bases.base("queries", "items").largest),
        ],
        "dataset": problem.dataset,
        "split": problem.split,
        "model": problem.model,
        "inputs": [{**asdict(entry), "shape": list(entry.shape)} for entry in problem.inputs],
        "nclbench": __version__,
        "git": revision(),
    }


def write_biases(fit: Fit, name: str | Path, more: Mapping[str, Any] | None = None) -> list[Path]:
    """Writes `NAME.npy` (M,) float64, `NAME.ids.json` and `NAME.json` with how they were made; whole or not at all.

    name: NAME.npy, or a folder, whose files are called biases. more: what to add to the JSON.
    """
    values = biases(fit)
    gallery = fit.views.side("items")
    assert gallery is not None
    paths = beside(name)
    # the digests in the JSON tell when files of two runs have been mixed
    with replacing(paths[0]) as numbers, replacing(paths[1]) as ids, replacing(paths[2]) as made:
        with numbers.open("wb") as stream:
            np.lib.format.write_array(stream, values.astype(np.float64), allow_pickle=False)
        ids.write_text(json.dumps(list(gallery.ids)), encoding="utf-8")
        digests = {"biases": sha256(numbers), "ids": sha256(ids)}
        text = json.dumps({**manifest(fit), **(more or {}), "sha256": digests}, indent=1, allow_nan=False)
        made.write_text(f"{text}\n", encoding="utf-8")
    return list(paths)


def _model(fit: Fit) -> str:
    return f"{fit.spec} of {fit.views.problem.model}"


def _adjusted_for(fit: Fit) -> str:
    """The direction of the operator; '' where nothing is changed."""
    fitted = _fitted(fit)
    if fitted.map is None and fitted.moved is None:
        return ""
    return "v2t" if fit.views.reverse else "t2v"


def _fitted_on(fit: Fit) -> str:
    """What has seen the test queries must say so wherever its rows are shown as plain scores."""
    return "" if fit.views.fitted_on == "nothing" else fit.views.fitted_on


def _fitted(fit: Fit) -> Fitted:
    assert fit.fitted is not None
    return fit.fitted


def _bias(fit: Fit) -> Tensor | None:
    """(M,) float64."""
    found = _fitted(fit).map
    return None if found is None or found.item_bias is None else found.item_bias.to(SUMS)


def _why(fit: Fit) -> str:
    if _fitted(fit).map is None and _fitted(fit).moved is None:
        return "it leaves the scores as they are, so there is nothing to add"
    if _fitted(fit).moved is not None:
        return "it moves the items themselves; they can be written as vectors"
    return str(getattr(fit.operator, "unserved", "it is more than one number added to all scores of an item"))


def _refused(spec: str, kind: str, why: str) -> NotAvailable:
    return NotAvailable(f"{spec} cannot be served as {kind}: {why}")

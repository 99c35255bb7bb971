"""A bank from another file: queries and items that are not under test, for operators to be fitted on."""

from dataclasses import replace

from nclbench.errors import InputError
from nclbench.problem import Embeddings, Problem
from nclbench.sources.assemble import Scores, inputs_of
from nclbench.sources.containers import Shelf
from nclbench.sources.reading import Paths, of_role, plan
from nclbench.sources.sides import collection, matrix
from nclbench.sources.source import Loaded, fetch


def with_bank(problem: Problem, bank: Paths, shelf: Shelf) -> Problem:
    """The problem with the banks of a file: its bank keys, else its sets (of the split `train`, if it has several).

    A file with one table is a query bank (B, D), or scores (B, M) of one where the problem has only scores.
    """
    reading = plan(bank, shelf, default="train")
    fields = {role: of_role(reading.sources, role) for role in ("query_bank", "item_bank")}
    if not any(fields.values()):
        fields = {
            "query_bank": of_role(reading.sources, "queries"),
            "item_bank": of_role(reading.sources, "items"),
        }
    tables = [key for key in reading.sources if key.role == "scores"]
    if not any({"embeddings", "tokens/values", "scores"} & set(keys) for keys in fields.values()) and tables:
        fields["query_bank"]["scores" if problem.queries.vectors is None else "embeddings"] = tables[0]
    keys = {str(key): reading.sources[key] for found in fields.values() for key in found.values()}
    loaded = fetch(keys, shelf)
    sides: dict[str, Embeddings] = {}
    scores = dict(problem.scores)
    for role, found in fields.items():
        given = {name: loaded[str(key)] for name, key in found.items()}
        if "scores" in given:
            sides[role] = _scored(problem, role, given, scores)
        elif "embeddings" in given or "tokens/values" in given:
            sides[role] = collection(role, given)
    if sides and ("queries", "items") in problem.scores and not any(set(pair) & set(sides) for pair in scores):
        raise InputError(
            f"{reading.name}: the bank holds embeddings, and the input is a ready score matrix; give the bank's scores "
            "against the items, or embeddings of the test"
        )
    if not sides:
        raise InputError(f"{reading.name}: no embeddings to use as a bank; give texts or items of another split")
    return replace(
        problem,
        query_bank=sides.get("query_bank", problem.query_bank),
        item_bank=sides.get("item_bank", problem.item_bank),
        scores=scores,
        inputs=problem.inputs + inputs_of(fields, loaded, shelf),
    )


def _scored(
    problem: Problem, role: str, given: dict[str, Loaded], scores: Scores
) -> Embeddings:
    values = matrix(given["scores"])
    pair = ("query_bank", "items") if role == "query_bank" else ("queries", "item_bank")
    axis = pair.index(role)
    other = problem.role(pair[1 - axis])
    assert other is not None
    if values.shape[1 - axis] != len(other):
        raise InputError(
            f"{given['scores'].origin}: shape {values.shape}, but there are {len(other)} {pair[1 - axis]}; "
            f"give {pair[0]} x {pair[1]}"
        )
    scores[pair] = values
    return collection(role, given, values.shape[axis], given["scores"].origin)

"""Several models' scores as one: the weighted sum in plain numpy, each part through an operator first if asked."""

from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest

from nclbench import Problem, evaluate, fuse, load
from nclbench.errors import InputError, UsageError
from nclbench.plan import Plan
from nclbench.sinks import save

SPECS = ["is:tau=0.1", "sinkhorn:tau=0.2,iters=3", "csls:k=3", "dis:tau=0.1", "gc", "ls:k=3"]


def models(**more: object) -> tuple[Problem, Problem]:
    """Two models of one test set, with banks of the same rows."""
    one, other = (factories.with_banks(seed=seed) for seed in (5, 5))
    draw = np.random.default_rng(9)
    sides = {
        role: replace(side, vectors=side.vectors + 0.8 * draw.normal(size=side.vectors.shape).astype(np.float32))
        for role in factories.ROLES
        if (side := other.role(role)) is not None and side.vectors is not None
    }
    return replace(one, model="one"), replace(other, model="other", **sides)


def added(parts: list[tuple[float, Problem]]) -> Problem:
    """The same as one score matrix, in plain numpy."""
    plain = [factories.as_scores(part) for _, part in parts]
    pairs = plain[0].scores.keys()
    scores = {
        pair: sum(weight * part.scores[pair] for (weight, _), part in zip(parts, plain, strict=True)) for pair in pairs
    }
    return replace(plain[0], scores=scores)


def integers(problem: Problem, specs: list[str], plan: Plan) -> dict[str, np.ndarray]:
    queries = evaluate(problem, specs, metrics=["R@1"], plan=plan).queries
    keys = [f"{d} {p} {s} {i}" for d, p, s, i in zip(*(queries[k] for k in ("direction", "protocol", "spec", "id")), strict=True)]
    return dict(zip(keys, zip(queries["above"], queries["tied"], strict=True), strict=True))


@pytest.mark.parametrize("plan", [Plan(), Plan(tile=(7, 5), memory=1)], ids=["kept", "streamed"])
def test_a_fusion_is_the_weighted_sum(plan: Plan) -> None:
    parts = [(0.73, models()[0]), (0.27, models()[1])]
    found = integers(fuse(parts), SPECS, plan)
    assert found == integers(added(parts), SPECS, Plan())
    assert len({key.split()[2] for key in found}) == len(SPECS) + 1


def test_each_part_goes_through_an_operator_first() -> None:
    one, other = models()
    parts = [(1.0, one), (1.0, other)]
    tau = 0.1
    fused = evaluate(fuse(parts, each=f"is:tau={tau}"), metrics=["R@1", "MnR"], direction="t2v")
    total = 0.0
    for part in (one, other):
        scores, bank = factories.defined(part), factories.defined(part, "query_bank", "items")
        total = total + scores - tau * np.log(np.exp(bank / tau).sum(axis=0))
    expected = evaluate(factories.of_scores(total, one.relevance), metrics=["R@1", "MnR"], direction="t2v")
    assert fused.queries["above"].tolist() == expected.queries["above"].tolist()
    (run,) = fused.runs
    assert run.operator.fitted_on == "query-bank" and not run.operator.transductive
    assert "scorer:fused(is:tau=0.1)" in run.signature and run.model == "is:tau=0.1 of 1 one + 1 other"


def test_parts_fitted_on_the_test_queries_make_every_row_transductive() -> None:
    fused = fuse([(1, models()[0]), (2, models()[1])], each="sinkhorn:tau=0.1,fit=test")
    runs = evaluate(fused, ["is:tau=0.1,fit=bank"], metrics="R@1").runs
    assert [run.operator.transductive for run in runs] == [True] * len(runs)
    assert {run.operator.fitted_on for run in runs if run.operator.name == "none"} == {"test-queries"}


def test_in_both_directions_and_under_folds() -> None:
    parts = [(0.5, models()[0]), (1.5, models()[1])]
    for folds in (0, 3):
        one, other = (
            evaluate(task, ["is:tau=0.1", "nnn:k=3"], folds=folds, metrics=["R@1", "MnR"])
            for task in (fuse(parts), added(parts))
        )
        assert [run.metrics for run in one.runs] == [run.metrics for run in other.runs]


def test_rows_belong_together_by_their_ids() -> None:
    one, other = models()
    draw = np.random.default_rng(1)
    mixed = factories.permuted(other, draw.permutation(len(other.queries)), draw.permutation(len(other.items)))
    want, got = (integers(fuse([(1, one), (1, part)]), SPECS[:2], Plan()) for part in (other, mixed))
    assert want == got


def test_several_captions_a_video() -> None:
    plain = factories.captions()
    draw = np.random.default_rng(3)
    noise = [replace(side, vectors=side.vectors + 0.1 * draw.normal(size=side.vectors.shape).astype(np.float32))
             for side in (plain.queries, plain.items)]
    parts = [(1.0, plain), (0.5, replace(plain, queries=noise[0], items=noise[1]))]
    assert integers(fuse(parts), SPECS[:3], Plan()) == integers(added(parts), SPECS[:3], Plan())


def test_what_does_not_belong_together_is_refused() -> None:
    one, other = models()
    with pytest.raises(UsageError, match="at least two parts"):
        fuse([(1, one)])
    with pytest.raises(UsageError, match="weight 0 of one"):
        fuse([(0, one), (1, other)])
    names = ("x", *other.queries.ids[1:])
    with pytest.raises(InputError, match="queries are not those of one .id 'q0' is missing"):
        fuse([(1, one), (1, replace(other, queries=replace(other.queries, ids=names)))])
    with pytest.raises(UsageError, match="only operators that are a bias"):
        evaluate(fuse([(1, one), (1, other)], each="gc"))


def test_from_files(tmp_path: Path) -> None:
    from test_cli import run

    paths = []
    for name, problem in zip(("a", "b"), models(), strict=True):
        paths.append(str(tmp_path / f"{name}.h5"))
        save(problem, paths[-1])
    fused = fuse([(0.73, load(paths[0])), (0.27, load(paths[1]))])
    expected = evaluate(fused, metrics="R@1").runs[0].metrics["R@1"].value
    arguments = ["eval", "--fuse", f"0.73={paths[0]}", "--fuse", f"0.27={paths[1]}", "-m", "R@1", "-f", "csv"]
    done = run(*arguments)
    assert done.returncode == 0 and f",{expected}" in done.stdout, done.stderr
    for bad, text in ((f"x={paths[0]}", "write WEIGHT=FILE"), (f"0={paths[0]}", "write WEIGHT=FILE")):
        done = run("eval", "--fuse", bad)
        assert done.returncode == 2 and text in done.stderr and done.stderr.count("\n") == 1
    assert "at least two parts" in run("eval", "--fuse", f"1={paths[0]}").stderr
    assert "--fuse-each needs --fuse" in run("eval", "--emb", paths[0], "--fuse-each", "is").stderr


def test_what_the_parts_had_seen_is_not_lost() -> None:
    one, other = models()
    seen = replace(other, fitted_on="test-queries")
    for parts in ([(1, one), (1, seen)], [(1, seen), (1, one)]):
        run = evaluate(fuse(parts), metrics="R@1").runs[0]
        assert run.operator.transductive and run.operator.fitted_on == "file(test-queries)"
    with pytest.raises(UsageError, match="is a fusion itself"):
        fuse([(1, one), (1, fuse([(1, one), (1, other)]))])


def test_banks_of_the_parts_are_not_called_folds() -> None:
    fused = fuse([(1, models()[0]), (1, models()[1])], each="is:tau=0.1,fit=bank")
    runs = {run.operator.spec: run for run in evaluate(fused, ["is:tau=0.1"], folds=3, direction="t2v").runs}
    assert runs["none"].operator.fitted_on == "query-bank"
    assert runs["is:tau=0.1"].operator.fitted_on == "query-bank+test-folds(3)"


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
def test_a_gallery_with_biases_is_not_compared_with_a_bank_without(direction: str) -> None:
    banks = {"query_bank": factories.hubs(30, 61, 13, seed=5).queries.vectors,
             "item_bank": factories.hubs(40, 61, 13, seed=6).queries.vectors}  # fmt: skip
    part = factories.hubs(**banks)
    specs = ["dbsn:tau=0.1", "dualis", "is:tau=0.1", "csls"]
    whole, each = (
        {run.operator.spec: run.operator.unavailable for run in evaluate(task, specs, direction=direction).runs}
        for task in (fuse([(1, part), (2, part)]), fuse([(1, part), (2, part)], "nnn:k=3"))
    )
    assert set(whole.values()) == {None}
    assert each["is:tau=0.1"] is None and each["csls"] is None
    assert "a bank that has none" in str(each["dbsn:tau=0.1"]) and "a bank that has none" in str(each["dualis"])

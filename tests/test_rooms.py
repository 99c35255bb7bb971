"""Scores are made in the place that is given, whatever lay there before, and nobody's array is written to."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import Matrix
from threadpoolctl import threadpool_info

from nclbench import deploy, fuse
from nclbench.machine import host
from nclbench.plan import Plan
from nclbench.problem import Relevance
from nclbench.similarity.bases import Embedded
from nclbench.similarity.compounds import Chosen
from nclbench.similarity.keeping import Kept
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn import precision, strips
from nclbench.sinkhorn.potentials import sinkhorn

N, M = 67, 45
KEPT, STREAMED = 1 << 30, 1


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large problems are done: a kernel in float32, of many strips."""
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    for name, value in {"ONE": 0, "STRIP": 400, "BLOCK": 90, "PART": 60}.items():
        monkeypatch.setattr(strips, name, value)


LAYOUTS: dict[str, Callable[[int, int, torch.dtype], torch.Tensor]] = {
    "plain": lambda n, m, kind: torch.full((n, m), torch.nan, dtype=kind),
    "part of something wider": lambda n, m, kind: torch.full((n + 2, m + 5), torch.nan, dtype=kind)[1:-1, 2 : m + 2],
    "turned": lambda n, m, kind: torch.full((m, n), torch.nan, dtype=kind).T,
    "part of something turned": lambda n, m, kind: torch.full((m + 3, n + 4), torch.nan, dtype=kind).T[1 : n + 1, 2 : m + 2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 7), (40, 1, 7), (33, 21, 64)], ids=str)
def test_a_product_fills_its_room_and_nothing_beside_it(shape: tuple[int, int, int], kind: torch.dtype, layout: str) -> None:
    n, m, d = shape
    draw = np.random.default_rng(0)
    left, right = (torch.from_numpy(draw.normal(size=(length, d))).to(kind) for length in (n, m))
    room = LAYOUTS[layout](n, m, kind)
    assert host.product(left, right, room) is room
    error = 1e-6 if kind == torch.float32 else 1e-14
    np.testing.assert_allclose(room.numpy(), left.double().numpy() @ right.double().numpy().T, rtol=0, atol=error * d)
    around = room if room._base is None else room._base
    assert int(around.isnan().sum()) == around.numel() - n * m


def test_a_room_of_another_precision_is_refused() -> None:
    some = torch.ones(3, 2)
    with pytest.raises(AssertionError):
        host.product(some, some, torch.empty(3, 3, dtype=torch.float64))


def stored() -> Matrix:
    """Scores that float16 holds exactly."""
    scores: Matrix = np.round(np.random.default_rng(1).normal(size=(N, M)) * 64) / 256
    return scores


def read_only(matrix: Matrix) -> Matrix:
    matrix.flags.writeable = False
    return matrix


def spread(matrix: Matrix) -> Matrix:
    found: Matrix = np.repeat(np.repeat(matrix, 2, 0), 3, 1)[::2, ::3]
    return found


ARRAYS: dict[str, Callable[[], Matrix]] = {
    "float32": lambda: stored().astype(np.float32),
    "float64": stored,
    "float16": lambda: stored().astype(np.float16),
    "read-only float32": lambda: read_only(stored().astype(np.float32)),
    "read-only float64": lambda: read_only(stored()),
    "by columns": lambda: np.asfortranarray(stored().astype(np.float32)),
    "with gaps": lambda: spread(stored().astype(np.float32)),
    "backwards": lambda: np.ascontiguousarray(stored().astype(np.float32)[::-1, ::-1])[::-1, ::-1],
    "foreign bytes": lambda: stored().astype(">f4"),
}


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("memory", [KEPT, STREAMED])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_fit_leaves_a_stored_matrix_as_it_is(name: str, reverse: bool, memory: int) -> None:
    array = ARRAYS[name]()
    task = factories.of_scores(array, Relevance.of_items(np.arange(N) % M))
    view = View(Bases(task, Plan(memory=memory)).base("queries", "items"), reverse)
    found = sinkhorn(view, 0.05, iters=3)
    np.testing.assert_array_equal(array.astype(np.float64), stored())
    logits = (stored().T if reverse else stored()) / 0.05
    bias = -np.log(np.exp(logits).sum(0))
    for _ in range(3):  # from the inverted softmax on: rows and columns in turn
        rows = np.log(np.exp(logits + bias).sum(1, keepdims=True))
        bias = -np.log(np.exp(logits - rows).sum(0))
    apart = found.bias.numpy() - bias
    np.testing.assert_allclose(apart - apart.mean(), 0, atol=2e-5)


@pytest.mark.usefixtures("single")
@pytest.mark.parametrize("reverse", [False, True])
def test_scores_that_others_read_are_not_made_exponentials(reverse: bool) -> None:
    task = factories.hubs(N, M, 14, 4)
    bases = Bases(task, Plan(memory=KEPT), keep=True)
    base: Any = bases.base("queries", "items")
    assert isinstance(base, Kept)
    sinkhorn(View(base), 0.05, iters=2)
    sinkhorn(View(base, reverse), 0.02, tol=1e-3)
    bases.fitted()
    everything = slice(0, N), slice(0, M)
    assert base.ready
    np.testing.assert_allclose(base.tile(*everything), base.fine(*everything), atol=1e-6)


class Slip(Exception):
    """Of a product in the middle of a strip."""


@pytest.mark.usefixtures("single")
def test_a_strip_that_was_not_finished_is_not_taken_for_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first, base = (Bases(factories.hubs(N, M, 14, 4), Plan(memory=KEPT), keep=True).base("queries", "items") for _ in range(2))
    wanted = sinkhorn(View(first), 0.05, iters=2)
    plain, left = Embedded.within, [3]

    def slips(self: Embedded, rows: Any, columns: Any, room: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        if not left[0]:
            room.fill_(torch.nan)
            raise Slip
        return plain(self, rows, columns, room)

    with monkeypatch.context() as patch:
        patch.setattr(Embedded, "within", slips)
        with pytest.raises(Slip):
            sinkhorn(View(base), 0.05, iters=2)
    assert torch.equal(sinkhorn(View(base), 0.05, iters=2).bias, wanted.bias)
    assert isinstance(base, Kept)
    base.close()
    everything = slice(0, N), slice(0, M)
    np.testing.assert_allclose(base.tile(*everything), base.fine(*everything), atol=1e-6)


def test_one_strip_asked_for_by_several_threads_is_made_in_one_place() -> None:
    base: Any = Bases(factories.hubs(N, M, 14, 4), Plan(memory=KEPT), keep=True).base("queries", "items")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: base.tile(slice(0, N), slice(0, M)).clone(), range(64)))
    assert all(torch.equal(each, found[0]) for each in found)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """How many threads numpy had at each product."""
    seen: set[int] = set()
    plain = host.product

    def watched(*given: torch.Tensor) -> torch.Tensor:
        seen.update(each["num_threads"] for each in threadpool_info() if "numpy" in each["filepath"])
        return plain(*given)

    monkeypatch.setattr(host, "product", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield seen
    torch.set_num_threads(before)


@pytest.mark.parametrize("spec", ["dissim:kind=local", "sinkhorn:tau=0.05", "csls:k=3"])
def test_what_is_deployed_is_fitted_by_as_many_threads_as_were_asked_for(spec: str, threads: set[int]) -> None:
    deploy.fit(factories.with_banks(), spec)
    assert threads == {1}


def test_two_models_beside_their_banks_are_made_in_one_room() -> None:
    """`dbsn` sees queries and their bank, and items and theirs, as one matrix; of a fusion each part is."""
    one = factories.with_banks()
    base: Any = Bases(one, Plan(memory=KEPT)).base("queries", "items")
    room = torch.full(base.shape, torch.nan)
    everything = slice(0, base.shape[0]), slice(0, base.shape[1])
    assert torch.equal(base.within(*everything, room), base.tile(*everything)) and not bool(room.isnan().any())
    both = fuse([(0.5, factories.hubs()), (0.5, factories.hubs())])
    view = View(Bases(both, Plan(memory=KEPT)).base("queries", "items"))
    found = view.strip(slice(3, 9), torch.empty(6, view.shape[1], dtype=torch.float64))
    np.testing.assert_allclose(found, view.look(torch.arange(3, 9)), atol=1e-12)
    some = torch.tensor([4, 1, 7])
    chosen = View(Chosen(view.base, some, None))
    for kind, error in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        found = chosen.strip(slice(0, 3), torch.empty(3, view.shape[1], dtype=kind))
        assert found.dtype == kind
        np.testing.assert_allclose(found, view.look(some), atol=error)

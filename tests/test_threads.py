"""Work shared by threads: whoever asks, in whatever mode, and what happens when something goes wrong."""

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import factories
import numpy as np
import pytest
import torch

from nclbench import evaluate
from nclbench.machine import blas, processes
from nclbench.machine.blas import single
from nclbench.machine.threads import alone, shared, workers
from nclbench.plan import SCORES, SUMS, Plan
from nclbench.ranking.ranks import Request, rank
from nclbench.similarity.bases import Stored
from nclbench.similarity.maps import TileMap
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn.potentials import sinkhorn
from nclbench.sinkhorn.strips import strips

SPECS = ["sinkhorn:tau=0.5,iters=2", "csls:k=3"]


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert workers() == 3
    torch.set_num_threads(before)


def figures(n: int = 1600) -> list[Any]:
    return [run.metrics for run in evaluate(factories.hubs(n, 1500, 13), SPECS, direction="t2v", metrics="MnR").runs]


def test_modes_of_the_calling_thread_change_nothing() -> None:
    wanted = figures()
    for mode in (torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.no_grad(), torch.enable_grad()):
        with mode:
            assert figures() == wanted


def limits() -> set[int]:
    """How many threads numpy's linear algebra has."""
    return {library.num_threads for library in blas._shared().lib_controllers}  # others may have been loaded since


def test_numpy_multiplies_alone_until_the_last_one_has_left() -> None:
    """Two callers: the one who is still within must not feel that the other has left, and in the end all is as before."""
    before = limits()
    first, second, left = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def one(within: Any) -> None:
        with within():
            first.set()
            second.wait(60)
        left.set()

    def other(within: Any) -> None:
        first.wait(60)
        with within():
            second.set()
            left.wait(60)
            seen.append(limits())

    for pair in ((alone, alone), (single, alone), (alone, single)):
        for event in (first, second, left):
            event.clear()
        both = [threading.Thread(target=work, args=(within,)) for work, within in zip((one, other), pair, strict=True)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(60)
        assert limits() == before
    assert seen == [{1}] * 3
    with pytest.raises(ValueError, match="within"), alone():
        raise ValueError("within")
    assert limits() == before and torch.get_num_threads() == 3


def test_a_fit_has_the_same_bits_beside_another_caller() -> None:
    """Of a size that numpy's linear algebra would share among threads of its own."""
    view = View(Bases(factories.hubs(900, 900, 14, 4, noise=2.0), Plan(memory=1 << 30)).base("queries", "items"))
    wanted = sinkhorn(view, 0.01, iters=10).bias
    stopped = threading.Event()

    def come_and_go() -> None:
        while not stopped.is_set():
            with alone():
                pass

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert all(torch.equal(sinkhorn(view, 0.01, iters=10).bias, wanted) for _ in range(6))
    finally:
        stopped.set()
        thread.join(60)


def test_a_caller_who_is_told_of_every_rounding_is_not_told_of_ours() -> None:
    view = View(Bases(factories.hubs(60, 50, 14, 4, noise=2.0), Plan(memory=1 << 30)).base("queries", "items"))
    with np.errstate(all="raise"):
        assert bool(sinkhorn(view, 0.002, iters=4, start="gallery").bias.isfinite().all())


def test_one_that_fails_stops_the_others() -> None:
    done = []

    def work(parts: Iterator[int]) -> None:
        for part in parts:
            done.append(part)
            if part == 4:
                raise ValueError("four")

    with pytest.raises(ValueError, match="four"):
        shared(work, range(100_000))
    assert 4 in done and len(done) < 100_000


def test_a_thread_multiplies_alone_and_so_with_the_same_bits() -> None:
    # a routine's own threads divide the rows otherwise, and few rows are then done by another routine
    draw = torch.Generator().manual_seed(1)
    tables = [(torch.randn(n, 14, generator=draw), torch.randn(45, 14, generator=draw)) for n in range(2, 40)]
    found = dict(sum(shared(lambda mine: [(n, tables[n][0] @ tables[n][1].T) for n in mine], range(len(tables))), []))
    torch.set_num_threads(1)
    assert all(torch.equal(found[n], a @ b.T) for n, (a, b) in enumerate(tables))
    torch.set_num_threads(3)


def _forked() -> None:
    torch.set_num_threads(2)
    assert sorted(sum(shared(list, range(50)), [])) == list(range(50))


def test_a_forked_process_has_threads_of_its_own() -> None:
    for _ in range(5):
        shared(list, range(50))
    child = multiprocessing.get_context("fork").Process(target=_forked)
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_processes_cut_alike_however_many_threads_each_has(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(tile=(50, 50))
    assert len(plan.cuts(200, 0, even=True)) == 7  # six pieces for three threads
    monkeypatch.setattr(processes, "world", lambda: 2)
    assert plan.cuts(200, 0, even=True) == [0, 50, 100, 150, 200]


def test_strips_are_whole_and_never_a_single_row_of_several() -> None:
    for n, m in ((5, 1_100_000), (1, 7), (2, 5_000_000), (5000, 5000), (1601, 1500), (100_000, 60_000)):
        cut = strips(n, m, Plan(), SCORES)
        assert [part.start for part in cut[1:]] == [part.stop for part in cut[:-1]]
        assert cut[0].start == 0 and cut[-1].stop == n
        assert n == 1 or min(part.stop - part.start for part in cut) > 1


def test_strips_are_for_several_threads_and_take_little_memory() -> None:
    for n, m in ((1023, 8192), (4096, 3000), (10_000, 10_000), (20_000, 20_000), (100_000, 2000), (100_000, 50_000)):
        for kind in (SCORES, SUMS):
            cut = strips(n, m, Plan(), kind)
            assert n < 4096 or len(cut) % 8 == 0
            assert (max(part.stop - part.start for part in cut) - 1) * m * kind.itemsize <= 32 << 20
    shared = {n: len(strips(n, n, Plan(), SCORES)) for n in (1500, 3000, 5000, 8192, 10_000, 12_000, 20_000)}
    assert shared == {1500: 2, 3000: 5, 5000: 8, 8192: 16, 10_000: 16, 12_000: 24, 20_000: 48}


def test_places_are_columns_where_adjusted_scores_overflow() -> None:
    scores = np.full((3, 40), -1.7e308)
    scores[:, :3] = 1.0
    twice = TileMap(lambda x, c: 2 * x - c, column=(torch.zeros(40, dtype=torch.float64),), slope=2.0)
    (found,) = rank([Request(View(Stored(scores, Plan()), map=twice), None, 10)])
    assert found.top is not None and (found.top >= 0).all()
    np.testing.assert_array_equal(found.top[:, :3], [[0, 1, 2]] * 3)


def test_equal_lines_are_found_behind_equal_beginnings() -> None:
    scores = np.zeros((300, 50), dtype=np.float32)
    scores[290] = np.arange(50) % 20
    first = Stored(scores, Plan()).alike(1).tolist()
    assert first == [column % 20 for column in range(50)]
    assert Stored(scores.T.copy(), Plan()).alike(0).tolist() == first

"""Scores that are kept between fits and ranking change no bit and no integer, and save products."""

from collections.abc import Iterator
from typing import Any

import factories
import numpy as np
import pytest
import torch

from nclbench import evaluate
from nclbench.machine import host
from nclbench.plan import Plan
from nclbench.similarity.bases import Embedded
from nclbench.similarity.keeping import Kept
from nclbench.similarity.pairs import Bases
from nclbench.sinkhorn import kernel, precision, strips

N, M = 67, 45
SIZE = 4 * N * M
BOTH, KERNEL, NOTHING = 2 * SIZE, SIZE, 1


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As large problems are done: scores and kernel in single precision, several strips and threads."""
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    for name, value in {"ONE": 0, "STRIP": 400, "BLOCK": 90, "PART": 60}.items():
        monkeypatch.setattr(strips, name, value)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Entries of every float32 product, as they are made."""
    made: list[int] = []
    plain = host.product

    def counted(left: torch.Tensor, right: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        if left.dtype == torch.float32:
            made.append(len(left) * len(right))
        return plain(left, right, *more)

    monkeypatch.setattr(host, "product", counted)
    return made


SPECS = (
    ["sinkhorn:tau=0.02,iters=5"],
    ["sinkhorn:tau=0.02"],
    ["dis:tau=0.02", "sinkhorn:tau=0.05,iters=3", "sinkhorn:tau=0.01,tol=1e-3"],
    ["dot+sinkhorn:tau=0.02,iters=2", "sinkhorn:tau=0.02,iters=2,start=query"],
)


@pytest.mark.parametrize("specs", SPECS, ids=str)
@pytest.mark.parametrize("tile", [(16, 64), (1024, 1024), (7, 11)])
def test_kept_scores_change_no_integer_and_no_bias(specs: list[str], tile: tuple[int, int]) -> None:
    task = factories.hubs(N, M, 14, 4, noise=2.0)
    found = [evaluate(task, specs, plan=Plan(memory=memory, tile=tile)) for memory in (BOTH, KERNEL, NOTHING)]
    for other in found[1:]:
        for name in ("above", "tied", "relevant"):
            assert other.queries[name].tolist() == found[0].queries[name].tolist()
        assert [list(row) for row in other.queries["top"]] == [list(row) for row in found[0].queries["top"]]
        np.testing.assert_array_equal(other.items["bias"], found[0].items["bias"])
        assert [run.metrics for run in other.runs] == [run.metrics for run in found[0].runs]


def test_both_directions_of_plain_iterates_and_all_ranks_cost_one_product(products: list[int]) -> None:
    task = factories.hubs(N, M, 14, 4, noise=2.0)
    sums = {}
    for memory in (BOTH, KERNEL, NOTHING):
        products.clear()
        evaluate(task, "sinkhorn:tau=0.02,iters=5", plan=Plan(memory=memory))
        sums[memory] = sum(products)
    # with room for the kernel alone, the ranking makes the scores again; streamed, a product a pass of both directions, and one
    # to scale
    assert (sums[BOTH], sums[KERNEL]) == (N * M, 2 * N * M)
    assert sums[NOTHING] == (1 + 7 + 1) * N * M


@pytest.mark.parametrize("span", [50.0, 1.0])
def test_a_direction_does_not_depend_on_what_the_other_left(span: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where weights may span little, the first direction takes its scalings into the kernel."""
    monkeypatch.setitem(precision.SPAN, torch.float32, span)
    task = factories.hubs(N, M, 14, 4, noise=2.0)
    for spec in ("sinkhorn:tau=0.01,iters=12", "sinkhorn:tau=0.01,tol=1e-2"):
        both = evaluate(task, spec, plan=Plan(memory=BOTH))
        alone = evaluate(task, spec, direction="v2t", plan=Plan(memory=BOTH))
        assert [run.metrics for run in both.runs if run.direction == "v2t"] == [run.metrics for run in alone.runs]
        mine = both.items["direction"] == "v2t"
        np.testing.assert_array_equal(both.items["bias"][mine], alone.items["bias"])


def test_a_kernel_that_has_taken_scalings_in_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    plain = kernel.Kernel.leave
    monkeypatch.setattr(kernel.Kernel, "leave", lambda self: (plain(self), left.append((self.taken, dict(self.scores.shelf)))))
    task = factories.hubs(N, M, 14, 4, noise=2.0)
    for span in (50.0, 1.0):
        monkeypatch.setitem(precision.SPAN, torch.float32, span)
        evaluate(task, "sinkhorn:tau=0.01,iters=12", direction="t2v", plan=Plan(memory=BOTH))
    (taken, shelf), (taken_in, empty) = left
    assert taken is None and list(shelf) == ["kernel"]
    assert taken_in is not None and not empty


def test_nothing_is_kept_for_ranks_alone(products: list[int]) -> None:
    bases = Bases(factories.hubs(N, M, 14, 4), Plan(memory=BOTH), keep=True)
    base: Any = bases.base("queries", "items")
    bases.fitted()
    everything = slice(0, N), slice(0, M)
    assert torch.equal(base.tile(*everything), base.tile(*everything)) and len(products) == 2


def test_a_fit_reads_a_strip_as_it_was_made_and_nothing_else() -> None:
    bases = Bases(factories.hubs(N, M, 14, 4), Plan(memory=BOTH), keep=True)
    base: Any = bases.base("queries", "items")
    assert isinstance(base, Kept) and isinstance(base.base, Embedded)
    calls: list[tuple[slice, slice]] = []
    base.base = Marked(base.base, calls)
    everything, strip, within = slice(0, M), slice(0, 20), slice(3, 9)
    first = base.tile(strip, everything)
    assert torch.equal(base.tile(strip, everything), first) and len(calls) == 1
    for rows, columns in ((within, everything), (strip, slice(0, 5)), (slice(0, 30), everything), (within, slice(4, 9))):
        before = len(calls)
        base.tile(rows, columns)
        assert len(calls) == before + 1
    bases.fitted()
    before = len(calls)
    assert torch.equal(base.tile(within, slice(4, 9)), first[3:9, 4:9]) and len(calls) == before
    base.tile(slice(18, 22), slice(4, 9))
    assert len(calls) == before + 1


class Marked:
    """A base that notes which tiles it is asked for."""

    def __init__(self, base: Any, calls: list[tuple[slice, slice]]) -> None:
        self._base, self._calls = base, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def tile(self, rows: Any, columns: Any) -> torch.Tensor:
        self._calls.append((rows, columns))
        made: torch.Tensor = self._base.tile(rows, columns)
        return made

    def within(self, rows: Any, columns: Any, room: torch.Tensor) -> torch.Tensor:
        self._calls.append((rows, columns))
        made: torch.Tensor = self._base.within(rows, columns, room)
        return made

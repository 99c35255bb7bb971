"""The same integers and potentials on a device as on a processor. Without a CUDA device the bodies run on the processor, with
the plan's switches as they are on a device, and the tests of the device itself are skipped."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
import torch
from factories import KEPT, LAWFUL, STREAMED

from nclbench import fused, kernel
from nclbench.graphs import Replayed
from nclbench.halves import Halves, growth, product
from nclbench.pairs import Bases
from nclbench.placed import Placed
from nclbench.plan import HALF, SUMS, Plan, choose
from nclbench.potentials import sinkhorn
from nclbench.similarity import View

ROOT = Path(__file__).parents[1]
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_card)]
SPECS = ["none", "csls:k=3", "is:tau=0.05", "sinkhorn:tau=0.1,iters=3", "sinkhorn:tau=0.05", "dis:tau=0.1,k=2", "gc"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan_of(device: str) -> Plan:
    """As the command line chooses it, with what a device has turned on."""
    return replace(choose(device), half=True, packed=True, tile=(64, 64))


@pytest.mark.parametrize("case", ["hubs", "repeated", "ties-dot", "captions", "banks", "tokens", "ties-scores-32"])
@pytest.mark.parametrize("device", DEVICES)
def test_integers_are_those_of_a_processor(device: str, case: str) -> None:
    problem = LAWFUL[case]()
    wanted = factories.integers(problem, SPECS, Plan(memory=KEPT))
    for memory in (KEPT, STREAMED):
        found = factories.integers(problem, SPECS, replace(plan_of(device), memory=memory))
        assert factories.differences(wanted, found) == []


@pytest.mark.parametrize("device", DEVICES)
def test_sums_of_products_stay_within_what_is_allowed(device: str) -> None:
    """Large products first and many small ones after, which sums that are cut off lose; then the other way round."""
    draw = torch.Generator().manual_seed(0)
    for width in (16, 512, 2048):
        left = torch.rand((64, width), generator=draw).to(HALF)
        left[:, 0] = 1024.0
        for side in (left, left.flip(1), -left):
            right = torch.rand((64, width), generator=draw).to(HALF)
            right[:, ::3] *= 1e-3
            exact = side.to(SUMS) @ right.to(SUMS).T
            size = side.to(SUMS).abs() @ right.to(SUMS).abs().T
            found = product(side.to(device), right.to(device)).cpu().to(SUMS)
            assert ((found - exact).abs() <= growth(width) * size).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("split", [False, True])
def test_the_bound_holds_on_the_device(device: str, split: bool) -> None:
    draw = torch.Generator().manual_seed(1)
    queries, items = (torch.randn((300, 512), generator=draw) for _ in range(2))
    found = Halves.of(queries.to(device), items.to(device), split)
    assert found is not None
    exact = queries.to(SUMS) @ items.to(SUMS).T
    off = (found.tile(slice(None), slice(None)).cpu().to(SUMS) - exact).abs().max()
    assert 0 < off <= found.error


@pytest.mark.parametrize("device", DEVICES)
def test_potentials_are_those_of_a_processor(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every way that a device has: kept, packed, streamed, split, fused; in float64 and in single precision."""
    task = factories.hubs(300, 200, 64, 4, noise=2.0)
    wanted = sinkhorn(View(Bases(task, Plan()).base("queries", "items")), 0.02, iters=6)
    plain = plan_of(device)
    for limit, room in ((1 << 22, 8), (0, 4), (0, 2), (0, 0)):
        monkeypatch.setattr(kernel, "EXACT", limit)
        monkeypatch.setattr(kernel, "LOPSIDED", limit)
        for plan in (plain, replace(plain, split=True), replace(plain, split=True, fused=True)):
            view = View(Bases(task, replace(plan, memory=max(1, room * 300 * 200))).base("queries", "items"))
            found = sinkhorn(view, 0.02, iters=6)
            off = (found.bias.cpu() - found.bias.cpu().mean() - wanted.bias + wanted.bias.mean()).abs().max()
            assert off <= found.error + 1e-10, found.path


@needs_card
def test_small_kernels_are_replayed_as_graphs() -> None:
    view = View(Bases(factories.hubs(300, 200, 64, 4), replace(choose("cuda"), memory=KEPT)).base("queries", "items"))
    found = Placed.of(view, 0.05, torch.full((300,), 1 / 300, dtype=SUMS, device="cuda"))
    assert found is not None
    first, again = (found.log_mass(torch.zeros(200, dtype=SUMS, device="cuda")) for _ in range(2))
    assert isinstance(found._replayed, Replayed) and found._replayed.captured and torch.equal(first, again)


@needs_card
@pytest.mark.skipif(not fused.compiled("cuda"), reason="triton is not installed")
@pytest.mark.parametrize("shape", [(1000, 700, 64), (130, 20_000, 512)], ids=str)
def test_triton_finds_what_torch_finds_on_a_card(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    n, m, d = shape
    draw = torch.Generator().manual_seed(2)
    left, right = (torch.nn.functional.normalize(torch.randn((size, d), generator=draw), dim=1).cuda() for size in (n, m))
    for split in (False, True):
        given = Halves.of(left, right, split)
        assert given is not None
        down, across = torch.full((n,), -50.0, device="cuda"), torch.zeros(m, device="cuda")
        over = torch.full((n,), 0.2, device="cuda")
        found = fused.exp_sums(given, 50.0, down, across), *fused.above(given, over, over - 0.05)
        with monkeypatch.context() as plain:
            plain.setattr(fused, "compiled", lambda device: False)
            wanted = fused.exp_sums(given, 50.0, down, across), *fused.above(given, over, over - 0.05)
        torch.testing.assert_close(found[0], wanted[0], rtol=2e-4, atol=0)
        # either order of summation may decide what lies at a bar
        assert (found[1] - wanted[1]).abs().sum() <= 1e-4 * n * m


def test_the_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "benchmarks" / "gpu.py", out, "--device", "cpu", "--quick"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    failed = {name: part["failed"] for name, part in found.items() if isinstance(part, dict) and "failed" in part}
    assert failed.keys() <= {"flash"} and "flash_sinkhorn" in failed.get("flash", "flash_sinkhorn")
    assert found["exact"]["wrong"] == found["large"]["wrong"] == 0 and found["exact"]["as_float32"] is True
    assert len(found["goals"]) == len(done.stdout.splitlines()) == 7
    assert {goal["goal"]: goal["met"] for goal in found["goals"]}["ranks exact"] is True
    assert found["limits"]["copy_gb_per_s"] > 0 and len(found["streamed"]["passes"]) == 7


def test_the_benchmark_would_see_a_wrong_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    plan = Plan()
    view = View(gpu.embedded(300, gpu.QUICK, plan))
    from nclbench.problem import Relevance
    from nclbench.ranking import Request, rank

    (ranking,) = rank([Request(view, Relevance.of_items(np.arange(300)))])
    rows = torch.arange(300)
    assert gpu.wrong_ranks(view, ranking, rows, plan) == 0
    ranking.above[7] += 1
    assert gpu.wrong_ranks(view, ranking, rows, plan) == 1

"""The same integers and potentials on a device as on a processor. Without a CUDA device the bodies run on the processor, with
the plan's switches as they are on a device, and on a device that is pretended (tests/card.py); the rest is skipped."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import card
import factories
import numpy as np
import pytest
import torch
from card import pretended
from factories import KEPT, LAWFUL, STREAMED

from nclbench import evaluate
from nclbench.machine.graphs import Replayed
from nclbench.plan import HALF, SUMS, Plan, choose
from nclbench.similarity import fused
from nclbench.similarity.halves import Halves, growth, product
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn import precision
from nclbench.sinkhorn.placed import Placed
from nclbench.sinkhorn.potentials import sinkhorn

ROOT = Path(__file__).parents[1]
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_card)]
PLACES = ["cpu", "pretended", pytest.param("cuda", marks=needs_card)]
SPECS = ["none", "csls:k=3", "is:tau=0.05", "sinkhorn:tau=0.1,iters=3", "sinkhorn:tau=0.1,tol=0.01", "dis:tau=0.1,k=2", "gc"]

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def plan_on(device: str) -> Iterator[Plan]:
    """As the command line chooses it, with what a device has turned on."""
    with pretended() if device == "pretended" else nullcontext(device) as place:
        chosen = choose("cpu" if place == card.NAME else place)
        yield replace(chosen, device=place, half=True, packed=True, tile=(64, 64))


@pytest.mark.parametrize("case", ["hubs", "captions", "tokens", "ties-scores-32"])
@pytest.mark.parametrize("device", PLACES)
def test_integers_are_those_of_a_processor(device: str, case: str) -> None:
    problem = LAWFUL[case]()
    wanted = factories.integers(problem, SPECS, Plan(memory=KEPT))
    for memory in (KEPT, STREAMED):
        with plan_on(device) as plan:
            found = factories.integers(problem, SPECS, replace(plan, memory=memory))
        assert factories.differences(wanted, found) == []


@pytest.mark.parametrize("device", PLACES)
def test_counts_without_tiles_are_those_of_a_processor(device: str) -> None:
    problem, specs = LAWFUL["repeated"](), ["none", "is:tau=0.05"]
    wanted = factories.integers(problem, specs, Plan(), top=0)
    with plan_on(device) as plan:
        found = factories.integers(problem, specs, replace(plan, fused=True), top=0)
    assert factories.differences(wanted, found) == []


@pytest.mark.parametrize("device", PLACES)
def test_every_operator_runs_there(device: str) -> None:
    specs = [spec for spec in factories.specs() if spec not in SPECS]
    wanted = factories.integers(LAWFUL["banks"](), specs, Plan(memory=KEPT))
    with plan_on(device) as plan:
        found = factories.integers(LAWFUL["banks"](), specs, replace(plan, memory=KEPT))
    assert factories.differences(wanted, found) == []


@pytest.mark.parametrize("device", PLACES)
@pytest.mark.parametrize("case", ["captions", "tokens-banks"])
def test_a_whole_run_is_that_of_a_processor(device: str, case: str) -> None:
    """With the columns of the hubness report, whose masses and hard negatives are sums and counts of their own."""
    specs = ["sinkhorn:tau=0.1,iters=3", "csls:k=3"]
    wanted = evaluate(LAWFUL[case](), specs, hubness=True, plan=Plan())
    with plan_on(device) as plan:
        found = evaluate(LAWFUL[case](), specs, hubness=True, plan=plan)
    for one, other in zip(wanted.runs, found.runs, strict=True):
        assert one.metrics == other.metrics
        for name, value in one.diagnostics.items():
            assert other.diagnostics[name]["value"] == pytest.approx(value["value"], rel=1e-6, nan_ok=True), name


def test_the_pretended_device_refuses_what_a_card_refuses() -> None:
    with pretended() as place:
        one = torch.arange(3.0, device=place)
        two = torch.tensor([1.0, 2.0, 4.0], device=place)
        assert (one + two).tolist() == [1, 3, 6] and float(two.max()) == 4 and two[two > 1].device.type == place
        assert type(one.cpu()) is torch.Tensor and one.cpu().numpy().tolist() == [0, 1, 2]
        one[1:] = 7
        assert one.tolist() == [0, 7, 7] and (one * torch.tensor(2.0)).tolist() == [0, 14, 14]
        with pytest.raises(RuntimeError, match="same device"):
            one + torch.ones(3)
        with pytest.raises(TypeError, match="host memory"):
            one.numpy()
        base = Bases(LAWFUL["hubs"](), Plan(device=place, half=True)).base("queries", "items")
        for made in (base.queries, base.tile(slice(0, 3), slice(0, 3)), base.rough(slice(0, 3), slice(0, 3)), base._half.left):
            assert isinstance(made, card.Elsewhere)


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


@pytest.mark.parametrize("device", PLACES)
def test_potentials_are_those_of_a_processor(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every way that a device has: kept, packed, streamed, split, fused; in float64 and in single precision."""
    task = factories.hubs(300, 200, 64, 4, noise=2.0)
    wanted = sinkhorn(View(Bases(task, Plan()).base("queries", "items")), 0.02, iters=6)
    paths = set()
    for limit, room in ((1 << 22, 8), (1 << 22, 0), (0, 4), (0, 2), (0, 0)):
        monkeypatch.setattr(precision, "EXACT", limit)
        monkeypatch.setattr(precision, "LOPSIDED", limit)
        for more in ({}, {"split": True}, {"split": True, "fused": True}):
            with plan_on(device) as plan:
                view = View(Bases(task, replace(plan, memory=max(1, room * 300 * 200), **more)).base("queries", "items"))
                found = sinkhorn(view, 0.02, iters=6)
                bias = found.bias.cpu()
            off = (bias - bias.mean() - wanted.bias + wanted.bias.mean()).abs().max()
            assert off <= found.error + 1e-10, found.path
            paths.add(found.path)
    assert paths >= {"kept kernel", "kept kernel, half", "streamed kernel"}
    assert ("streamed kernel, fused" in paths) == (device != "cpu")


@needs_card
def test_small_kernels_are_replayed_as_graphs() -> None:
    view = View(Bases(factories.hubs(300, 200, 64, 4), replace(choose("cuda"), memory=KEPT)).base("queries", "items"))
    found = Placed.of(view, 0.05, torch.full((300,), 1 / 300, dtype=SUMS, device="cuda"))
    assert found is not None
    first, again = (found.passed(torch.zeros(200, dtype=SUMS, device="cuda")).log_mass for _ in range(2))
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
        found = fused.exp_sums(given, 50.0, down, across), *fused.above(given, across, over, over - 0.05)
        with monkeypatch.context() as plain:
            plain.setattr(fused, "compiled", lambda device: False)
            wanted = fused.exp_sums(given, 50.0, down, across), *fused.above(given, across, over, over - 0.05)
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
    assert failed.keys() <= {"flash"}, failed
    assert found["exact"]["wrong"] == found["large"]["wrong"] == 0 and found["exact"]["as_float32"] is True
    assert len(found["goals"]) == len(done.stdout.splitlines()) == 7
    assert {goal["goal"]: goal["met"] for goal in found["goals"]}["ranks exact"] is True
    assert found["limits"]["copy_gb_per_s"] > 0 and len(found["streamed"]["passes"]) == 8


def test_the_benchmark_would_see_a_wrong_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    plan = Plan()
    view = View(gpu.embedded(300, gpu.QUICK, plan))
    from nclbench.problem import Relevance
    from nclbench.ranking.ranks import Request, rank

    (ranking,) = rank([Request(view, Relevance.of_items(np.arange(300)))])
    rows = torch.arange(300)
    assert gpu.wrong_ranks(view, ranking, rows, plan) == 0
    ranking.above[7] += 1
    assert gpu.wrong_ranks(view, ranking, rows, plan) == 1

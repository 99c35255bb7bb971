"""Fits on float16 operands and on kernels kept in float16: off on a processor, so the switches of the plan turn them on."""

from dataclasses import replace
from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import KEPT, STREAMED

from nclbench import evaluate
from nclbench.plan import HALF, Plan
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn import kernel, precision, strips
from nclbench.sinkhorn.potentials import sinkhorn
from nclbench.sinkhorn.precision import PACKED, ROUNDED
from nclbench.sinkhorn.tasks import Potentials

SPLIT = Plan(half=True, split=True)


@pytest.fixture(autouse=True)
def _single(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """As large problems are done: kernels in single precision, several strips and blocks."""
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    for name, value in {"ONE": 0, "STRIP": 2000, "BLOCK": 700, "PART": 200}.items():
        monkeypatch.setattr(strips, name, value)


def view(plan: Plan, reverse: bool = False, **more: Any) -> View:
    task = factories.hubs(120, 90, 64, 4, noise=2.0, **more)
    return View(Bases(task, plan).base("queries", "items"), reverse)


def exact(tau: float, monkeypatch: pytest.MonkeyPatch, reverse: bool = False, **more: Any) -> Potentials:
    with monkeypatch.context() as fine:
        fine.setattr(precision, "EXACT", 1 << 22)
        found = sinkhorn(view(Plan(), reverse), tau, **more)
        assert found.error == 0.0
        return found


def apart(a: Potentials, b: Potentials) -> float:
    one, other = (found.bias - found.bias.mean() for found in (a, b))
    return float((one - other).abs().max())


WAYS: list[dict[str, Any]] = [{"iters": 0}, {"iters": 4}, {"iters": 20, "start": "query"}, {"tol": 1e-3}]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("tau", [0.1, 0.02, 0.005])
def test_two_halves_fit_as_single_precision_does(tau: float, reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for way in WAYS[:3]:
        wanted = exact(tau, monkeypatch, reverse, **way)
        for memory in (KEPT, STREAMED):
            found = sinkhorn(view(replace(SPLIT, memory=memory), reverse), tau, **way)
            assert found.error == pytest.approx(ROUNDED * (precision.CUT / tau + 1 + way["iters"]), rel=1e-4)
            assert apart(found, wanted) <= found.error


def test_one_half_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranking's tiles are too rough for fits: their potentials are off by more than the stated error."""
    from nclbench.similarity.bases import Embedded

    wanted = exact(0.02, monkeypatch, iters=4)
    monkeypatch.setattr(Embedded, "tile", lambda self, rows, columns: self._half.tile(rows, columns))
    found = sinkhorn(view(replace(SPLIT, memory=STREAMED)), 0.02, iters=4)
    assert apart(found, wanted) > 5 * found.error


@pytest.mark.parametrize("tau", [0.1, 0.02, 0.005])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_kernel_in_float16_moves_potentials_by_no_more_than_it_says(
    tau: float, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 120 * 90 * 2
    for way in WAYS:
        wanted = exact(tau, monkeypatch, reverse, **way)
        found = sinkhorn(view(Plan(memory=room, packed=True), reverse), tau, **way)
        assert found.path == "kept kernel, half"
        assert found.error >= PACKED * (found.iterations + 1)
        if "tol" in way:  # both stop somewhere within the tolerance
            assert found.converged and wanted.converged
        else:
            off = apart(found, wanted)
            assert 1e-6 < off <= found.error, (off, way)


def test_only_what_fits_in_no_other_way_is_packed() -> None:
    size = 120 * 90
    for memory, packed, path in (
        (4 * size, True, "kept kernel"),
        (4 * size - 1, True, "kept kernel, half"),
        (2 * size, True, "kept kernel, half"),
        (2 * size - 1, True, "streamed kernel"),
        (4 * size - 1, False, "streamed kernel"),
    ):
        found = kernel.Kernel.of(view(Plan(memory=memory, packed=packed)), 0.05, torch.ones(120, dtype=torch.float64) / 120)
        assert found is not None and found.path == path
        kept = sum(strip.numel() * strip.element_size() for strip in found.kept.values())
        assert kept <= memory and (path == "streamed kernel") == (kept == 0)
        assert {strip.dtype for strip in found.kept.values()} <= {HALF if "half" in path else found.kind}


def test_faint_entries_keep_their_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed kernel is scaled anew sooner, before weights have grown so far apart that entries rounded to 0 matter."""
    room = 120 * 90 * 2

    def off() -> float:
        found = sinkhorn(view(Plan(memory=room, packed=True)), 0.012, iters=3)
        return apart(found, exact(0.012, monkeypatch, iters=3))

    honest = off()
    monkeypatch.setattr(precision, "SPAN", dict.fromkeys(precision.SPAN, 50.0))
    assert honest < PACKED < 0.1 < off()


def test_a_packed_kernel_is_seldom_scaled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masses of one in a thousand are no weights that have grown apart."""
    for name, value in {"STRIP": 1 << 18, "BLOCK": 1 << 17, "PART": 1 << 16}.items():
        monkeypatch.setattr(strips, name, value)
    scaled: list[int] = []
    whole = kernel.Kernel._scale
    monkeypatch.setattr(kernel.Kernel, "_scale", lambda *given: (scaled.append(1), whole(*given))[1])
    task = factories.hubs(1000, 1000, 64, 4, noise=2.0)
    for tau in (0.05, 0.02):
        scaled.clear()
        scores = View(Bases(task, Plan(memory=2 * 1000**2, packed=True)).base("queries", "items"))
        found = sinkhorn(scores, tau, iters=20)
        assert found.path == "kept kernel, half" and 1 <= len(scaled) <= 5
        with monkeypatch.context() as fine:
            fine.setattr(precision, "EXACT", 1 << 22)
            wanted = sinkhorn(View(Bases(task, Plan()).base("queries", "items")), tau, iters=20)
        assert wanted.error == 0.0 and apart(found, wanted) <= found.error


def test_a_device_out_of_memory_packs_and_then_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, packed = kernel.Kernel._finished, kernel.Kernel._pack
    plain = sinkhorn(view(Plan(memory=STREAMED)), 0.05, iters=2)

    def scarce(self: kernel.Kernel, logits: torch.Tensor) -> torch.Tensor:
        if self.keep and not self.packed:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, logits)

    monkeypatch.setattr(kernel.Kernel, "_finished", scarce)
    assert sinkhorn(view(Plan(memory=KEPT, packed=True)), 0.05, iters=2).path == "kept kernel, half"

    def scarcer(self: kernel.Kernel, rows: slice, room: torch.Tensor) -> torch.Tensor:
        if rows.start > 30:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return packed(self, rows, room)

    monkeypatch.setattr(kernel.Kernel, "_pack", scarcer)
    found = sinkhorn(view(Plan(memory=KEPT, packed=True)), 0.05, iters=2)
    assert found.path == "streamed kernel" and torch.equal(found.bias, plain.bias)


def test_ties_are_as_wide_as_a_packed_fit_says() -> None:
    """The error is in the tolerance, so that bounds over tie orders hold what float64 would have ranked."""
    task = factories.hubs(120, 90, 64, 4, noise=2.0)
    widths = []
    for plan in (Plan(memory=KEPT), Plan(memory=120 * 90 * 2, packed=True)):
        runs = evaluate(task, ["sinkhorn:tau=0.05,iters=4,fit=test"], direction="t2v", metrics="R@1", plan=plan).runs
        (run,) = [each for each in runs if each.operator.name == "sinkhorn"]
        widths.append(run.options["tie_tolerance"])
        assert run.convergence is not None
    assert widths[0] < 1e-5 and 2 * 0.05 * PACKED * 5 <= widths[1] < 3 * 0.05 * PACKED * 5
    assert run.convergence.path == "kept kernel, half"


def test_integers_do_not_depend_on_how_a_split_fit_is_tiled() -> None:
    task = factories.captions()
    specs = ["sinkhorn:tau=0.1,iters=3", "sinkhorn:tau=0.05,fit=test"]
    found = [
        factories.integers(task, specs, replace(SPLIT, tile=tile, memory=memory))
        for tile, memory in (((1024, 1024), KEPT), ((7, 5), STREAMED))
    ]
    assert factories.differences(*found) == []
    for one, other in zip(found[0].values(), found[1].values(), strict=True):
        np.testing.assert_allclose(one.bias, other.bias, rtol=0, atol=1e-12)

"""How passes go on a device, as far as a processor shows it: nothing waits, no shape depends on values, memory is reused."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import factories
import pytest
import torch
from factories import KEPT, STREAMED
from torch.utils._python_dispatch import TorchDispatchMode

from nclbench.machine.graphs import Replayed
from nclbench.plan import SUMS, Plan
from nclbench.similarity.pairs import Bases
from nclbench.similarity.view import View
from nclbench.sinkhorn import kernel, looks, placed, precision, strips
from nclbench.sinkhorn.kernel import Kernel
from nclbench.sinkhorn.placed import Placed
from nclbench.sinkhorn.potentials import sinkhorn

# what makes a processor wait for its device, or makes a shape of values
WAITING = {
    "_local_scalar_dense", "nonzero", "item", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "is_nonzero",
    "equal", "repeat_interleave",
}  # fmt: skip


class NoWaiting(TorchDispatchMode):
    """Refuses what a graph cannot hold, and notes what it can."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        places = [part for part in (kwargs or {}).values() if isinstance(part, torch.device)]
        if name in WAITING or (name == "_to_copy" and places) or (name == "index" and _by_mask(args)):
            raise AssertionError(f"{name} waits for the device")
        self.seen.append(name)
        return func(*args, **(kwargs or {}))


def _by_mask(args: Any) -> bool:
    return any(part is not None and not part.is_floating_point() and part.element_size() == 1 for part in args[1])


@pytest.fixture(autouse=True)
def _single(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    for name in ("EXACT", "LOPSIDED"):
        monkeypatch.setattr(precision, name, 0)
    for name, value in {"ONE": 0, "STRIP": 900, "BLOCK": 700, "PART": 200}.items():
        monkeypatch.setattr(strips, name, value)


def view(plan: Plan, reverse: bool = False) -> View:
    return View(Bases(factories.hubs(60, 45, 32, 4, noise=2.0), plan).base("queries", "items"), reverse)


def made(kind: type[Kernel], plan: Plan, tau: float = 0.05) -> Kernel:
    found = kind.of(view(plan), tau, torch.full((60,), 1 / 60, dtype=SUMS))
    assert found is not None and type(found) is kind
    return found


PLANS = {"kept": Plan(memory=KEPT), "packed": Plan(memory=60 * 45 * 2, packed=True)}


@pytest.mark.parametrize("name", PLANS)
def test_a_pass_waits_for_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device torch makes what numpy makes here; both forms of the pass are looked through."""
    found = made(Kernel, PLANS[name])
    assert len(found.strips) > 1
    bias = torch.linspace(-1, 1, 45, dtype=SUMS)
    plain = found._measured(bias)
    monkeypatch.setattr(kernel.host, "native", lambda values: values)
    with NoWaiting() as mode:
        again = found._measured(bias)
    assert mode.seen.count("mv") > 4
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PLANS)
def test_a_pass_knows_all_shapes_without_values(name: str) -> None:
    """On torch's device without memory any look at a value is an error."""
    found = made(Kernel, PLANS[name])
    shapes = [part.shape for part in found._measured(torch.zeros(45, dtype=SUMS))]
    for field in ("mass", "row", "column"):
        setattr(found, field, getattr(found, field).to("meta"))
    found.kept = {row: strip.to("meta") for row, strip in found.kept.items()}
    again = found._measured(torch.zeros(45, dtype=SUMS, device="meta"))
    assert [part.shape for part in again] == shapes and {part.device.type for part in again} == {"meta"}
    with pytest.raises((RuntimeError, NotImplementedError)):
        found.passed(torch.zeros(45, dtype=SUMS, device="meta"))


def test_the_check_sees_what_waits() -> None:
    values = torch.arange(4.0)
    for wait in (lambda: float(values.sum()), lambda: values[values > 1], lambda: values.nonzero(), lambda: bool(values.any()),
                 lambda: values.to("cpu", SUMS)):  # fmt: skip
        with pytest.raises(AssertionError, match="waits"), NoWaiting():
            wait()


def test_a_replayed_function_uses_the_same_memory() -> None:
    places = set()

    def work(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        places.add(x.data_ptr())
        return x * 2, x.sum()[None]

    given = torch.arange(5.0)
    replayed = Replayed(work, given)
    assert not replayed.captured
    first = replayed(given)
    second = replayed(given + 1)
    assert len(places) == 1 and given.data_ptr() not in places
    assert first[0].tolist() == [0, 2, 4, 6, 8] and second[0].tolist() == [2, 4, 6, 8, 10] and second[1].item() == 15


def test_a_graph_that_does_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one is that was captured on another device's stream; a capture that fails is done without, too."""

    class Recorded:
        def __init__(self, replay: Callable[[], None]) -> None:
            self.replay = replay

    replayed = Replayed(lambda x: (x * 2, x.exp()), torch.zeros(5))
    replayed._found = replayed._work(replayed._given)

    def again() -> None:
        for found, value in zip(replayed._found, replayed._work(replayed._given), strict=True):
            found.copy_(value)

    assert not replayed._holds(Recorded(lambda: None))  # type: ignore[arg-type]
    assert replayed._holds(Recorded(again))  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "device", lambda place: nullcontext())
    for recorded, kept in ((Recorded(again), True), (Recorded(lambda: None), False), (RuntimeError("capture failed"), False)):
        monkeypatch.setattr(Replayed, "_recorded", Mock(side_effect=[recorded]))
        assert (replayed._captured() is recorded) == kept


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("way", [{"iters": 5}, {"tol": 1e-4}, {"iters": 3, "start": "query"}], ids=str)
def test_replayed_passes_give_the_same_bits(way: dict[str, Any], reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a kernel is scaled anew in between, and where a second fit takes what the first left."""
    calls: list[int] = []
    whole = Replayed.__call__
    monkeypatch.setattr(Replayed, "__call__", lambda self, x: (calls.append(1), whole(self, x))[1])
    for plan in PLANS.values():
        for tau in (0.05, 0.004):
            calls.clear()
            plain = sinkhorn(view(plan, reverse), tau, **way)
            assert not calls
            with monkeypatch.context() as device:
                device.setattr(looks, "kernel_of", Placed.of)
                found = sinkhorn(view(plan, reverse), tau, **way)
            assert calls and torch.equal(found.bias, plain.bias) and found.path == plain.path


def test_large_kernels_are_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placed, "_SMALL", 60 * 45 - 1)
    found = made(Placed, PLANS["kept"])
    found.passed(torch.zeros(45, dtype=SUMS))
    assert found._replayed is None


# ---------------------------------------------------------------------------------------------------------- fused


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("tau", [0.1, 0.01, 0.002])
def test_fused_passes_make_the_same_potentials(tau: float, reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamed, with the plain form of the sums, to the stated error; tests/test_fused.py says Triton's is the same."""
    plan = Plan(memory=STREAMED, split=True, fused=True)
    for way in ({"iters": 0}, {"iters": 4}, {"iters": 15, "start": "query"}):
        plain = sinkhorn(view(Plan(memory=STREAMED), reverse), tau, **way)
        with monkeypatch.context() as device:
            device.setattr(looks, "kernel_of", Placed.of)
            found = sinkhorn(view(plan, reverse), tau, **way)
        assert found.path == "streamed kernel, fused" and plain.path == "streamed kernel"
        off = (found.bias - found.bias.mean() - plain.bias + plain.bias.mean()).abs().max()
        assert off <= found.error + plain.error


def test_passes_are_fused_where_they_are_asked_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for plan, path in (
        (Plan(memory=STREAMED, split=True, fused=True), "streamed kernel, fused"),
        (Plan(memory=KEPT, split=True, fused=True), "kept kernel"),
        (Plan(memory=STREAMED, half=True, fused=True), "streamed kernel"),
        (Plan(memory=STREAMED, split=True), "streamed kernel"),
    ):
        assert made(Placed, plan).path == path
    stored = Bases(factories.as_scores(factories.hubs(60, 45, 32, 4)), Plan(memory=STREAMED, split=True, fused=True))
    assert View(stored.base("queries", "items")).operands is None
    monkeypatch.setattr(precision, "EXACT", 1 << 22)
    assert made(Placed, Plan(memory=STREAMED, split=True, fused=True)).path == "streamed kernel"  # what is float64 stays so


def test_the_device_decides_which_kernel_it_is() -> None:
    found = placed.kernel_of(view(Plan(memory=KEPT)), 0.05, torch.full((60,), 1 / 60, dtype=SUMS))
    assert type(found) is Kernel

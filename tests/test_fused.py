"""Products used where they are made: Triton's kernels, run by its interpreter on a processor, beside the plain form in torch.

The interpreter must be asked for before triton is imported, so the tests of kernels run in a process of their own.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import factories
import pytest
import torch

from nclbench import evaluate
from nclbench.plan import SCORES, SUMS, Plan
from nclbench.ranking import unwritten
from nclbench.similarity import fused
from nclbench.similarity.halves import Halves
from nclbench.sinkhorn import precision

TESTS = Path(__file__).parent
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def operands(n: int, m: int, d: int, split: bool = False, seed: int = 0) -> Halves:
    draw = torch.Generator().manual_seed(seed)
    left, right = (torch.randn((size, d), generator=draw) for size in (n, m))
    left, right = (side / side.norm(dim=1, keepdim=True) for side in (left, right))
    right[-1] = right[0]
    found = Halves.of(left, right, split)
    assert found is not None
    return found


def biases(n: int, m: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return -10 * torch.rand(n, generator=draw, dtype=SUMS) - 3, -5 * torch.rand(m, generator=draw, dtype=SUMS)


def products(given: Halves) -> torch.Tensor:
    return given.left.to(SUMS) @ given.right.to(SUMS).T * given.scale


SHAPES = [(37, 70, 13), (16, 32, 16), (1, 65, 40), (50, 3, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_plain_form_is_what_it_says(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_SHARE", 32)
    monkeypatch.setattr(fused, "_PLAIN", 200)
    check(shape)


def check(shape: tuple[int, int, int]) -> None:
    """Either form: sums of both sides to float32's rounding, and exactly the entries above and near the bars."""
    n, m, _ = shape
    for split in (False, True):
        given = operands(*shape, split)
        x, (down, across) = products(given), biases(n, m)
        for turn in (False, True):
            one = given.turned() if turn else given
            seen, rows, columns = (x.T, across, down) if turn else (x, down, across)
            wanted = (20 * seen + rows[:, None] + columns).exp().sum(1)
            found = fused.exp_sums(one, 20.0, rows, columns)
            assert found.dtype == SUMS and found.shape == wanted.shape
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
        rough = given.tile(slice(None), slice(None))
        across = biases(n, m, 2)[1].to(SCORES)
        rough = rough + across
        over = rough.quantile(0.7, dim=1) + 1e-4
        under = over - 0.1
        sure, row, column = fused.above(given, across, over, under)
        # entries so close to a bar that another order of summation may decide
        edge = ((rough - over[:, None]).abs() < 1e-6).sum() + ((rough - under[:, None]).abs() < 1e-6).sum()
        assert edge == 0
        assert torch.equal(sure, (rough > over[:, None]).sum(1))
        between = ((rough >= under[:, None]) & (rough <= over[:, None])).nonzero()
        assert torch.equal(torch.stack([row, column], 1), between) and len(row)


def check_room() -> None:
    """More than there is room for at first; and infinite bars."""
    given = operands(20, 70, 8)
    low, high = torch.full((20,), -torch.inf, dtype=SCORES), torch.full((20,), torch.inf, dtype=SCORES)
    none = torch.zeros(70)
    sure, row, column = fused.above(given, none, high, low)
    assert not sure.any() and torch.equal(row * 70 + column, torch.arange(1400))
    sure, row, _ = fused.above(given, none, low, low)
    assert (sure == 70).all() and not len(row)


def interpreted(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import test_fused as t\nt.small()\n{code}"],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def small() -> None:
    """Several shares of columns, and little room, in the process that runs the kernels."""
    torch.set_num_threads(1)
    fused._SHARE, fused._ROOM, fused._PLACES = 48, 2, 1500
    assert fused.compiled("cpu")
    plain = fused._plain_exp_sums, fused._plain_above

    def never(*given: object) -> None:
        raise AssertionError(f"not by Triton: {plain}")

    fused._plain_exp_sums = fused._plain_above = never  # type: ignore[assignment]


@needs_triton
def test_triton_finds_what_torch_finds() -> None:
    assert "done" in interpreted("for shape in t.SHAPES: t.check(shape)\nt.check_room()\nprint('done')")


def test_the_plain_form_has_room() -> None:
    check_room()


def test_nothing_is_compiled_without_a_device() -> None:
    assert not fused.compiled("cpu")
    code = "import sys, nclbench.similarity.fused; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


COMPILE = """
import re, subprocess
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from nclbench.machine import epilogues
from nclbench.similarity import fused
both = dict(left="*fp16", right="*fp16")
sizes = dict(n="i32", m="i32", share="i32", scale="fp32")
sums = both | dict(down="*fp32", across="*fp32", out="*fp32") | sizes
counts = both | dict(across="*fp32", over="*fp32", under="*fp32", sure="*i32", found="*i32", hits="*i32", room="i32") | sizes
for kernel, given in ((epilogues.exponentials, sums), (epilogues.above, counts)):
    fixed = dict(zip(("ROWS", "COLUMNS", "DEEP"), epilogues.BLOCKS[kernel.__name__])) | {"width": 1536}
    types = given | dict.fromkeys(fixed, "constexpr")
    aligned = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(given.values()) if kind[0] == "*"}
    source = triton.compiler.ASTSource(fn=kernel, signature=types, constexprs=fixed, attrs=aligned)
    for card in (80, 90):
        made = triton.compile(source, target=GPUTarget("cuda", card, 32), options={"num_warps": fused._WARPS})
        lines = [line for line in made.asm["ptx"].splitlines() if "mma" in line and ".f16" in line]
        assert lines and all(".f32.f16.f16" in line for line in lines), (card, lines[:3])
        assert made.asm["cubin"] and made.metadata.shared < 160 << 10
        Path("made.cubin").write_bytes(made.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        used = subprocess.run([tool, "--dump-resource-usage", "made.cubin"], capture_output=True, text=True, check=True)
        print(card, re.search(r"STACK:(\\d+)", used.stdout)[1])
"""


@needs_triton
def test_the_kernels_compile_for_cards_and_add_in_float32(tmp_path: Path) -> None:
    """For Ampere and Hopper, as far as machine code, which takes no card; every multiplication adds to a float32.

    What a thread cannot keep in registers goes to its stack, which would be slow: nothing does on Hopper.
    """
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=env | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=600, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert [card for card, _ in found] == ["80", "90"] * 2
    assert all(spilt == "0" for card, spilt in found if card == "90"), "blocks are too large for the registers"


# ------------------------------------------------------------------------------------------------------- in a ranking


@pytest.mark.parametrize("tile", [(1024, 1024), (7, 5)], ids=str)
@pytest.mark.parametrize("case", ["hubs", "repeated", "ties-dot", "ties-cosine", "constant", "captions", "graded", "banks"])
def test_counts_without_tiles_are_those_with_them(case: str, tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pairs a row, ties, both directions, biases; what needs tiles gets them."""
    used: list[int] = []
    whole = unwritten.counted
    monkeypatch.setattr(unwritten, "counted", lambda *given: (used.append(1), whole(*given))[1])
    problem = factories.LAWFUL[case]()
    for specs, without in (["none"], True), (["none", "is:tau=0.05", "sinkhorn:tau=0.1,iters=3"], True), (["dsl:tau=0.1"], False):
        wanted = factories.integers(problem, specs, Plan(), top=0)
        assert not used
        found = factories.integers(problem, specs, Plan(tile=tile, half=True, fused=True), top=0)
        assert factories.differences(wanted, found) == []
        # the captions of a video are grouped for one protocol of v2t, and one pass serves all
        assert bool(used) == (without and case not in ("captions", "ties-cosine"))
        used.clear()


def test_a_whole_run_counts_without_tiles_unless_it_has_kept_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    whole = unwritten.counted
    monkeypatch.setattr(unwritten, "counted", lambda *given: (used.append(1), whole(*given))[1])
    for name in ("EXACT", "LOPSIDED"):  # float64 kernels leave no scores
        monkeypatch.setattr(precision, name, 0)
    problem, specs = factories.LAWFUL["hubs"](), ["none", "sinkhorn:tau=0.1,iters=3,fit=test"]
    for memory, without in ((factories.STREAMED, True), (factories.KEPT, False)):
        runs = [
            evaluate(problem, specs, direction="t2v", metrics=["MnR", "R@1"], details=False, plan=plan).runs
            for plan in (Plan(memory=memory), Plan(memory=memory, half=True, fused=True))
        ]
        assert [run.metrics for run in runs[0]] == [run.metrics for run in runs[1]]
        assert bool(used) == without, memory
        used.clear()


def test_counts_need_tiles_for_the_best_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwritten, "counted", lambda *given: pytest.fail("no tiles were made"))
    problem = factories.LAWFUL["hubs"]()
    for plan, top in ((Plan(half=True, fused=True), 5), (Plan(half=True), 0), (Plan(fused=True), 0)):
        assert factories.integers(problem, ["none"], plan, top=top)

"""The only place that decides device, dtypes, tile sizes, memory and which process does what.

Scores are float32 or better (half precision makes ties), sums are float64, counts are int64.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nclbench.compiled import worthwhile
from nclbench.errors import MissingError, UsageError
from nclbench.machine import processes
from nclbench.machine.memory import available, breadth, parse_bytes
from nclbench.machine.processes import gather
from nclbench.machine.threads import Found, Part, shared, workers

SCORES = torch.float32
# operands only, and kernels on devices: never scores
HALF = torch.float16
SUMS = torch.float64
COUNTS = torch.int64
# the bits of a score; columns, where many are kept
BITS = PLACES = torch.int32
FLAGS = torch.bool

# u in the standard error bound of a length-D dot product, |fl(a.b) - a.b| <= D u / (1 - D u) |a||b| (Higham 2002, 3.1)
SCORE_ROUNDOFF = float(torch.finfo(SCORES).eps) / 2
SUM_ROUNDOFF = float(torch.finfo(SUMS).eps) / 2

State = TypeVar("State")
Made = TypeVar("Made")


class Merging(Protocol[State]):
    """What `Plan.agree` needs of a reducer."""

    def merge(self, a: State, b: State) -> State: ...


def _silent(stage: str, done: float, total: float) -> None:
    pass

# with less than this to spend, no compiler is loaded
_ROOMY = 1 << 30
# a device is kept busy by a tile of so many rows and columns
_LARGE = (8192, 8192)


@dataclass(frozen=True)
class Plan:
    """Where and how to compute.

    tile: rows and columns of a tile of S (`similarity.grid` may take several). memory: bytes that may be spent on keeping S
    (None: a quarter of what is free, of a device three quarters). report: called with (stage, done, total) as work goes on.
    half: tiles whose answers are certified are made of float16 operands (`similarity.halves`). split: those of fits, too, of
    two float16 numbers an entry. packed: a kernel is kept in float16 where float32 does not fit. fused: what is made again
    at each pass is summed where it is made (`similarity.fused`).
    """

    device: str = "cpu"
    tile: tuple[int, int] = (1024, 1024)
    memory: int | None = None
    report: Callable[[str, float, float], None] = _silent
    half: bool = False
    split: bool = False
    packed: bool = False
    fused: bool = False

    @property
    def breadth(self) -> int:
        return breadth(self.device)

    @property
    def world(self) -> int:
        return processes.world()

    @property
    def rank(self) -> int:
        return processes.rank()

    def put(self, values: "npt.NDArray[Any] | Tensor", dtype: torch.dtype) -> Tensor:
        """The values on the plan's device. An array that already fits is not copied."""
        if isinstance(values, np.ndarray):
            if values.dtype.kind == "f" and not (values.dtype.isnative and values.dtype.itemsize <= 8):
                values = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
            usable = values.flags.writeable and all(step > 0 for step in values.strides)
            values = torch.from_numpy(values if usable else values.copy())
        return values.to(self.device, dtype)

    def indices(self, values: npt.NDArray[np.int64]) -> Tensor:
        return self.put(values, COUNTS)

    def keeps(self, size: int) -> bool:
        """Whether so many bytes, shared by all processes, may be kept.

        All processes must ask, and get the same answer: what is free can differ between them.
        """
        budget = self.memory if self.memory is not None else _spare_memory(self.device)
        room = torch.tensor([-(-size // self.world) <= budget], device=self.device)
        return int(self.total(room.to(COUNTS))) == self.world

    def compiles(self, scores: int) -> bool:
        """Whether so many scores are counted with compiled loops (`nclbench.compiled`), whose compiler needs room too."""
        tight = self.memory is not None and self.memory < _ROOMY
        return self.device == "cpu" and worthwhile(0 if tight else scores)

    def share(self, work: Callable[[Iterator[Part]], Found], parts: Sequence[Part]) -> list[Found]:
        """work(some of the parts) of each thread (`machine.threads`); on a device one thread asks for all. An attempt."""
        return self.attempt(lambda: shared(work, parts) if self.device == "cpu" else [work(iter(parts))])

    def attempt(self, work: Callable[[], Made]) -> Made:
        """What work gives; where a device of one process runs out of memory, OutOfMemoryError in all."""
        return processes.attempt(work, self.device)

    def tiles(self, starts: tuple[Sequence[int], Sequence[int]], along: int = 0) -> list[list[tuple[slice, slice]]]:
        """This process's strips of the grid cut at `starts`, tile by tile; strips along axis `along` are dealt in turn."""
        rows, columns = ([slice(a, b) for a, b in zip(cut[:-1], cut[1:], strict=True)] for cut in starts)
        if along == 0:
            return [[(strip, other) for other in columns] for strip in rows[self.rank :: self.world]]
        return [[(other, strip) for other in rows] for strip in columns[self.rank :: self.world]]

    def cuts(
        self, length: int, axis: int, allowed: Sequence[int] | None = None, size: int | None = None, even: bool = False
    ) -> list[int]:
        """Where to cut an axis of this length; only at `allowed` positions where those are given.

        even: as many pieces for each thread. Not among processes, whose grids must be the same.
        """
        step = size or self.tile[axis]
        if allowed is None:
            count = -(-length // step)
            if count > 1 and even and self.world == 1:
                count = min(-(-count // workers()) * workers(), length)
            return [length * number // count for number in range(count)] + [length]
        found = [0]
        for position, following in zip(allowed, [*allowed[1:], length], strict=True):
            if following - found[-1] > step and position > found[-1]:
                found.append(position)
        return [*found, length]

    def strip(self, width: int) -> int:
        """How many whole rows of this width make a strip for float64 work (about 8 MB, at most a tile's rows)."""
        return int(max(1, min(self.tile[0], (self.breadth << 20) // max(width, 1))))

    def agree(self, reducer: "Merging[tuple[Tensor, ...]]", state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Folds the states of all processes in rank order, so that all end with the same one."""
        if self.world == 1:
            return state
        parts = [gather(tensor) for tensor in state]
        total = tuple(part[0] for part in parts)
        for number in range(1, self.world):
            total = reducer.merge(total, tuple(part[number] for part in parts))
        return total

    def largest(self, values: Tensor) -> Tensor:
        """The largest over all processes, elementwise."""
        return values if self.world == 1 else torch.stack(gather(values)).amax(0)

    def heard(self, values: Tensor) -> list[Tensor]:
        """The tensor of every process, in rank order."""
        return [values] if self.world == 1 else gather(values)

    def log_total(self, values: Tensor) -> Tensor:
        """log of the sum of exponentials over all processes, elementwise."""
        return values if self.world == 1 else torch.stack(gather(values)).logsumexp(0)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, added in rank order."""
        first, *others = self.heard(values)
        return sum(others, start=first)


def choose(
    device: str = "auto",
    memory: str | int | None = None,
    threads: int | None = None,
    report: Callable[[str, float, float], None] = _silent,
) -> Plan:
    """A plan from what the user typed. device: auto | cpu | cuda[:i] | mps; memory such as `4G`."""
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads is {threads}; it must be at least 1")
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    chosen, budget = _device(device), parse_bytes(memory)
    if chosen == "cpu":
        return Plan(memory=budget, report=report)
    # sums of float16 products are float32 throughout, also where a product is shared out between parts of the device
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    if hasattr(torch.backends.cuda.matmul, "allow_fp16_accumulation"):
        torch.backends.cuda.matmul.allow_fp16_accumulation = False
    half = _multiplies_halves(chosen)
    return Plan(chosen, _LARGE, budget, report, half=half, packed=half)


def _multiplies_halves(device: str) -> bool:
    """Whether products of float16 operands can be had in float32: on CUDA alone, and not in every build of torch."""
    try:
        some = torch.tensor([[2048, 1, *[0] * 14]] * 16, dtype=HALF, device=device)  # 2049 is no float16
        return bool((torch.mm(some, torch.ones_like(some), out_dtype=SCORES) == 2049).all())
    except (RuntimeError, TypeError):
        return False


def _device(name: str) -> str:
    kind = name.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise MissingError("device cuda: no CUDA device can be used here; use --device cpu")
    if kind == "cuda":
        index = name.partition(":")[2] or "0"
        if not index.isdigit() or int(index) >= torch.cuda.device_count():
            raise MissingError(f"device {name}: there are {torch.cuda.device_count()} CUDA devices")
        if ":" in name:  # what libraries take for the present device is this one
            torch.cuda.set_device(int(index))
    if kind == "mps":
        raise MissingError("device mps: it has no float64, which the definition of a score needs; use --device cpu")
    return name


def _spare_memory(device: str) -> int:
    """A quarter of what is free, and three of a device, which others use less."""
    return 3 * (int(torch.cuda.mem_get_info(device)[0]) // 4) if device.startswith("cuda") else available() // 4


def describe(plan: Plan) -> dict[str, object]:
    """What stands in a result's `environment` about the machine."""
    device = torch.cuda.get_device_name(plan.device) if plan.device.startswith("cuda") else plan.device
    return {
        "torch": str(torch.__version__),
        "device": device,
        "dtype": str(SCORES).removeprefix("torch."),
        **({} if plan.device == "cpu" else {"products": "float16 where vectors allow, certified" if plan.half else "float32"}),
        "threads": torch.get_num_threads(),
        "processes": plan.world,
    }

"""One run of contests, and its document: figures, versions, the machine and what it can do at best."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from nclbench import __version__, compiled
from nclbench.bench.contests import Contest, Setting
from nclbench.bench.data import Data
from nclbench.bench.figures import Figure
from nclbench.bench.limits import gemms, machine, reading
from nclbench.bench.peers import versions
from nclbench.bench.timing import Variant, take_turns
from nclbench.plan import Plan, describe
from nclbench.stamps import revision

SCHEMA = "nclbench.bench/1"
# the temperature of fixed iterations, at which every peer is right, and of convergence; both of the goals
TAU, COLD, TOL = 0.02, 0.01, 1e-3
# of each entry of S, what variants hold at once, and of all at most
_BYTES, _MOST = 20, 2 << 30
Said = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Stage:
    """A contest and what came out."""

    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Report:
    """size, dim: of S and of the vectors. clock: cpu (of the process) or wall, what seconds are by.

    limits: GB/s, GFLOP/s and how. peers: versions, None if not installed.

    load: the machine's load average before and after.
    """

    size: int
    dim: int
    repeats: int
    clock: str
    environment: dict[str, Any]
    machine: dict[str, Any]
    limits: dict[str, Any]
    peers: dict[str, str | None]
    stages: tuple[Stage, ...]
    load: tuple[float | None, float | None]

    @property
    def missing(self) -> list[str]:
        """Peers that are not installed."""
        return [name for name, version in self.peers.items() if version is None]

    def to_json(self) -> dict[str, Any]:
        stages = [
            {"stage": stage.title, "figures": [_line(figure) for figure in stage.figures]} for stage in self.stages
        ]
        return {"schema": SCHEMA, **asdict(self), "not_installed": self.missing, "stages": stages}


def _line(figure: Figure) -> dict[str, Any]:
    """With the median of its rounds."""
    goal = None if figure.goal is None else {"is": figure.goal[0], "value": figure.goal[1], "met": figure.met}
    middle = {"median_seconds": median(figure.seconds) if figure.seconds else None}
    return {**asdict(figure), "goal": goal, **middle}


def run(
    size: int,
    dim: int,
    repeats: int,
    plan: Plan,
    threads: int,
    *,
    peers: bool = True,
    more: bool = False,
    chosen: Callable[[Setting], Sequence[Callable[[], Contest]]] | None = None,
    said: Said = lambda stage, done, total: None,
) -> Report:
    """Everything in turns on synthetic embeddings. plan: of ours, without a report. chosen: which contests, all if None.

    more: also the peers that are too slow, or too odd, for everybody.
    """
    before, clock = _load(), "cpu" if threads == 1 and plan.device == "cpu" else "wall"
    numba = compiled.load()  # some peers would do so in the middle of the run
    data = Data.make(size, dim, plan)
    said("limits", 0, 1)
    products, read = gemms(data, threads), reading(plan)
    gemm = next(iter(products.values()))
    setting = Setting(data, products, read, peers, more)
    stages, found = [], (chosen or everything)(setting)
    for number, make in enumerate(found):
        contest = make()

        def tell(name: str, number: int = number, title: str = contest.title) -> None:
            said(f"{title}: {name}", number, len(found))

        turns = take_turns(contest.variants, repeats, clock, tell, min(_MOST, _BYTES * data.elements))
        stages.append(Stage(contest.title, tuple(contest.judge(turns))))
    seconds = [min(take_turns([Variant("limit", call)], 3, clock).seconds["limit"]) for call in (gemm.call, read[1])]
    environment: dict[str, Any] = {"nclbench": __version__, "git": revision(), "numpy": np.__version__, "numba": numba}
    environment |= {**describe(plan), "threads": threads}
    return Report(
        size=size,
        dim=dim,
        repeats=repeats,
        clock=clock,
        environment=environment,
        machine=machine(plan),
        limits={
            "read_gb_per_s": read[0] / seconds[1] / 1e9,
            "gemm_gflop_per_s": gemm.flops / seconds[0] / 1e9,
            "gemm": gemm.how,
        },
        peers=versions(more) if peers else {},
        stages=tuple(stages),
        load=(before, _load()),
    )


def everything(setting: Setting) -> list[Callable[[], Contest]]:
    return [
        setting.embeddings,
        setting.matrix,
        setting.metrics,
        lambda: setting.fixed(TAU, 20),
        lambda: setting.streamed(TAU),
        lambda: setting.tolerance(COLD, TOL),
        lambda: setting.whole(COLD, 10),
    ]


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None

"""Others that do Sinkhorn: libraries, each imported only when it is run, and the loops of `nclbench.bench.loops`.

All get what they take (a cost, logits) made beforehand, and give the items' log-biases b in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nclbench.bench.data import Data
from nclbench.bench.limits import installed
from nclbench.bench.loops import exp_domain, log_domain, log_step
from nclbench.plan import SCORES, SUMS

# module -> the distributions that may bring it
LIBRARIES = {
    "ot": ("POT",),
    "ott": ("ott-jax",),
    "torchmetrics": ("torchmetrics",),
    "ranx": ("ranx",),
    "pytrec_eval": ("pytrec-eval-terrier", "pytrec_eval"),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12"),
}
MORE = {"geomloss": ("geomloss",)}


@dataclass(frozen=True)
class Task:
    """What is asked of Sinkhorn: so many iterations, or at most so many until the L1 marginal error is tol."""

    data: Data
    tau: float
    iterations: int
    tol: float | None = None


@dataclass(frozen=True)
class Answer:
    """bias: (M,) b in nats, up to a constant. iterations: how many were made."""

    bias: npt.NDArray[Any]
    iterations: int


@dataclass(frozen=True)
class Peer:
    """make(task) prepares, and gives what is timed. module: '' for what stands in `loops`.

    start, fewer: it gives the same as our iterates from this start, so many fewer. goal: how many times faster we must
    be. slow: entries of S beyond which, and extra: that, only benchmarks/ run it. same: whether it does the same iteration.
    """

    name: str
    module: str
    make: Callable[[Task], Callable[[], Answer]]
    goal: float | None
    start: str = "query"
    fewer: int = 0
    slow: float = math.inf
    extra: bool = False
    same: bool = True


def versions(more: bool = False) -> dict[str, str | None]:
    """Each peer library's version, None where it is not installed."""
    names = LIBRARIES | (MORE if more else {})
    found = {}
    for module, distributions in names.items():
        version = installed(*distributions)
        found[distributions[0]] = (version or "unknown") if find_spec(module) is not None else None
    return found


def importable(module: str) -> bool:
    return not module or find_spec(module) is not None


def _logits(task: Task, kind: torch.dtype = SCORES) -> torch.Tensor:
    return task.data.plan.put(task.data.scores, kind) / task.tau


def _log_domain(task: Task, compiled: bool = False) -> Callable[[], Answer]:
    logits = _logits(task)
    step: Any = torch.compile(log_step) if compiled else log_step

    def call() -> Answer:
        bias, done = log_domain(logits, task.iterations, task.tol, step)
        return Answer(bias.cpu().numpy(), done)

    return call


def _exp_domain(task: Task, kind: torch.dtype = SCORES) -> Callable[[], Answer]:
    logits = _logits(task, kind)

    def call() -> Answer:
        bias, done = exp_domain(logits, task.iterations, task.tol)
        return Answer(bias.cpu().numpy(), done)

    return call


def _pot(task: Task, kind: Any, log: bool = False) -> Callable[[], Answer]:
    """Stops on the 2-norm of the marginal error, hence tol / sqrt(M)."""
    ot = import_module("ot")
    n, m = task.data.shape
    cost = (1 - task.data.scores).astype(kind)
    rows, columns = np.full(n, 1 / n, kind), np.full(m, 1 / m, kind)
    run = ot.bregman.sinkhorn_log if log else partial(ot.sinkhorn, method="sinkhorn")
    threshold = 0.0 if task.tol is None else task.tol / math.sqrt(m)

    def call() -> Answer:
        _, said = run(
            rows, columns, cost, task.tau, numItermax=task.iterations, stopThr=threshold, log=True, warn=False
        )
        done = int(said["niter"]) + 1
        bias = said["log_v"] if log else np.log(said["v"])
        if not np.isfinite(bias).all() or (task.tol is None and done < task.iterations):
            raise ArithmeticError(f"gave up after {done} iterations")
        return Answer(bias, done)

    return call


def _ott(task: Task, anderson: int = 0) -> Callable[[], Answer]:
    jax = import_module("jax")
    geometry = import_module("ott.geometry.geometry")
    problem = import_module("ott.problems.linear.linear_problem")
    solver = import_module("ott.solvers.linear.sinkhorn")
    count = task.iterations
    stops = {"threshold": -1.0, "min_iterations": count, "max_iterations": count, "inner_iterations": count}
    if task.tol is not None:
        stops = {"threshold": task.tol, "max_iterations": count, "inner_iterations": 5}
    if anderson:
        faster = import_module("ott.solvers.linear.acceleration").AndersonAcceleration
        stops["anderson"] = faster(memory=anderson, refresh_every=1)
    solve = solver.Sinkhorn(lse_mode=True, **stops)
    cost = jax.numpy.asarray(1 - task.data.scores)

    def solved(cost: Any) -> Any:
        return solve(problem.LinearProblem(geometry.Geometry(cost_matrix=cost, epsilon=task.tau)))

    run = jax.jit(solved)

    def call() -> Answer:
        found = run(cost)
        bias = np.asarray(found.g) / task.tau
        if task.tol is not None and not bool(found.converged):
            raise ArithmeticError(f"no convergence in {count} iterations")
        return Answer(bias, int(found.n_iters))

    return call


def _geomloss(task: Task) -> Callable[[], Answer]:
    """From embeddings, annealed; of unit vectors |x - y|^2 / 2 is 1 - cos, so blur^2 = tau."""
    samples = import_module("geomloss").SamplesLoss
    queries, items = (task.data.plan.put(side, SCORES) for side in (task.data.queries, task.data.items))
    scaling, diameter = 0.8, 2.0
    # its schedule of temperatures, a first and a last step
    steps = 4 + math.ceil(math.log(diameter / math.sqrt(task.tau)) / -math.log(scaling))
    loss = samples(
        "sinkhorn", p=2, blur=math.sqrt(task.tau), scaling=scaling, diameter=diameter,
        debias=False, potentials=True, backend="tensorized",
    )  # fmt: skip

    def call() -> Answer:
        with torch.no_grad():
            _, potential = loss(queries, items)
        return Answer(potential.cpu().numpy().reshape(-1) / task.tau, steps)

    return call


_POT: Any = {"module": "ot", "start": "gallery", "fewer": 1}
_OTT: Any = {"module": "ott", "start": "gallery", "fewer": 1}

# goals: benchmarks at 5000 x 5000, 20 iterations
FIXED = (
    Peer("torch loop, log domain", "", _log_domain, 15),
    Peer("torch loop, exp domain (unstable)", "", _exp_domain, 1.3, start="gallery"),
    Peer("torch loop, exp domain, float64", "", partial(_exp_domain, kind=SUMS), None, start="gallery", extra=True),
    Peer("torch.compile, log domain", "", partial(_log_domain, compiled=True), 2, extra=True),
    Peer("POT sinkhorn, float64", make=partial(_pot, kind=np.float64), goal=5, **_POT),
    Peer("POT sinkhorn, float32", make=partial(_pot, kind=np.float32), goal=None, **_POT),
    Peer("POT sinkhorn_log, float32", make=partial(_pot, kind=np.float32, log=True), goal=18, slow=26e6, **_POT),
    Peer("ott-jax, lse mode", make=_ott, goal=4, **_OTT),
    Peer("geomloss, tensorized, an iteration", "geomloss", _geomloss, None, extra=True, same=False),
)

# the same to a tolerance: those that can, with the goals of 2000 x 2000 and more
TOLERANT = (
    Peer("torch loop, log domain", "", _log_domain, 40, slow=5e6),
    Peer("torch loop, exp domain (unstable)", "", _exp_domain, 2.5, start="gallery"),
    Peer("POT sinkhorn, float64", "ot", partial(_pot, kind=np.float64), 15),
    Peer("ott-jax, lse mode", "ott", _ott, 25),
    Peer("ott-jax, lse mode, its Anderson (5)", "ott", partial(_ott, anderson=5), 8),
)

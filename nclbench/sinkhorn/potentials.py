"""Sinkhorn's potentials: one number an item that makes the items' summed retrieval probabilities right.

With L = S / tau, find b so that p_j = sum_i r_i softmax_j(L_ij + b_j) equals the target c_j (r and c sum to one):
alternate row and column normalisation of exp(L) (Sinkhorn & Knopp 1967; Cuturi 2013, algorithm 1).

Both directions ask of the same scores, and each has what the other needs: plain iterates share their looks at the kernel, and a
solution to a tolerance is one of both. So where both will be asked for, both are found at once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nclbench.machine.threads import alone
from nclbench.plan import SUMS
from nclbench.similarity.interfaces import Scores
from nclbench.similarity.keeping import BOTH
from nclbench.sinkhorn import iterates
from nclbench.sinkhorn.balance import Balance
from nclbench.sinkhorn.looks import looks_at
from nclbench.sinkhorn.tasks import Potentials, Task, shares

_LEFT = "potentials"  # where on a shelf


def sinkhorn(
    scores: Scores,
    tau: float,
    *,
    start: str = "gallery",
    iters: int | None = None,
    tol: float = 1e-4,
    max_iters: int = 1000,
    row_mass: Tensor | None = None,
    column_mass: Tensor | None = None,
    precision: str = "auto",
) -> Potentials:
    """Runs until mean |p/c - 1| <= tol, or exactly `iters` times.

    With iters these are the plain iterates, the items normalised last. start="gallery": one half-step on the items
    (inverted softmax), then (queries, items) in turn, as UCoFiA does; start="query": b = 0, then (queries, items) in
    turn, as POT and DBSN do. With tol they are accelerated (`nclbench.sinkhorn.balance`), and start does not matter.
    row_mass (N,), column_mass (M,): positive; uniform where None. Any scale: they are normalised to sum to one.
    precision: of the kernel, single | double | auto: double up to 2^22 scores, and up to 2^28 where one side is twice the other.
    """
    n, m = scores.shape
    r, c = shares(row_mass, n, scores.plan), shares(column_mass, m, scores.plan)
    task = Task(scores, tau, start, iters, tol, max_iters, r, c, precision)
    with alone():
        return _left(task) or _found(task)


def _left(task: Task) -> Potentials | None:
    """What the other direction has left for this one."""
    left: list[tuple[Task, Potentials]] = (task.scores.shelf or {}).get(_LEFT, [])
    return next((answer for asked, answer in left if asked.same(task)), None)


def _found(task: Task) -> Potentials:
    other, shelf = task.turned(), task.scores.shelf
    turned = _turned(task)
    # t2v is asked first: if it has left nothing, it looked elsewhere, at a bank
    both = shelf is not None and BOTH in shelf and not task.scores.reverse and turned != _turned(other)
    home = other if turned else task
    found = (_balanced if task.iters is None else _iterated)(home, [turned, not turned] if both else [turned])
    if shelf is not None and len(found) > 1:
        shelf.setdefault(_LEFT, []).append((other, found[1]))
    return found[0]


def _turned(task: Task) -> bool:
    """Whether a task is solved as that of the other direction.

    What is accelerated depends on where it is begun, so that the choice must come out the same if files are exchanged.
    """
    (n, m), plan = task.scores.shape, task.scores.plan
    if task.iters is not None:
        return task.scores.reverse
    if n != m:
        return m > n
    # the same in every process, whose last bits may differ
    return float(plan.largest(torch.tensor([task.scores.lean], dtype=SUMS, device=plan.device))) > 0


def _iterated(home: Task, wanted: list[bool]) -> list[Potentials]:
    """For home's rows where wanted, else for its columns. Of several only the first, if they cannot be found together."""
    looks = looks_at(home)

    def steps(turned: bool, report: Callable[[int], None]) -> iterates.Steps:
        return (iterates.mirrored if turned else iterates.direct)(home, looks, report)

    first, others = steps(wanted[0], home.report), [steps(turned, _silent) for turned in wanted[1:]]
    found = iterates.in_step([first, *others], looks) if others else [iterates.alone(first, looks)]
    if len(found) < 2:  # both have what they need
        looks.leave()
    return found


def _balanced(home: Task, wanted: list[bool]) -> list[Potentials]:
    looks = looks_at(home)
    balance = Balance(home, looks)
    found = {turned: balance.mirrored() if turned else balance.direct() for turned in sorted(wanted)}
    if len(found) < 2:
        looks.leave()
    return [found[turned] for turned in wanted]


def _silent(done: int) -> None:
    pass

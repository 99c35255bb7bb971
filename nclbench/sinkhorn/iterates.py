"""Plain iterates of Sinkhorn: each asks for a pass and is told what it gave, so that both directions can share their looks.

A pass takes biases of the columns to the sums of the rows and on to the columns' masses. What is asked of the columns are these
biases; the same half-steps begun on the other side give the rows theirs, which is the task of the other direction.
"""

from collections.abc import Callable, Generator, Sequence

import torch
from torch import Tensor

from nclbench.sinkhorn.looks import Looks
from nclbench.sinkhorn.passes import Ask, Drawn, Pass
from nclbench.sinkhorn.tasks import Potentials, Task

Steps = Generator[Ask, Pass, Potentials]


def direct(home: Task, looks: Looks, report: Callable[[int], None]) -> Steps:
    """The biases of the columns."""
    target, twins, iters = home.target, home.twins if looks.rounded else None, home.limit
    bias = torch.zeros_like(target)
    if home.start == "gallery":
        bias = target - levelled((yield Drawn(home.rows)).log_mass, twins)
    for done in range(iters + 1):
        log_mass = levelled((yield bias).log_mass, twins, bias)
        report(done)
        if done < iters:
            bias = bias + target - log_mass
    error = home.error(log_mass - target)
    return Potentials(bias, (log_mass - target).exp(), iters, error, error <= home.tol, looks.path, looks.error(iters))


def mirrored(home: Task, looks: Looks, report: Callable[[int], None]) -> Steps:
    """Those of the rows: the items of the other direction."""
    target, iters = home.target, home.limit
    bias, done = target, 0
    if home.start == "query":
        bias, done = target - (yield Drawn(torch.ones_like(home.rows))).log_mass, 1
    sums = None  # b = 0, where nothing is normalised
    for step in range(done, iters + 1):
        report(step)
        found = yield bias
        if step == iters:
            sums = found.sums()
        bias = bias + target - found.log_mass
    return asked_of_rows(home, looks, sums, (yield bias).sums(), iters)


def asked_of_rows(home: Task, looks: Looks, sums: Tensor | None, following: Tensor, steps: int) -> Potentials:
    """The biases of the rows under which they sum to r; sums, following: (N,) those that are divided by, and one step later.

    What comes later tells the masses. None: nothing was divided by yet, and all biases are 0.
    """
    twins, target = home.turned().twins if looks.rounded else None, home.rows.log()
    bias = torch.zeros_like(target) if sums is None else target - levelled(sums, twins)
    log_mass = bias - (target - levelled(following, twins))
    error = home.error(log_mass)
    return Potentials(bias, log_mass.exp(), steps, error, error <= home.tol, looks.path, looks.error(steps))


def levelled(values: Tensor, twins: Tensor | None, bias: Tensor | None = None) -> Tensor:
    """(M,) with the mean of equal items for each of them: single precision may round equal columns apart, which must tie.

    bias: (M,) what equal items may differ by, as their targets do.
    """
    if twins is None:
        return values
    if bias is not None:
        return bias + levelled(values - bias, twins)
    total = torch.zeros_like(values).index_add_(0, twins, values)
    count = torch.zeros_like(values).index_add_(0, twins, torch.ones_like(values))
    return (total / count)[twins]


def alone(steps: Steps, looks: Looks, ask: Ask | None = None) -> Potentials:
    """What the steps come to, each pass by itself. ask: the one that they wait for, None at the beginning."""
    if ask is None:
        ask = next(steps)
    while True:
        try:
            ask = steps.send(looks.passed(ask))
        except StopIteration as end:
            return _answer(end)


def in_step(several: Sequence[Steps], looks: Looks) -> list[Potentials]:
    """What each comes to, to the same bits as alone; of the first only, where a pass must be made alone."""
    asked = {number: next(steps) for number, steps in enumerate(several)}
    answers: dict[int, Potentials] = {}
    while asked:
        found = looks.together(list(asked.values()))
        if found is None:
            return [answers[0] if 0 in answers else alone(several[0], looks, asked[0])]
        for number, given in zip(list(asked), found, strict=True):
            try:
                asked[number] = several[number].send(given)
            except StopIteration as end:
                answers[number] = _answer(end)
                del asked[number]
    return [answers[number] for number in range(len(several))]


def _answer(end: StopIteration) -> Potentials:
    answer = end.value
    assert isinstance(answer, Potentials)
    return answer

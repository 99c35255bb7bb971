"""Plain iterates of Sinkhorn: each asks for a pass and is told what it gave, so that both directions can share their looks.

A pass takes biases of the columns to the sums of the rows and on to the columns' masses. What is asked of the columns are these
biases; the same half-steps begun on the other side give the rows theirs, which is the task of the other direction.
"""

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from nclbench.sinkhorn.looks import Looks
from nclbench.sinkhorn.passes import Ask, Drawn, Pass
from nclbench.sinkhorn.tasks import Potentials, Task, levelled

Steps = Generator[Ask, Pass, Potentials]


def direct(home: Task, looks: Looks) -> Steps:
    """The biases of the columns."""
    target, twins, iters = home.target, home.scores.alike if looks.rounded else None, home.limit
    bias = torch.zeros_like(target)
    if home.start == "gallery":
        bias = levelled(target - (yield Drawn(home.rows)).log_mass, twins)
    for done in range(iters + 1):
        log_mass = levelled((yield bias).log_mass, twins)
        error = home.error(log_mass - target)
        home.report(done)
        if done < iters:
            bias = bias + target - log_mass
    return Potentials(bias, (log_mass - target).exp(), iters, error, error <= home.tol, looks.path, looks.error(iters))


def mirrored(home: Task, looks: Looks) -> Steps:
    """Those of the rows: the items of the other direction."""
    target, iters = home.target, home.limit
    bias, done = target, 0
    if home.start == "query":
        bias, done = target - (yield Drawn(torch.ones_like(home.rows))).log_mass, 1
    if done > iters:  # b = 0, and nothing is normalised
        return asked_of_rows(home, looks, torch.zeros_like(home.rows), home.rows.log() - (yield bias).sums(), iters)
    for step in range(done, iters + 1):
        home.report(step)
        found = yield bias
        if step == iters:
            answer = home.rows.log() - found.sums()
        bias = bias + target - found.log_mass
    return asked_of_rows(home, looks, answer, home.rows.log() - (yield bias).sums(), iters)


def asked_of_rows(home: Task, looks: Looks, answer: Tensor, following: Tensor, steps: int) -> Potentials:
    """answer, following: (N,) biases of the rows, and those after one more step, which tell the masses under them."""
    twins = home.turned().scores.alike if looks.rounded else None
    log_mass, bias = levelled(answer - following, twins), levelled(answer, twins)
    error = home.error(log_mass)
    return Potentials(bias, log_mass.exp(), steps, error, error <= home.tol, looks.path, looks.error(steps))


def alone(steps: Steps, looks: Looks) -> Potentials:
    """What the steps come to, each pass by itself."""
    ask = next(steps)
    while True:
        try:
            ask = steps.send(looks.passed(ask))
        except StopIteration as end:
            return _answer(end)


def in_step(several: Sequence[Steps], looks: Looks) -> list[Potentials] | None:
    """What each comes to, to the same bits as alone; None where a pass must be made alone."""
    asked = {number: next(steps) for number, steps in enumerate(several)}
    answers: dict[int, Potentials] = {}
    while asked:
        found = looks.together(list(asked.values()))
        if found is None:
            return None
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

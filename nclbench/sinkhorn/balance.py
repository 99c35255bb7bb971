"""Sinkhorn to a tolerance: accelerated on the shorter side's biases, from which those of the other side are a half-step away."""

import math

from torch import Tensor

from nclbench.sinkhorn.anderson import Anderson
from nclbench.sinkhorn.iterates import asked_of_rows, levelled
from nclbench.sinkhorn.looks import Looks
from nclbench.sinkhorn.passes import Pass
from nclbench.sinkhorn.tasks import Potentials, Task

# how many steps the acceleration mixes: more where many will be needed
_DEPTH, _DEEP, _STRICT = 8, 20, 1e-5
# steps without a better error before history is dropped, and, after as many again, before it is given up
_PATIENCE = 60


class Balance:
    """home: (N, M) with M the shorter side. What is asked first is had first; both have the same bits as each alone."""

    def __init__(self, home: Task, looks: Looks) -> None:
        self._home, self._looks, self._target = home, looks, home.target
        # single precision may round equal columns apart, and what is equal must tie
        self._twins = home.twins if looks.rounded else None
        self._bias, self._done = levelled(looks.scaling, self._twins), 0
        self._faster = Anderson(len(self._target), _DEEP if home.tol <= _STRICT else _DEPTH, home.scores.plan.device)
        self._best, self._best_at = math.inf, 0
        self._last: tuple[Pass, Tensor, float] | None = None

    def direct(self) -> Potentials:
        """The biases of the columns. To be asked before `mirrored`."""
        home, (_, log_mass, error) = self._home, self._until(self._home.tol)
        mass, looks = (log_mass - self._target).exp(), self._looks
        return Potentials(self._bias, mass, self._done, error, error <= home.tol, looks.path, looks.error(self._done))

    def mirrored(self) -> Potentials:
        """The biases of the rows, whose masses are as near to right; if not, the columns' are brought nearer first."""
        home, goal = self._home, self._home.tol
        while True:
            found, log_mass, error = self._until(goal)
            sums, following = found.sums(), self._looks.passed(self._bias + self._target - log_mass).sums()
            potentials = asked_of_rows(home, self._looks, sums, following, self._done)
            if potentials.converged or error > goal or error == 0:
                return potentials
            goal, self._last = min(goal, error) / 2, None

    def _until(self, goal: float) -> tuple[Pass, Tensor, float]:
        """The pass under the present biases, the columns' log masses, and their error, which is at most the goal if that goes."""
        home = self._home
        while True:
            found, log_mass, error = self._last or self._passed()
            home.report(self._done)
            if self._done == home.limit or error <= goal:
                break
            if error < 0.98 * self._best:
                self._best, self._best_at = error, self._done
            waited = self._done - self._best_at
            if waited > 2 * _PATIENCE and self._looks.rounded:
                break  # a kernel in single precision has an error below which nothing goes
            if waited == _PATIENCE:
                self._faster.forget()
            self._bias = self._faster.step(self._bias, self._bias + self._target - log_mass)
            self._done, self._last = self._done + 1, None
        self._last = found, log_mass, error
        return self._last

    def _passed(self) -> tuple[Pass, Tensor, float]:
        found = self._looks.passed(self._bias)
        log_mass = levelled(found.log_mass, self._twins, self._bias)
        return found, log_mass, self._home.error(log_mass - self._target)

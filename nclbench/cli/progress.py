"""Progress on stderr: a bar with an estimate on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

import typer

_PATIENCE = 1.0
_EVERY = 30.0


class Progress:
    """Called with (stage, done, total). Says nothing in the first second of a stage. rates: says how many a second, too.

    A bar that is there stays there: through stages of less than a second it only says that there is work going on.
    """

    def __init__(self, wanted: bool = True, rates: bool = False) -> None:
        self._wanted, self._rates = wanted, rates
        # of every stage: when it began, how much there was then, and both of its last call
        self._seen: dict[str, tuple[float, float, float, float]] = {}
        self._terminal = sys.stderr.isatty()
        self._stage, self._began, self._last = "", 0.0, time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._shown: str | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        began, first, _, _ = self._seen.get(stage, (now, done, now, done))
        self._seen[stage] = (began, first, now, done)
        if not self._wanted:
            return
        if stage != self._stage or done <= 0:
            self._stage, self._began = stage, now
        if self._terminal:
            if now - self._began >= _PATIENCE:
                self._draw(stage, done, total)
            elif self._shown and (stage != self._shown or done <= 0):
                self._show("", None)
        elif now - self._last >= _EVERY:
            self._last = now
            rate = f", {self._rate(stage)}" if self._rates else ""
            typer.echo(f"{stage}: {100 * done / max(total, 1):.0f} % after {now - self._began:.0f} s{rate}", err=True)

    def rates(self) -> dict[str, float]:
        """How much a second of every stage in which something was done."""
        return {stage: (b - a) / (t - s) for stage, (s, a, t, b) in self._seen.items() if b > a and t > s}

    def _rate(self, stage: str) -> str:
        return f"{self.rates().get(stage, 0):.3g}/s"

    def _draw(self, stage: str, done: float, total: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            rate = (TextColumn("{task.fields[rate]}"),) if self._rates else ()
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *rate, TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if self._shown != stage:
            self._show(stage, total)
        self._bar.update(self._task, completed=done, rate=self._rate(stage))

    def _show(self, stage: str, total: float | None) -> None:
        """A line of its own for this stage, in the place of the last; without a total it only moves."""
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._shown, self._task = stage, self._bar.add_task(stage or "working", total=total, rate="")

"""Progress on stderr: a bar with an estimate on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

import typer

_PATIENCE = 1.0
_EVERY = 30.0


class Progress:
    """Called with (stage, done, total). Says nothing in the first second of a stage."""

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted
        self._terminal = sys.stderr.isatty()
        self._stage, self._began, self._last = "", 0.0, 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: float, total: float) -> None:
        if not self._wanted:
            return
        now = time.monotonic()
        if stage != self._stage or done <= 0:
            self._stage, self._began, self._last = stage, now, now
            self._task = None
        if now - self._began < _PATIENCE:
            return
        if self._terminal:
            self._draw(stage, done, total)
        elif now - self._last >= _EVERY:
            self._last = now
            typer.echo(f"{stage}: {100 * done / max(total, 1):.0f} % after {now - self._began:.0f} s", err=True)

    def _draw(self, stage: str, done: float, total: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if self._task is None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._task = self._bar.add_task(stage, total=total)
        self._bar.update(self._task, completed=done)

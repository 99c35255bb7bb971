"""The bar on a terminal and the lines elsewhere."""

from typing import Any

import pytest

from nclbench.cli import progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


class Screen:
    """Stands for stderr, as a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def told(bar: Any) -> tuple[str, float | None, float]:
    (task,) = bar._bar.tasks
    return task.description, task.total, task.completed


def test_a_bar_neither_flickers_nor_stops_in_short_stages(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.sys, "stderr", Screen(True))
    with progress.Progress() as shown:
        shown("scores", 0, 10)
        clock.now += 0.5
        shown("scores", 5, 10)
        assert shown._bar is None  # what is soon over has no bar
        clock.now += 1
        shown("scores", 8, 10)
        assert told(shown) == ("scores", 10, 8)
        lines = set()
        for _ in range(20):
            for stage in ("sinkhorn", "scores"):
                shown(stage, 0, 10)
                clock.now += 0.1
                shown(stage, 10, 10)
                assert told(shown) == ("working", None, 0)
                lines.add(shown._task)
        assert len(lines) == 1  # drawn once, and left there
        clock.now += 2
        shown("scores", 4, 10)
        assert told(shown) == ("scores", 10, 4)


def test_lines_come_at_intervals_however_short_the_stages_are(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.Progress() as shown:
        for _ in range(40):
            shown("scores", 0, 10)
            clock.now += 2
            shown("scores", 5, 10)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[0] == "scores: 50 % after 2 s"

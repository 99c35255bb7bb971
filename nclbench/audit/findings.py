"""What is to be said: one finding a line, with a verdict whose thresholds are told, and what chance alone would make."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nclbench.audit.states import Direction, State
from nclbench.diagnostics.chance import drawn

OK, WARN, FAIL, INFO = "ok", "warn", "fail", "info"
# how far beyond what chance makes a measure is called bad; below, it is only told
_BEYOND = {"antihubs": 0.1, "hubs": 0.2, "skewness": 1.0, "largest": 5.0}
# shares of items that get less than half, or more than twice, of what they should
_FEW, _MANY = 0.05, 0.2
WORST = 10


@dataclass(frozen=True)
class Finding:
    """values: (figure, verdict) of each state, None where it is not defined. percent: figures are shares.

    chance: (mean, low, high) of what equally likely items would make. thresholds: in words, for warn and for fail.
    """

    name: str
    says: str
    values: tuple[tuple[float, str] | None, ...]
    percent: bool
    chance: tuple[float, float, float] | None = None
    thresholds: str = ""

    @property
    def verdict(self) -> str:
        """That of the first state."""
        return self.values[0][1] if self.values[0] is not None else INFO

    def text(self, value: float) -> str:
        """A figure as people read it."""
        return f"{value:.1%}" if self.percent else f"{value:.2f}"

    def to_json(self, direction: str, labels: Sequence[str]) -> dict[str, Any]:
        return {
            **asdict(self),
            "verdict": self.verdict,
            "direction": direction,
            "values": {
                label: None if each is None else {"value": each[0], "verdict": each[1]}
                for label, each in zip(labels, self.values, strict=True)
            },
            "chance": None if self.chance is None else dict(zip(("mean", "low", "high"), self.chance, strict=True)),
        }


def findings(direction: Direction) -> list[Finding]:
    """Of one direction, the most important first."""
    k = direction.cutoff
    found = [
        _beside_chance(direction, f"largest@{k}", f"the most shown item is in so many times its fair share of top-{k} lists"),
        _beside_chance(direction, f"hubs@{k}", f"share of all top-{k} places that items shown at least twice their share hold"),
        _beside_chance(direction, f"antihubs@{k}", f"share of items that are in no top-{k} list"),
        _beside_chance(direction, f"skewness@{k}", f"skewness of how often items are in top-{k} lists"),
        _mass(direction, "p.under", "share of items with under half of their retrieval probability"),
        _mass(direction, "p.over", "share of items with over twice their retrieval probability"),
        _mass(direction, "p.bank.under", "the same of the bank's queries: under half of their retrieval probability"),
        _wrong_places(direction),
        *_remedy(direction),
        _gap(direction),
    ]
    return [each for each in found if each is not None and any(each.values)]


def _beside_chance(direction: Direction, name: str, says: str) -> Finding | None:
    told = direction.reference.run.diagnostics.get(name, {})
    if "chance" not in told:
        return None
    mean, low, high = told["chance"], told["chance_low"], told["chance_high"]
    share = name.startswith(("antihubs", "hubs"))
    fail = high + _BEYOND[name.partition("@")[0]]

    def judged(state: State) -> tuple[float, str] | None:
        value = state.number(name)
        return None if value is None else (value, FAIL if value > fail else WARN if value > high else OK)

    return Finding(
        name, says, tuple(map(judged, direction.states)), share, (mean, low, high), _bounds(high, fail, share)
    )


def _mass(direction: Direction, name: str, says: str) -> Finding:
    def judged(state: State) -> tuple[float, str] | None:
        value = state.number(name)
        return None if value is None else (value, FAIL if value > _MANY else WARN if value > _FEW else OK)

    return Finding(name, says, tuple(map(judged, direction.states)), True, None, _bounds(_FEW, _MANY, True))


def _bounds(warn: float, fail: float, share: bool) -> str:
    return f"warn > {warn:.1%}, fail > {fail:.1%}" if share else f"warn > {warn:.1f}, fail > {fail:.1f}"


def _wrong_places(direction: Direction) -> Finding | None:
    """Whether a few items win what they should not."""
    if not direction.labelled or "bad@1" not in direction.reference.items:
        return None
    wrong = int(direction.reference.items["bad@1"].sum())
    items = len(direction.reference.items["id"])
    if not wrong or items <= WORST:
        return None
    usual = [_held(counts) for counts in drawn(wrong, items, 1, times=100)]
    low, high = (float(each) for each in np.quantile(usual, (0.025, 0.975)))
    fail = high + 0.1

    def judged(state: State) -> tuple[float, str] | None:
        counts = state.items["bad@1"]
        share = _held(counts)
        return (share, FAIL if share > fail else WARN if share > high else OK) if counts.any() else (0.0, OK)

    return Finding(
        "wrong.top10",
        f"share of wrong first places that {WORST} items win",
        tuple(map(judged, direction.states)),
        True,
        (float(np.mean(usual)), low, high),
        _bounds(high, fail, True),
    )


def _held(counts: Any) -> float:
    """The share of all that the ten largest hold."""
    return float(np.sort(counts)[-WORST:].sum() / max(counts.sum(), 1))


def _remedy(direction: Direction) -> list[Finding]:
    """Queries that find their item earlier or later than raw."""
    if not direction.labelled or not direction.others or not all("won" in state.queries for state in direction.states):
        return []
    found = []
    for name, says, sign in (
        ("helped", "share of queries whose right item ranks better than raw", 1),
        ("hurt", "share of queries whose right item ranks worse than raw", -1),
    ):
        values = tuple(
            (float(np.mean(sign * np.nan_to_num(state.queries["won"]) > 0)), INFO) for state in direction.states
        )
        found.append(Finding(name, says, values, True))
    return found


def _gap(direction: Direction) -> Finding:
    values = tuple(
        None if (value := state.number("gap.distance")) is None else (value, INFO) for state in direction.states
    )
    says = "distance between the mean query and the mean item (modality gap, no fault in itself)"
    return Finding("gap.distance", says, values, False)

"""What is to be said: one finding a line, with a verdict whose thresholds are told, and what chance alone would make."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nclbench.audit.states import Direction, State
from nclbench.diagnostics.chance import drawn

OK, WARN, FAIL, INFO = "ok", "warn", "fail", "info"
# how far beyond what chance makes a measure is called bad; below, it is only told
_BEYOND = {"antihubs": 0.1, "hubs": 0.2, "skewness": 1.0, "largest": 5.0}
# shares of items that get less than half, or more than twice, of what they should
_FEW, _MANY = 0.05, 0.2
# queries an item from which that is judged, and wrong places from which their shares are
_ENOUGH, _LEAST = 0.5, 30
_TEN_MORE = 0.1
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
        """That of the first state in which it is defined."""
        return next((each[1] for each in self.values if each is not None), INFO)

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
    _, asking, one, asked = direction.words
    against, wants = ("wanted.", "the labels want") if direction.labelled else ("", "is a fair share")
    found = [
        _beside_chance(direction, f"largest@{k}", f"the most shown {one} is in so many times its fair share of top-{k} lists"),
        _beside_chance(direction, f"hubs@{k}", f"share of all top-{k} places held by {asked} shown at least twice their share"),
        _beside_chance(direction, f"antihubs@{k}", f"share of {asked} that are in no top-{k} list"),
        _beside_chance(direction, f"skewness@{k}", f"skewness of how often {asked} are in top-{k} lists"),
        _mass(direction, f"p.{against}under", f"share of {asked} with under half of the probability that {wants}"),
        _mass(direction, f"p.{against}over", f"share of {asked} with over twice the probability that {wants}"),
        _mass(direction, "p.bank.under", f"share of {asked} with under half of their fair share from the bank"),
        _wrong_places(direction),
        *_remedy(direction, asking, one),
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
    # where lists hold all items there is nothing to tell
    telling = direction.cutoff < len(direction.reference.items["id"])

    def judged(state: State) -> tuple[float, str] | None:
        value = state.number(name)
        return None if value is None else (value, _verdict(value, high, fail) if telling else INFO)

    bounds = _bounds(high, fail, share) if telling else ""
    return Finding(name, says, tuple(map(judged, direction.states)), share, (mean, low, high), bounds)


def _mass(direction: Direction, name: str, says: str) -> Finding:
    """What is wanted of an item is known from labels only, and cannot be met by top heavy lists of few queries."""
    reference = direction.reference
    judging = direction.labelled and len(reference.queries["id"]) >= _ENOUGH * len(reference.items["id"])

    def judged(state: State) -> tuple[float, str] | None:
        value = state.number(name)
        return None if value is None else (value, _verdict(value, _FEW, _MANY) if judging else INFO)

    return Finding(name, says, tuple(map(judged, direction.states)), True, None, _bounds(_FEW, _MANY, True) if judging else "")


def _verdict(value: float, warn: float, fail: float) -> str:
    return FAIL if value > fail else WARN if value > warn else OK


def _bounds(warn: float, fail: float, share: bool) -> str:
    """In words; a share above 1 is no threshold."""
    if not share:
        return f"warn > {warn:.1f}, fail > {fail:.1f}"
    return ", ".join(f"{name} > {bound:.1%}" for name, bound in ((WARN, warn), (FAIL, fail)) if bound < 1)


def _wrong_places(direction: Direction) -> Finding | None:
    """Whether a few items win what they should not: each state beside what chance makes of as many wrong places."""
    items = len(direction.reference.items["id"])
    if "bad@1" not in direction.reference.items or items <= WORST:
        return None
    usual = [_usual_top(int(state.items["bad@1"].sum()), items) for state in direction.states]

    def judged(state: State, chance: tuple[float, float, float] | None) -> tuple[float, str] | None:
        counts = state.items["bad@1"]
        if not counts.any():
            return None
        share = _held(counts)
        return share, INFO if chance is None else _verdict(share, chance[2], chance[2] + _TEN_MORE)

    values = tuple(map(judged, direction.states, usual))
    bounds = "" if usual[0] is None else _bounds(usual[0][2], usual[0][2] + _TEN_MORE, True)
    says = f"share of wrong first places that {WORST} {direction.words[3]} win"
    return Finding("wrong.top10", says, values, True, usual[0], bounds)


@lru_cache(maxsize=64)
def _usual_top(wrong: int, items: int) -> tuple[float, float, float] | None:
    """(mean, low, high) of the share of so many wrong places that the ten luckiest get; None for too few to tell."""
    if wrong < _LEAST:
        return None
    held = [_held(counts) for counts in drawn(wrong, items, 1, times=100)]
    low, high = np.quantile(held, (0.025, 0.975))
    return float(np.mean(held)), float(low), float(high)


def _held(counts: Any) -> float:
    """The share of all that the ten largest hold."""
    return float(np.sort(counts)[-WORST:].sum() / max(counts.sum(), 1))


def _remedy(direction: Direction, asking: str, one: str) -> list[Finding]:
    """Queries that find their item earlier or later than in what the state is compared with."""
    if not direction.labelled:
        return []
    found = []
    for name, word, sign in (("helped", "better", 1), ("hurt", "worse", -1)):

        def share(state: State, sign: int = sign) -> tuple[float, str] | None:
            before = direction.before(state)
            if before is state:
                return None
            won = before.queries["rank"] - state.queries["rank"]
            return float(np.mean(sign * np.nan_to_num(won) > 0)), INFO

        raws = sum(state.spec == "none" for state in direction.states)
        than = "raw, each model's own (raw rows: than the first)" if raws > 1 else "raw"
        says = f"share of {asking} whose right {one} ranks {word} than {than}"
        found.append(Finding(name, says, tuple(map(share, direction.states)), True))
    return found


def _gap(direction: Direction) -> Finding:
    values = tuple(
        None if (value := state.number("gap.distance")) is None else (value, INFO) for state in direction.states
    )
    says = "distance between the mean query and the mean item (modality gap, no fault in itself)"
    return Finding("gap.distance", says, values, False)

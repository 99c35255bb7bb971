"""Results cut into what can be put side by side: one state a model and operator, of one direction each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError
from nclbench.files import printable
from nclbench.results import Columns, Results, Run

Values = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class State:
    """items, queries: the rows of this run, in the order of its direction."""

    run: Run
    items: Columns
    queries: Columns

    @property
    def spec(self) -> str:
        return self.run.operator.spec

    @property
    def tau(self) -> float | None:
        """The temperature of its probabilities, None where these are not defined."""
        found: float | None = self.run.diagnostics.get("p.over", {}).get("tau")
        return found

    def number(self, name: str) -> float | None:
        """A diagnostic or a metric by its name, None where it is not defined."""
        if name in self.run.diagnostics:
            return float(self.run.diagnostics[name]["value"])
        return self.run.metrics[name].value if name in self.run.metrics else None


@dataclass(frozen=True, eq=False)
class Direction:
    """states: the first is what the others are compared with. All have the same items and queries in the same order."""

    name: str
    states: tuple[State, ...]

    @property
    def reference(self) -> State:
        return self.states[0]

    @property
    def others(self) -> tuple[State, ...]:
        return self.states[1:]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """How each state is called: by its spec, raw for none, with its model and dataset where these differ."""
        runs = [state.run for state in self.states]
        differ = [name for name in ("dataset", "model") if len({getattr(run, name) for run in runs}) > 1]
        before = ["/".join(getattr(run, name) for name in differ) for run in runs]
        specs = ["raw" if state.spec == "none" else state.spec for state in self.states]
        return tuple(f"{model}: {spec}" if model else spec for model, spec in zip(before, specs, strict=True))

    def label(self, state: State) -> str:
        return self.labels[self.states.index(state)]

    def before(self, state: State) -> State:
        """What a state is compared with: the raw row of its model; of a raw row, the first state."""
        own = [each for each in self.states if each.spec == "none" and _model(each) == _model(state)]
        return self.reference if state.spec == "none" or not own else own[0]

    @property
    def words(self) -> tuple[str, str, str, str]:
        """What asks and what is asked for: one and several."""
        return ("query", "queries", "item", "items") if self.name == "t2v" else ("item", "items", "caption", "captions")

    @property
    def labelled(self) -> bool:
        """Whether it is known what is relevant."""
        return "right" in self.reference.queries

    @cached_property
    def cutoff(self) -> int:
        """The largest k whose best items are known."""
        found = self.reference.run.diagnostics
        return max(int(name.partition("@")[2]) for name in found if name.startswith("antihubs@"))

    def occurrence(self, state: State) -> npt.NDArray[np.int64]:
        """(M,) N_k of the largest k."""
        return np.asarray(state.items[f"occurrence@{self.cutoff}"])

    @property
    def share(self) -> float:
        """How often an item would be among the first k if all were shown alike."""
        return self.cutoff * len(self.reference.queries["id"]) / len(self.reference.items["id"])

    @cached_property
    def titles(self) -> list[str]:
        """(M,) a text for each item: its own, else that of the query that wants it, else none."""
        found = ["" if text is None else str(text) for text in self.reference.items["caption"]]
        if not self.labelled or any(found):
            return found
        place = {name: at for at, name in enumerate(self.reference.items["id"])}
        wanted: dict[int, list[str]] = {}
        for right, text in zip(self.reference.queries["right"], self.reference.queries["caption"], strict=True):
            if right is not None and text:
                wanted.setdefault(place[right], []).append(str(text))
        return [_quoted(wanted.get(at, [])) for at in range(len(found))]


def _model(state: State) -> tuple[str, str]:
    return state.run.dataset, state.run.model


def _quoted(texts: Sequence[str]) -> str:
    """A caption that stands for an item without a title."""
    return "" if not texts else f"“{texts[0]}”" + (f" (+{len(texts) - 1})" if len(texts) > 1 else "")


def directions(results: Results) -> list[Direction]:
    """Every direction whose rows are known. Raises InputError where models have other items or queries than the first."""
    found: dict[str, list[State]] = {}
    items, queries = _rows(results.items), _rows(results.queries)
    for run in results.runs:
        if run.protocol == "videos" or run.operator.unavailable:
            continue
        key = (run.dataset, run.model, run.operator.spec, run.direction, run.protocol)
        state = State(run, items[key], queries[key])
        others = found.setdefault(run.direction, [])
        others.append(_aligned(state, others[0]) if others else state)
    return [Direction(name, tuple(states)) for name, states in found.items()]


def _rows(table: Columns) -> Mapping[tuple[str, ...], Columns]:
    """The rows of each run by its key; those of one run lie together."""
    keys = list(zip(*(table[name] for name in ("dataset", "model", "spec", "direction", "protocol")), strict=True))
    starts = [at for at, key in enumerate(keys) if at == 0 or key != keys[at - 1]]
    ends = [*starts[1:], len(keys)]
    return {
        keys[a]: {name: values[a:b] for name, values in table.items()} for a, b in zip(starts, ends, strict=True)
    }


def _aligned(state: State, first: State) -> State:
    """The state with its rows in the order of the first one's."""
    items, queries = (
        _in_order(mine, theirs, what, state)
        for mine, theirs, what in (
            (state.items, first.items, "items"),
            (state.queries, first.queries, "queries"),
        )
    )
    return State(state.run, items, queries)


def _in_order(mine: Columns, theirs: Columns, what: str, state: State) -> Columns:
    if len(mine["id"]) == len(theirs["id"]) and (mine["id"] == theirs["id"]).all():
        return mine
    place = {name: at for at, name in enumerate(mine["id"])}
    missing = [name for name in theirs["id"] if name not in place]
    extra = len(mine["id"]) - (len(theirs["id"]) - len(missing))
    if missing or extra:
        example = f", such as {printable(missing[0])}" if missing else ""
        raise InputError(
            f"{printable(state.run.model)}: {what} differ from those of the first model: {len(missing)} are missing{example}, "
            f"{extra} are new; a report needs the same {what} in every model"
        )
    order = np.array([place[name] for name in theirs["id"]])
    return {name: values[order] for name, values in mine.items()}

"""What came out: flat, complete, JSON. Tables, comparisons and gates are made from this and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError

SCHEMA = "nclbench.results/1"
Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Value:
    """One metric. low and high: 95 % interval; optimistic and pessimistic: the bounds over tie orders.

    unit: "percent" (0..100), "rank" (1 is best) or "fraction". n: how many queries were averaged.
    """

    value: float
    unit: str
    n: int
    optimistic: float
    pessimistic: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Applied:
    """The operator of a run. spec: canonical, without defaults; params: everything resolved.

    fitted_on: nothing | test-queries | query-bank | item-bank | ...; transductive: it saw the test queries together.
    bank_sizes: rows of each bank in fitted_on. unavailable: why there is no number, None otherwise.
    """

    spec: str
    name: str
    params: Mapping[str, Any]
    fitted_on: str = "nothing"
    transductive: bool = False
    unavailable: str | None = None
    bank_sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def seen(self) -> str:
        """`query-bank(1500)`: what it was fitted on, with sizes."""
        sizes = self.bank_sizes
        return "+".join(f"{name}({sizes[name]})" if name in sizes else name for name in self.fitted_on.split("+"))


@dataclass(frozen=True)
class Convergence:
    """How an iterative operator ended. marginal_error: mean over gallery items of |p/target - 1|.

    fixed: so many iterations were asked for, whatever the error.
    """

    iterations: int
    marginal_error: float
    converged: bool
    path: str = ""
    fixed: bool = False


@dataclass(frozen=True)
class Run:
    """One file, one operator, one direction. metrics is empty where the operator is unavailable or labels are."""

    dataset: str
    split: str
    model: str
    direction: str
    protocol: str
    operator: Applied
    scorer: str
    metrics: Mapping[str, Value]
    signature: str
    ties: Mapping[str, int] = field(default_factory=dict)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    convergence: Convergence | None = None
    oracle: bool = False
    degenerate: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def selector(self) -> str:
        """`t2v`, `v2t` or `v2t-videos`: how metrics of this run are named, as in `v2t-videos.R@1`."""
        return f"{self.direction}-videos" if self.protocol == "videos" else self.direction

    @property
    def terms(self) -> tuple[str, ...]:
        """What must be alike before figures of one dataset are set against each other: tie rule, sizes of both sides."""
        stamped = dict(reversed([part.partition(":")[::2] for part in self.signature.split("|")]))
        sizes = (f"{stamped[key]} {what}" for key, what in (("q", "queries"), ("g", "items")) if key in stamped)
        return (f"ties {self.options.get('ties', 'expected')}", *sizes)

    @property
    def figures(self) -> dict[str, Value]:
        """The metrics, and those of the diagnostics that are a single figure."""
        single = {
            name: Value(entry["value"], entry["unit"], 0, entry["value"], entry["value"])
            for name, entry in self.diagnostics.items()
            if isinstance(entry, Mapping) and "unit" in entry and isinstance(entry.get("value"), float | int)
        }
        return {**single, **self.metrics}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Run":
        given = dict(data)
        given["operator"] = Applied(**given["operator"])
        given["metrics"] = {name: Value(**value) for name, value in given["metrics"].items()}
        if given.get("convergence") is not None:
            given["convergence"] = Convergence(**given["convergence"])
        return cls(**given)


@dataclass(frozen=True)
class Results:
    """All runs of one call. queries and items hold one row an instance, a run and a direction (Parquet, not JSON)."""

    runs: tuple[Run, ...]
    inputs: tuple[Mapping[str, Any], ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    warnings: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)
    queries: Columns = field(default_factory=dict, repr=False)
    items: Columns = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps(..., allow_nan=False)`; the Parquet tables are left out."""
        return {
            "schema": SCHEMA,
            "runs": [asdict(run) for run in self.runs],
            "inputs": [dict(entry) for entry in self.inputs],
            "environment": dict(self.environment),
            "command": self.command,
            "warnings": list(self.warnings),
            "timing": dict(self.timing),
        }

    @classmethod
    def joined(cls, parts: Sequence["Results"]) -> "Results":
        """Several calls as one: runs and tables in order, the environment of the first."""
        first = parts[0]
        if len(parts) == 1:
            return first
        inputs = {(entry["role"], entry["path"]): entry for part in parts for entry in part.inputs}
        timing: dict[str, float] = {}
        for part in parts:
            for stage, seconds in part.timing.items():
                timing[stage] = timing.get(stage, 0.0) + seconds
        return cls(
            runs=tuple(run for part in parts for run in part.runs),
            inputs=tuple(inputs.values()),
            environment=first.environment,
            command=first.command,
            warnings=tuple(dict.fromkeys(text for part in parts for text in part.warnings)),
            timing=timing,
            queries=stacked([part.queries for part in parts]),
            items=stacked([part.items for part in parts]),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "results") -> "Results":
        """The inverse of `to_json`. Anything else is an InputError that names `where`."""
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            raise InputError(f"{where}: schema {schema!r}, expected {SCHEMA!r}; is this a results file of nclbench?")
        try:
            return cls(
                runs=tuple(Run.from_json(run) for run in data["runs"]),
                inputs=tuple(data["inputs"]),
                environment=data["environment"],
                command=data["command"],
                warnings=tuple(data["warnings"]),
                timing=data["timing"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: damaged results file ({type(error).__name__}: {error})") from None


def stacked(tables: Sequence[Columns], spent: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Tables one below the other. What one of them lacks is NaN, -1 or None there, as the others' type has it.

    spent: they are emptied, so that no more than a column is held twice.
    """
    filled = [dict(table) for table in tables if table]
    kinds = {name: values.dtype for table in filled for name, values in table.items()}
    sizes = [len(table["id"]) for table in filled]
    for table in tables if spent else ():
        cast(dict[str, npt.NDArray[Any]], table).clear()

    def column(name: str, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        missing = {"f": np.nan, "i": -1}.get(kind.kind)
        parts = zip((table.pop(name, None) for table in filled), sizes, strict=True)
        return np.concatenate([np.full(size, missing, dtype=kind) if part is None else part for part, size in parts])

    return {name: column(name, kind) for name, kind in kinds.items()}

"""What a sweep chose, read back: rows of an evaluation, and whether that evaluation is of the very split tuned on."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nclbench import files
from nclbench.errors import InputError, NclbenchError, UsageError
from nclbench.evaluation import DIRECTIONS, evaluate
from nclbench.problem import Problem
from nclbench.results import Results, Run
from nclbench.sweep import canonical
from nclbench.sweep.document import SCHEMA

_LARGEST = 1 << 28
# inputs that say which queries were tuned on; a bank or a gallery may be shared with honest runs
_TELLING = ("queries", "scores")


@dataclass(frozen=True)
class Chosen:
    """path, digest: of the file. specs: by direction. seen: SHA-256 of the files tuned on, which hold one split if single.

    missing: (direction, template, reason) where nothing could be chosen. by: the metric.
    """

    path: str
    digest: str
    specs: dict[str, tuple[str, ...]]
    missing: tuple[tuple[str, str, str], ...]
    by: str
    oracle: bool
    split: str
    single: bool
    scorer: str
    seen: frozenset[str]

    def evaluate(self, problem: Problem, normalize: Sequence[str] = (), *, direction: str = "both", **more: Any) -> Results:
        """`nclbench.evaluate` with the choices of each direction as rows after the others. more: as there."""
        if direction not in DIRECTIONS:
            return evaluate(problem, normalize, direction=direction, **more)
        wanted = ("t2v", "v2t") if direction == "both" else (direction,)
        same = self._again(problem)
        oracle = self.oracle or same
        if len({self.specs.get(each, ()) for each in wanted}) == 1:
            parts = [self._part(problem, normalize, direction, self.specs.get(wanted[0], ()), oracle, more)]
        else:
            parts = [self._part(problem, normalize, each, self.specs.get(each, ()), oracle, more) for each in wanted]
        joined = Results.joined(parts)
        entry = {"role": "sweep", "path": self.path, "sha256": self.digest, "shape": [], "dtype": "json"}
        notes = [*joined.warnings, *self._notes(problem, wanted, same)]
        return replace(joined, inputs=(*joined.inputs, entry), warnings=tuple(dict.fromkeys(notes)))

    def _part(
        self, problem: Problem, normalize: Sequence[str], direction: str, specs: Collection[str], oracle: bool, more: Any
    ) -> Results:
        found = evaluate(
            problem, [*normalize, *specs], direction=direction, oracle=specs if oracle else (), **more
        )
        return replace(found, runs=tuple(self._stamped(run) if run.operator.spec in specs else run for run in found.runs))

    def _stamped(self, run: Run) -> Run:
        return replace(run, options={**run.options, "chosen": f"by {self.by}, {Path(self.path).name}, {self.digest[:12]}"})

    def _again(self, problem: Problem) -> bool:
        """Whether the queries are those that were tuned on."""
        read = {entry.sha256 for entry in problem.inputs if entry.role in _TELLING}
        return bool(read & self.seen) and (self.single or problem.split == self.split)

    def _notes(self, problem: Problem, directions: Sequence[str], same: bool) -> list[str]:
        name = files.printable(self.path)
        found = [f"{name}: {problem.model} is the split that it was chosen on, so its rows are oracle rows"] if same else []
        if self.oracle and not same:
            found.append(f"{name}: it was chosen with --oracle, so its rows are oracle rows")
        if problem.scored_by != self.scorer:
            found.append(f"{name}: it was chosen on scores of {self.scorer}, and is applied to {problem.scored_by}")
        for direction in directions:
            if direction not in self.specs:
                found.append(f"{name}: nothing was chosen for {direction}")
        found += [f"{name}: no row for {way} {spec}: {why}" for way, spec, why in self.missing if way in directions]
        return found


def read(name: str) -> Chosen:
    """The file that `nclbench sweep -o` wrote. InputError for anything else, MissingError where it cannot be read."""
    path, shown = Path(name), files.printable(name)
    if files.regular(path).stat().st_size > _LARGEST:
        raise InputError(f"{shown}: larger than {_LARGEST >> 20} MiB; is it a file of nclbench sweep?")
    try:
        data = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown}: not valid JSON ({files.printable(error)[:120]}); write it with nclbench sweep -o") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{shown}: schema {schema!r}, expected {SCHEMA!r}; give what nclbench sweep -o wrote")
    try:
        return _understood(name, files.sha256(path), data)
    except UsageError as error:
        raise InputError(f"{shown}: {error}") from None
    except NclbenchError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = files.printable(f"{type(error).__name__}: {error}")[:120]
        raise InputError(f"{shown}: damaged sweep file ({said}); sweep again") from None


def _understood(name: str, digest: str, data: dict[str, Any]) -> Chosen:
    specs: dict[str, tuple[str, ...]] = {}
    missing = []
    for entry in data["chosen"]:
        direction, spec = entry["direction"], entry["spec"]
        if direction not in ("t2v", "v2t"):
            raise ValueError(f"direction {direction!r}")
        if spec is None:
            missing.append((direction, files.printable(entry["template"]), files.printable(entry["reason"])))
            specs.setdefault(direction, ())
        else:
            specs[direction] = tuple(dict.fromkeys((*specs.get(direction, ()), canonical(_text(spec)))))
    if not isinstance(data["oracle"], bool):
        raise TypeError(f"oracle is {data['oracle']!r}")
    seen = frozenset(_text(entry["sha256"]) for entry in data["inputs"] if entry["role"] in _TELLING)
    by, split, scorer = (files.printable(_text(word)) for word in (data["select"]["by"], data["split"], data["scorer"]))
    single = len(data["splits"]) < 2
    return Chosen(name, digest, specs, tuple(missing), by, data["oracle"], split, single, scorer, seen)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value

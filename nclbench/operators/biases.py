"""Biases of a file: an operator that was fitted before, here or anywhere else, as one number an item."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nclbench.errors import InputError, NotAvailable, UsageError
from nclbench.files import printable, regular, sha256
from nclbench.operators import Fitted, operators
from nclbench.plan import SUMS
from nclbench.similarity.maps import column_bias
from nclbench.similarity.views import Views

SCHEMA = "nclbench.deployed/1"
_NAME = "biases.npy"
_LARGEST = 1 << 30


def beside(name: str | Path) -> tuple[Path, Path, Path]:
    """NAME.npy or a folder -> the biases, their ids, and how they were made: NAME.npy, NAME.ids.json, NAME.json."""
    path = Path(name)
    if str(name).strip() and (str(name).endswith("/") or path.is_dir()):
        path = path / _NAME
    if path.suffix.lower() != ".npy":
        raise UsageError(f"biases are NAME.npy or a folder DIR/, not {printable(name)!r}")
    return path, path.with_suffix(".ids.json"), path.with_suffix(".json")


@operators.register("biases")
@dataclass(frozen=True)
class Biases:
    """Biases of a file: s_ij + b_j, where b_j belongs to the id of item j.

    file: NAME.npy with (B,) numbers, or its folder. Beside it NAME.ids.json, a list of B ids in any order: every item
    must be there, others are left out; without it the numbers are those of the items in their order. NAME.json says how
    they were made: whether on the test queries, for which direction, under which scorer.
    """

    source: ClassVar[str] = "nclbench normalize, or any other program"
    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    fits_on: ClassVar[str] = "a file"

    file: str

    def __post_init__(self) -> None:
        beside(self.file)

    def learn(self, views: Views) -> Fitted:
        numbers, ids, made = beside(self.file)
        values, names, said = _numbers(numbers), _names(ids), _said(made)
        _check_digests(said, {"biases": numbers, "ids": ids})
        direction = "v2t" if views.reverse else "t2v"
        # numbers without ids can belong to one side only, and that is the items
        meant = said.get("direction", "t2v" if names is None else direction)
        if meant != direction:
            raise NotAvailable(f"the biases of {printable(numbers)} are for {meant}")
        gallery = views.side("items")
        assert gallery is not None
        fitted_on = str(said.get("fitted_on", "unknown"))
        views.loaded(fitted_on)
        notes = _notes(said, names, gallery.ids, views.problem.scored_by)
        bias = views.plan.put(_placed(values, names, gallery.ids, printable(numbers)), SUMS)
        params = {"fitted_on_file": fitted_on, "sha256": sha256(numbers)[:12]}
        params |= {"fitted": said["spec"]} if isinstance(said.get("spec"), str) else {}
        return Fitted(column_bias(bias), params=params, notes=notes)


def _numbers(path: Path) -> npt.NDArray[np.float64]:
    """(B,) finite numbers of an npy file; never a pickle."""
    regular(path)
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise InputError(f"{printable(path)}: damaged or not npy ({printable(error)[:120]})") from None
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.floating):
        raise InputError(f"{printable(path)}: {found.dtype} of shape {found.shape}; biases are one list of floats")
    values = np.array(found, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(f"{printable(path)}: row {bad[0]} is {values[bad[0]]}; biases must be finite, fit them again")
    return values


def _names(path: Path) -> list[str] | None:
    """The ids beside the biases, None where there are none."""
    if not path.exists():
        return None
    found = _json(path)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InputError(f"{printable(path)}: must be a list of texts, an id a bias")
    if len(set(found)) < len(found):
        seen: set[str] = set()
        twice = next(name for name in found if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"{printable(path)}: id {printable(twice)!r} is there twice; ids must be unique")
    return found


def _said(path: Path) -> Mapping[str, Any]:
    """How the biases were made, nothing where nobody says."""
    if not path.exists():
        return {}
    found = _json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InputError(f"{printable(path)}: does not say schema {SCHEMA!r}; remove it, or fit the biases again")
    return found


def _json(path: Path) -> Any:
    if regular(path).stat().st_size > _LARGEST:
        raise InputError(f"{printable(path)}: larger than {_LARGEST >> 20} MiB; is it what you mean?")
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{printable(path)}: not valid JSON ({printable(error)[:120]})") from None


def _check_digests(said: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """Files of two runs must not be mixed: the ids of one would name the biases of another."""
    digests = said.get("sha256", {})
    for part, path in paths.items():
        wanted = digests.get(part) if isinstance(digests, dict) else None
        if wanted is not None and (not path.exists() or sha256(path) != wanted):
            raise InputError(f"{printable(path)}: gone, or of another run than the JSON beside it; fit the biases again")


def _placed(
    values: npt.NDArray[np.float64], names: list[str] | None, ids: tuple[str, ...], where: str
) -> npt.NDArray[np.float64]:
    """(M,) the bias of every id."""
    wanted = len(ids) if names is None else len(names)
    if len(values) != wanted:
        of = "items, and no ids say which are meant" if names is None else "ids"
        raise InputError(f"{where}: {len(values)} biases for {wanted} {of}; give one each")
    if names is None:
        return values
    place = {name: row for row, name in enumerate(names)}
    lost = [name for name in ids if name not in place]
    if lost:
        raise NotAvailable(f"{where}: no bias for {len(lost)} of {len(ids)} items (the first is {printable(lost[0])!r})")
    return values[np.fromiter((place[name] for name in ids), dtype=np.int64, count=len(ids))]


def _notes(said: Mapping[str, Any], names: list[str] | None, ids: tuple[str, ...], scorer: str) -> tuple[str, ...]:
    found = []
    if not said:
        found.append("nothing beside the biases says what they were fitted on")
    if names is None:
        found.append("no ids beside the biases: they are taken in the order of the items")
    elif len(names) > len(ids):
        found.append(f"{len(names) - len(ids)} of {len(names)} biases are of items that are not in this gallery")
    meant = said.get("scorer", scorer)
    if meant != scorer:
        found.append(f"the biases were fitted to scores of {printable(meant)}, and are added to {scorer}")
    return tuple(found)

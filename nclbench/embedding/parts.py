"""The folder `out.h5.parts`: a journal that says what the run is, and numbered shards, each whole or not there."""

import fcntl
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nclbench.embedding.description import differences
from nclbench.errors import InputError, MissingError
from nclbench.files import printable, replacing, write_text

Array = npt.NDArray[Any]
_JOURNAL, _LOCK, _META = "journal.json", "lock", "nclbench"


class Parts:
    """Shards of one run. Only one process holds the folder at a time; a killed one leaves it free.

    A shard takes its name when it is complete, so that what has a name need not be made again.
    """

    def __init__(self, target: Path, description: Mapping[str, Any]) -> None:
        self.folder = target.with_name(f"{target.name}.parts")
        self._target, self._description = target, dict(description)
        self._lock: IO[bytes] | None = None
        self._done: set[str] = set()

    def __enter__(self) -> "Parts":
        """MissingError where another run holds the folder, InputError where it is of a run that was not this one."""
        where = printable(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / _LOCK).open("wb")
        except OSError as error:
            raise MissingError(f"{where}: cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            if not isinstance(error, BlockingIOError | PermissionError):
                raise MissingError(f"{where}: cannot be locked ({error.strerror}); give an -o on another disk") from None
            raise MissingError(f"{where}: another run is writing it; wait for it, or give another -o") from None
        try:
            self._open(where)
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def _open(self, where: str) -> None:
        strays = [path for path in self.folder.iterdir() if path.name.startswith(".")]
        strays += [path for path in self._target.parent.iterdir() if path.name.startswith(f".{self._target.name}.tmp-")]
        for stray in strays:  # of runs that were killed while they wrote
            stray.unlink(missing_ok=True)
        journal = self.folder / _JOURNAL
        if not journal.exists():
            if any(self.folder.glob("*.safetensors")):
                raise InputError(f"{where}: has shards and no {_JOURNAL}; remove the folder, or give another -o")
            write_text(journal, json.dumps({"nclbench_parts": 1, "run": self._description}, indent=1) + "\n")
            return
        try:
            there = json.loads(journal.read_text(encoding="utf-8"))["run"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{where}/{_JOURNAL}: damaged; remove the folder, or give another -o") from None
        differ = list(differences(there, json.loads(json.dumps(self._description))))
        if differ:
            raise InputError(
                f"{where}: begun by a run that differs in {'; '.join(differ[:3])}; remove the folder, or give another -o"
            )
        self._done = {path.stem for path in self.folder.glob("*.safetensors") if self._whole(path)}

    def _whole(self, path: Path) -> bool:
        try:
            with safe_open(str(path), framework="numpy") as shard:
                return _META in (shard.metadata() or {})
        except (SafetensorError, OSError):
            return False

    def has(self, name: str) -> bool:
        return name in self._done

    @property
    def done(self) -> int:
        return len(self._done)

    def write(self, name: str, arrays: Mapping[str, Array], said: Mapping[str, Any]) -> None:
        """MissingError where the disk is full or not writable; the other shards stay."""
        data = save({key: np.ascontiguousarray(values) for key, values in arrays.items()}, {_META: json.dumps(said)})
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(data)
        self._done.add(name)

    def said(self, name: str) -> dict[str, Any]:
        """What was written beside the arrays."""
        with safe_open(str(self.folder / f"{name}.safetensors"), framework="numpy") as shard:
            found: dict[str, Any] = json.loads(shard.metadata()[_META])
            return found

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        with safe_open(str(self.folder / f"{name}.safetensors"), framework="numpy") as shard:
            return {key: tuple(shard.get_slice(key).get_shape()) for key in shard.keys()}  # noqa: SIM118

    def read(self, name: str, key: str) -> Array:
        with safe_open(str(self.folder / f"{name}.safetensors"), framework="numpy") as shard:
            found: Array = shard.get_tensor(key)
            return found

    def remove(self) -> None:
        """After the file is written: nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

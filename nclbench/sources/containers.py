"""Which reader opens which file, and the one place where whatever goes wrong in a reader becomes one line."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nclbench.errors import InputError, NclbenchError
from nclbench.files import printable, regular, sha256
from nclbench.sources.raw import Array, Raw

if TYPE_CHECKING:
    from nclbench.machine.machines import Machines

T = TypeVar("T")
# Modules of this folder with `open_file`; named here so that a suffix can be known without importing its reader.
READERS = {
    ".h5": "hdf5", ".hdf5": "hdf5", ".he5": "hdf5", ".hdf": "hdf5",
    ".npz": "npz",
    ".npy": "npy",
    ".safetensors": "safetensors",
    ".parquet": "parquet", ".pq": "parquet",
    ".pt": "torch_file", ".pth": "torch_file",
    ".txt": "text_file", ".csv": "text_file", ".tsv": "text_file", ".json": "text_file",
}  # fmt: skip
NAMES = {
    "hdf5": "HDF5", "npz": "npz", "npy": "npy", "safetensors": "safetensors", "parquet": "Parquet",
    "torch_file": "a torch file of tensors", "text_file": "UTF-8 text of its kind", "bigfile": "a BigFile folder",
}  # fmt: skip
PICKLES = (".pkl", ".pickle", ".p", ".joblib", ".dill", ".ckpt")
_MAGIC = {b"\x89HDF": "hdf5", b"\x93NUM": "npy", b"PAR1": "parquet"}


class Shelf:
    """The files of one call: each is opened once and hashed once.

    machines: of all processes of this run, which all ask for the same (`nclbench.sources.shared`); None for one that is alone.
    """

    def __init__(self, machines: "Machines | None" = None) -> None:
        self.machines = machines
        self._raws: dict[str, Raw] = {}
        self._sights: dict[str, str] = {}
        self._digests: dict[Path, str] = {}

    def open(self, path: str) -> Raw:
        """MissingError where the file is not there, InputError for anything about its content."""
        if path not in self._raws:
            raw = _open(path)
            if self.machines is not None:
                from nclbench.sources import shared

                self._sights[path] = shared.sight(raw)
            self._raws[path] = raw
        return self._raws[path]

    def read(self, path: str, keys: Iterable[str]) -> dict[str, Array]:
        """The arrays of some keys that the file is known to have."""
        raw, wanted = self.open(path), list(keys)
        kind = NAMES[_reader(Path(path))]
        if self.machines is not None:
            from nclbench.sources import shared

            return shared.read(raw, wanted, self.machines, lambda work: _guarded(raw.origin, kind, work))
        return _guarded(raw.origin, kind, lambda: raw.fetch(wanted))

    def digest(self, path: Path) -> str:
        """The SHA-256 of a file's bytes."""
        if path not in self._digests:
            if self.machines is not None:
                from nclbench.sources import shared

                self._digests[path] = shared.digest(path)
            else:
                self._digests[path] = sha256(path)
        return self._digests[path]

    def seen(self) -> list[str]:
        """What of the files must be the same for all processes, and still is as it was; InputError where it is not."""
        from nclbench.sources import shared

        return [shared.unchanged(raw, self._sights[path]) for path, raw in self._raws.items()]


def _open(path: str) -> Raw:
    place = Path(path)
    if place.is_dir():
        if not (place / "feature.bin").exists():
            raise InputError(f"{printable(path)}: a folder without feature.bin; give the file in it")
        from nclbench.sources.bigfile import open_folder

        return _guarded(printable(path), NAMES["bigfile"], lambda: open_folder(place))
    try:
        regular(place)
    except NclbenchError as error:
        raise type(error)(printable(error)) from None
    reader = _reader(place)
    open_file: Callable[[Path], Raw] = import_module(f"nclbench.sources.{reader}").open_file
    return _guarded(printable(path), NAMES[reader], lambda: open_file(place))


def _reader(path: Path) -> str:
    if path.is_dir():
        return "bigfile"
    suffix = path.suffix.lower()
    if suffix in READERS:
        return READERS[suffix]
    if suffix in PICKLES:
        raise InputError(
            f"{printable(path)}: pickles are never read, they could run code; save the arrays with numpy.savez or "
            "safetensors where they were made"
        )
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic not in _MAGIC:
        raise InputError(f"{printable(path)}: not a known kind of file; give one of {', '.join(sorted(READERS))}")
    return _MAGIC[magic]


def _guarded(where: str, kind: str, work: Callable[[], T]) -> T:
    """Readers meet hostile bytes: every exception of theirs is about the file."""
    try:
        return work()
    except NclbenchError:
        raise
    except MemoryError:
        raise InputError(f"{where}: asks for more memory than there is; is it damaged?") from None
    except Exception as error:
        reason = printable(" ".join(str(error).split()))[:160]
        said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise InputError(f"{where}: damaged or not {kind} ({said})") from None

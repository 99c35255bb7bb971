"""Problems to files, in our own schema. The suffix says which container."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nclbench.errors import InputError, UsageError
from nclbench.files import check_writable, printable

if TYPE_CHECKING:
    from nclbench.problem import Problem

_MODULES = {".h5": "hdf5", ".hdf5": "hdf5", ".npz": "npz", ".safetensors": "safetensors", ".parquet": "parquet"}


def container(path: str) -> str:
    """The module that writes such a path: `.h5`, `.npz`, `.safetensors`, or a folder (`NAME/`, `NAME.parquet`)."""
    if path.endswith("/") or Path(path).is_dir():
        return "parquet"
    module = _MODULES.get(Path(path).suffix.lower())
    if module is None:
        known = ", ".join(_MODULES)
        raise UsageError(f"cannot write {printable(path)!r}; end it in one of {known}, or in / for a Parquet folder")
    return module


def check(path: str) -> None:
    """Fails before any work where `save` could not write: UsageError or MissingError."""
    if container(path) == "parquet":
        from nclbench.sinks.parquet import check as check_folder

        check_folder(Path(path))
        check_writable(Path(path) / "part-0000.parquet")
    else:
        check_writable(Path(path))


def save(problem: "Problem", path: str | Path) -> None:
    """Writes a problem so that `nclbench.load` gives it back. The old file stays until the new one is complete.

    UsageError for a suffix that is not known, MissingError where nothing can be written, InputError for names that
    the container cannot hold.
    """
    from nclbench.sinks.schema import flatten

    name = str(path)
    module = import_module(f"nclbench.sinks.{container(name)}")
    arrays, attributes = flatten(problem)
    try:
        module.write(arrays, attributes, Path(name))
    except (ValueError, TypeError) as error:
        raise InputError(f"{printable(name)}: cannot hold this problem ({printable(error)[:160]})") from None

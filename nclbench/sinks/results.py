"""Results to disk and back: every file whole or untouched, one writer a place, strict JSON on the way in."""

import glob
import json
import math
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from nclbench import files
from nclbench.errors import InputError, MissingError
from nclbench.results import Columns, Results
from nclbench.sinks.columns import csv_text, write_parquet

LOCK = ".nclbench.lock"
LARGEST = 256 * 2**20


def beside(path: Path) -> list[Path]:
    """The files that `write_json` writes."""
    # with_name refuses a path without a name, as . or /
    return [path, *(path.parent / f"{path.stem}.{table}.parquet" for table in ("queries", "items"))]


def write_folder(
    results: Results, folder: Path, texts: Mapping[str, str] | None = None, as_csv: bool = False
) -> list[Path]:
    """Writes results.json, queries.parquet, items.parquet and the texts (file name to content) into `folder`.

    as_csv: queries.csv and items.csv instead. All are prepared before the first one is replaced, and results.json is
    replaced last. Raises MissingError where the folder cannot be written or another live run holds it.
    """
    ending = "csv" if as_csv else "parquet"
    tables = {f"queries.{ending}": results.queries, f"items.{ending}": results.items}
    with _held(folder / LOCK):
        return _write(results, folder, "results.json", tables, texts or {})


def write_json(results: Results, path: Path) -> list[Path]:
    """Writes `x.json`, and `x.queries.parquet` and `x.items.parquet` beside it."""
    tables = {beside(path)[1].name: results.queries, beside(path)[2].name: results.items}
    with _held(path.with_name(f".{path.name}.lock")):
        return _write(results, path.parent, path.name, tables, {})


def read_json(path: Path) -> Results:
    """The results of a JSON file, without the rows of its Parquet files. Raises InputError or MissingError."""
    size = files.regular(path).stat().st_size
    if size > LARGEST:
        raise InputError(f"{path}: {size / 2**20:.0f} MiB; a results file has at most {LARGEST // 2**20}")
    try:
        data = json.loads(
            path.read_bytes().decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refused,
            parse_float=_finite,
            parse_int=_whole,
        )
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else files.printable(error)
        what = "not even text" if isinstance(error, UnicodeDecodeError) else what
        raise InputError(f"{path}: not valid JSON ({what}); give what nclbench eval -o results.json wrote") from None
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from None
    try:
        results = Results.from_json(data, str(path))
    except ValueError as error:
        raise InputError(f"{path}: damaged results file ({files.printable(error)})") from None
    for what, value, kinds in _expected(results):
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InputError(f"{path}: damaged results file ({what} is {files.printable(repr(value))[:60]})")
    return results


def _write(
    results: Results, folder: Path, name: str, tables: Mapping[str, Columns], texts: Mapping[str, str]
) -> list[Path]:
    """Each file is prepared under a temporary name; if all went well they are renamed, the first one last."""
    contents: dict[str, Results | Columns | str] = {name: results, **tables, **texts}
    paths = [folder / each for each in contents]
    for path in paths:
        if path.parent != folder:
            raise ValueError(f"{path.name!r} is not a file name")
        for leftover in folder.glob(f".{glob.escape(path.name)}.tmp-*"):
            with suppress(OSError):
                leftover.unlink()
    with ExitStack() as stack:
        for path, content in zip(paths, contents.values(), strict=True):
            temporary = stack.enter_context(files.replacing(path))
            if isinstance(content, Results):
                temporary.write_bytes(_json(content))
            elif isinstance(content, str):
                temporary.write_bytes(content.encode("utf-8", "backslashreplace"))
            elif path.suffix == ".csv":
                temporary.write_bytes(csv_text(content).encode("utf-8", "backslashreplace"))
            else:
                write_parquet(content, temporary)
    return paths


def _json(results: Results) -> bytes:
    text = json.dumps(results.to_json(), allow_nan=False, ensure_ascii=False, indent=1, default=_plain)
    return text.encode("utf-8", "backslashreplace") + b"\n"  # which is how JSON writes a lone surrogate


def _plain(value: Any) -> Any:
    """A numpy scalar as the number that it holds."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in results")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _refused(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > 19:
        raise ValueError(f"{text[:19]}… is too large")
    return int(text)


def _expected(results: Results) -> Iterator[tuple[str, Any, tuple[type, ...]]]:
    """What every value must be, so that a foreign file cannot fail later: name, value, types."""
    yield "environment", results.environment, (dict,)
    yield "command", results.command, (str,)
    yield "timing", results.timing, (dict,)
    yield from (("an input", entry, (dict,)) for entry in results.inputs)
    yield from (("a warning", entry, (str,)) for entry in results.warnings)
    for run in results.runs:
        for name in ("dataset", "split", "model", "direction", "protocol", "scorer", "signature"):
            yield name, getattr(run, name), (str,)
        for name in ("ties", "diagnostics", "options"):
            yield name, getattr(run, name), (dict,)
        yield from ((f"ties {name}", count, (int,)) for name, count in run.ties.items())
        yield "oracle", run.oracle, (bool,)
        yield "degenerate", run.degenerate, (bool,)
        for name in ("spec", "name", "fitted_on"):
            yield f"operator {name}", getattr(run.operator, name), (str,)
        yield "operator params", run.operator.params, (dict,)
        yield "bank sizes", run.operator.bank_sizes, (dict,)
        yield from ((f"size of {name}", size, (int,)) for name, size in run.operator.bank_sizes.items())
        yield "transductive", run.operator.transductive, (bool,)
        yield "unavailable", run.operator.unavailable, (str, type(None))
        for name, value in run.metrics.items():
            yield f"unit of {name}", value.unit, (str,)
            yield f"n of {name}", value.n, (int,)
            for bound in ("value", "optimistic", "pessimistic"):
                yield f"{bound} of {name}", getattr(value, bound), (int, float)
            for bound in ("low", "high"):
                yield f"{bound} of {name}", getattr(value, bound), (int, float, type(None))
        if run.convergence is not None:
            yield "iterations", run.convergence.iterations, (int,)
            yield "marginal_error", run.convergence.marginal_error, (int, float)
            yield "converged", run.convergence.converged, (bool,)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """The lock of a place while files are replaced there. One left by a dead process of this host is taken over."""
    mine = f"{os.getpid()} {socket.gethostname()}\n"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                _clear(lock)
                continue
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(mine)
            break
    except OSError as error:
        raise MissingError(f"{lock.parent}: cannot write here ({error.strerror})") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _clear(lock: Path) -> None:
    """Removes the lock of a dead process; MissingError where its holder lives or cannot be known."""
    seen = _text(lock)
    if not seen and not lock.exists():
        return
    holder = re.fullmatch(r"([1-9]\d{0,8}) (\S+)\n", seen)
    if holder is None or holder[2] != socket.gethostname() or _alive(int(holder[1])):
        who = f"process {holder[1]} on {files.printable(holder[2])}" if holder else "another run"
        raise MissingError(f"{lock.parent}: {who} is writing here; wait for it, or remove {lock.name} if it is dead")
    aside = lock.with_name(f"{lock.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        lock.rename(aside)
        if _text(aside) != seen:  # somebody was faster and holds it now
            with suppress(FileExistsError):
                os.link(aside, lock)
        aside.unlink()


def _text(lock: Path) -> str:
    try:
        return files.regular(lock).read_text(encoding="utf-8", errors="replace")[:300]
    except MissingError:
        return ""


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

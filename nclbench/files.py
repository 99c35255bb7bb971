"""Reading with guards and writing whole: regular files only, hashes, temporary file plus rename."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from nclbench.errors import InputError, MissingError

# places, and bytes of each
_SAMPLES, _SAMPLE = 16, 4096


def regular(path: Path) -> Path:
    """The path, if it is a readable regular file. Pipes, devices and folders are refused without opening them."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file{_beside(path)}") from None
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: not a regular file; give a file that can be read twice")
    if not os.access(path, os.R_OK):
        raise MissingError(f"{path}: no permission to read it")
    return path


def _beside(path: Path) -> str:
    """`; did you mean 'x'?` where a file of nearly that name lies in the same folder: most wrong paths are slips."""
    try:
        names = [entry.name for entry in islice(path.parent.iterdir(), 10_000)]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1, cutoff=0.85)
    return f"; did you mean {printable(close[0])!r}?" if close else ""


def sha256(path: Path) -> str:
    """The hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sampled(path: Path) -> str:
    """Size and a digest of some places of a file: two files that differ are told apart without reading them whole, mostly."""
    size, found = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as stream:
        for number in range(_SAMPLES):
            stream.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
            found.update(stream.read(_SAMPLE))
    return f"{size} {found.hexdigest()}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the name only when the block ends well.

    Whatever happens, `path` is either the old file or the complete new one. A link stays a link; a device, a pipe or
    a folder is never replaced.
    """
    if path.exists() and not path.is_file():
        raise MissingError(f"{path}: not a regular file, and never replaced by one; choose another name")
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.tmp-", dir=path.parent)
    except OSError as error:
        raise MissingError(f"{path}: cannot write here ({error.strerror})") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise MissingError(f"{path}: could not be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; into a pipe or a device straight."""
    if not is_stream(path):
        with replacing(path) as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
        return
    try:
        with path.open("ab") as stream:
            stream.write(text.encode("utf-8", "backslashreplace"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MissingError(f"{path}: could not be written ({error.strerror or error})") from None


def is_stream(path: Path) -> bool:
    """Whether a path is written to and never replaced: a pipe, a device, or a stream by its name, as `/dev/stdout`."""
    named = str(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return path.exists() and not path.is_dir() and (named or not path.is_file())


def check_writable(path: Path) -> None:
    """Fails early, before any work, where an output could not be written later."""
    if path.is_dir():
        raise MissingError(f"{path}: a folder, not a place for a file; give the name of a file in it")
    folder = path if is_stream(path) else path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() and folder != path:
        raise MissingError(f"{path}: not a place for a file, because {folder} is not a folder")
    if not os.access(folder, os.W_OK):
        raise MissingError(f"{path}: no permission to write there")


def printable(text: Any) -> str:
    """Text from outside made safe for a terminal: control, escape and direction characters become `\\ufffd`."""
    return "".join(c if c.isprintable() or c == " " else "\ufffd" for c in str(text))


def spreadsheet(text: str) -> str:
    """Text that a spreadsheet takes as text: `'` is put before what would begin a formula."""
    safe = printable(text)
    return f"'{safe}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else safe

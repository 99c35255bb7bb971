"""One file read by several processes: each reads its own rows of the tables in it, and all end with all of them.

What follows (transforms, checks, vectors that are compared with each other) needs whole tables, and goes on as in one process.
Whatever is wrong with a file is wrong for all of them.
"""

from collections.abc import Callable
from pathlib import Path

from nclbench.errors import InputError
from nclbench.files import printable, sampled, sha256
from nclbench.machine.machines import Machines
from nclbench.machine.processes import rank
from nclbench.machine.together import agreed, digest_of_first, share
from nclbench.sources.raw import STRING, Array, Entry, Raw

Parts = dict[str, Array]


def read(raw: Raw, keys: list[str], machines: Machines, guarded: Callable[[Callable[[], Parts]], Parts]) -> Parts:
    """The arrays of some keys. Lists, and all of a container that cannot be cut, are read whole by every process.

    guarded: makes errors of whatever a reader does with a damaged file.
    """
    tables = [key for key in keys if raw.cut is not None and _is_table(raw.entries[key])]
    with agreed(raw.origin) as seen:
        seen.append(sight(raw))
        found = guarded(lambda: _own(raw, keys, tables))
    for key in tables:
        found[key] = machines.table(found[key], raw.entries[key].shape[0])
    return found


def sight(raw: Raw) -> str:
    """What of a file must be the same for all processes."""
    return repr((sorted(raw.entries.items()), [sampled(path) for path in raw.files]))


def unchanged(raw: Raw, first: str) -> str:
    """The same again. InputError where it is not what it was at first: rows of two files would make one table."""
    if sight(raw) != first:
        raise InputError(f"{raw.origin}: changed while it was read; run again when nothing writes to it")
    return first


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, all of which one process reads for it."""
    with agreed(printable(path)):
        mine = sha256(path) if rank() == 0 else ""
    return digest_of_first(mine)


def _is_table(entry: Entry) -> bool:
    return len(entry.shape) > 1 and min(entry.shape) > 0 and entry.dtype != STRING


def _own(raw: Raw, keys: list[str], tables: list[str]) -> Parts:
    """Whole arrays, and of tables the rows of this process."""
    assert raw.cut is not None or not tables
    if raw.cut is None:
        return raw.fetch(keys)
    mine = {key: share(raw.entries[key].shape[0]) for key in tables}
    found = raw.cut({key: mine.get(key) for key in keys})
    for key, rows in mine.items():
        if found[key].shape != (rows.stop - rows.start, *raw.entries[key].shape[1:]):
            raise InputError(f"{raw.where(key)}: shape {found[key].shape} for rows {rows.start} to {rows.stop}; a damaged file")
    return found

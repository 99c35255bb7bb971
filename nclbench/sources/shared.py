"""One file read by several processes: each reads its own rows of the tables in it, and all end with all of them.

What follows (transforms, checks, vectors that are compared with each other) needs whole tables, and goes on as in one process.
Whatever is wrong with a file is wrong for all of them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nclbench.files import printable, sampled, sha256
from nclbench.processes import rank
from nclbench.sources.raw import STRING, Array, Entry, Raw
from nclbench.together import agreed, complete, digest_of_first, share

Parts = dict[str, Array]


def read(raw: Raw, keys: list[str], guarded: Callable[[Callable[[], Parts]], Parts]) -> Parts:
    """The arrays of some keys. Lists, and all of a container that cannot be cut, are read whole by every process.

    guarded: makes errors of whatever a reader does with a damaged file.
    """
    tables = [key for key in keys if raw.cut is not None and _is_table(raw.entries[key])]
    with agreed(raw.origin) as seen:
        seen.append(sight(raw))
        found = guarded(lambda: _own(raw, keys, tables))
    for key in tables:
        complete(found[key])
    return found


def sight(raw: Raw) -> str:
    """What of a file must be the same for all processes."""
    return repr((sorted(raw.entries.items()), [sampled(path) for path in raw.files]))


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, all of which one process reads for it."""
    with agreed(printable(path)):
        mine = sha256(path) if rank() == 0 else ""
    return digest_of_first(mine)


def _is_table(entry: Entry) -> bool:
    return len(entry.shape) > 1 and min(entry.shape) > 0 and entry.dtype != STRING


def _own(raw: Raw, keys: list[str], tables: list[str]) -> Parts:
    """Whole arrays, and tables in which only the rows of this process are filled."""
    assert raw.cut is not None or not tables
    if raw.cut is None:
        return raw.fetch(keys)
    found = raw.cut({key: share(raw.entries[key].shape[0]) if key in tables else None for key in keys})
    for key in tables:
        whole = np.empty(raw.entries[key].shape, found[key].dtype)
        whole[share(len(whole))] = found[key]
        found[key] = whole
    return found

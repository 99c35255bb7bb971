"""Several processes do one thing: each its own share of the rows, and what one of them cannot do none does.

Before anything is exchanged all say how far they came. A process that fails anywhere says so at its next such moment, which
is when the others come to theirs, so that nobody waits for one that has given up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import numpy as np

from nclbench.errors import InputError, MissingError, NclbenchError
from nclbench.files import printable
from nclbench.machine.processes import Unreachable, exchange, rank, spread, world

_KINDS: dict[str, type[NclbenchError]] = {kind.__name__: kind for kind in [NclbenchError] + NclbenchError.__subclasses__()}
_LENGTH, _DIGEST = 8, 64


@contextmanager
def agreed(what: str) -> Iterator[list[str]]:
    """The block of every process ends well, or all raise the error of the first process that has one.

    Gives a list for what the block has seen, which must be the same in all; what: the name of that, for the message.
    Within it, agreements may be nested; any other exchange may only follow one. Whatever ends the block in one process
    ends it in all: MissingError for a file or memory that fails there, NclbenchError for what should not happen.
    """
    failed, seen = None, list[str]()
    try:
        yield seen
    except Unreachable:  # there is nobody to agree with
        raise
    except Exception as error:
        failed = _told(error, what)
        if failed.everywhere:
            raise
    _compare(failed, "\n".join(seen), what)


def _told(error: Exception, what: str) -> NclbenchError:
    """As an error that others can be told, with the code that it would have in one process."""
    if isinstance(error, NclbenchError):
        return error
    if isinstance(error, MemoryError):
        return MissingError(f"{what}: out of memory; give a smaller problem")
    if isinstance(error, OSError) and error.strerror:
        return MissingError(f"{printable(error.filename) if error.filename else what}: {error.strerror}")
    told = NclbenchError(f"{what}: {type(error).__name__}: {printable(error)}; this is a bug in nclbench, --debug shows where")
    told.__cause__ = error
    return told


def _compare(failed: NclbenchError | None, seen: str, what: str) -> None:
    said = b"" if failed is None else f"{type(failed).__name__} {failed}".encode("utf-8", "surrogatepass")
    heads = exchange(len(said).to_bytes(_LENGTH, "little") + sha256(seen.encode("utf-8", "surrogatepass")).digest())
    lengths = [int.from_bytes(head[:_LENGTH], "little") for head in heads]
    if any(lengths):
        first = next(process for process, length in enumerate(lengths) if length)
        theirs = exchange(said.ljust(max(lengths), b" "))[first][: lengths[first]]
        kind, _, text = theirs.decode("utf-8", "surrogatepass").partition(" ")
        found = failed if failed is not None and first == rank() else _KINDS[kind](text)
    else:
        others = [process for process, head in enumerate(heads) if head != heads[0]]
        if not others:
            return
        found = InputError(f"{what}: process {others[0]} of this run sees another file than process 0; give all the same file")
    found.everywhere = True
    raise found from found.__cause__


def share(rows: int, process: int | None = None) -> slice:
    """Which of so many rows are a process' own; by default this one's."""
    number, count = rank() if process is None else process, world()
    return slice(rows * number // count, rows * (number + 1) // count)


def digest_of_first(digest: str) -> str:
    """The hex SHA-256 that the first process found."""
    sent = np.frombuffer(digest.ljust(_DIGEST).encode("ascii"), np.uint8).copy()
    spread(sent, 0)
    return sent.tobytes().decode("ascii")

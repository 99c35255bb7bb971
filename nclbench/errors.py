"""Everything a user can act on, with the exit code it means; printed as one line in one place (`nclbench.cli`)."""

from collections.abc import Iterable
from difflib import get_close_matches


class NclbenchError(Exception):
    """A problem that the user can solve. The message is one line: what was found, where, what to do.

    everywhere: every process of the run has this very error, so that one need say it.
    """

    exit_code = 70
    everywhere = False


class UsageError(NclbenchError):
    """An option, spec, metric or name that cannot be understood."""

    exit_code = 2


class InputError(NclbenchError):
    """A file or array that must not be scored: damaged, non-finite, mismatched, unsafe."""

    exit_code = 3


class MissingError(NclbenchError):
    """Something outside is missing: an extra, a device, a file, room on the disk, a permission."""

    exit_code = 4


class ConvergenceError(NclbenchError):
    """An operator did not converge, or a row is degenerate, and `--strict` was asked for."""

    exit_code = 5


class NotAvailable(NclbenchError):
    """An operator cannot be applied to this problem as its spec asks; its row says so instead of a number."""

    exit_code = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known word, else the list of what is known."""
    choices = sorted(known)
    folded = {each.lower(): each for each in reversed(choices)}
    same = [folded[word.lower()]] if word.lower() in folded else []
    close = same or get_close_matches(word, choices, n=1, cutoff=0.5)
    close = close or [folded[each] for each in get_close_matches(word.lower(), folded, n=1, cutoff=0.5)]
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(choices)})"

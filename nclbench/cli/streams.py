"""Standard streams that cannot fail on a character, a width or a reader that has gone; colour only where asked for."""

import os
import sys
from typing import TextIO

# unusable ones would make rich and typer fail
_WIDTHS = ("COLUMNS", "TERMINAL_WIDTH")


def prepare() -> None:
    """To be called once, before anything is printed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as with >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    for name in _WIDTHS:
        if name in os.environ and not is_positive(os.environ[name]):
            del os.environ[name]
    if os.environ.get("FORCE_COLOR") == "0":
        del os.environ["FORCE_COLOR"]
        os.environ["NO_COLOR"] = "1"
    if not styled(sys.stdout):
        # typer would colour its help in continuous integration
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"


def is_positive(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def styled(stream: TextIO) -> bool:
    """Whether escape codes may be written: to a terminal or under FORCE_COLOR, and never under TERM=dumb."""
    forced = os.environ.get("FORCE_COLOR", "") not in ("", "0")
    return (stream.isatty() or forced) and os.environ.get("TERM") not in ("dumb", "unknown")


def flush() -> None:
    """What is still buffered fails here, where it can be reported, and not while Python ends."""
    sys.stdout.flush()


def settle() -> None:
    """Before the end: what a stream cannot take goes nowhere, so that Python has nothing to report."""
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

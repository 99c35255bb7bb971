"""What ended a run early, as one line for people and an exit code."""

import os
import sys
from traceback import walk_tb
from typing import Any

from nclbench.errors import NclbenchError

INTERRUPTED = (130, "interrupted; nothing was written")
BUG = 70


class Terminated(SystemExit):
    """Somebody asked the process to end."""


def explained(error: BaseException) -> tuple[int, str]:
    """(exit code, line). The line is empty where there is nothing to say: a reader that has gone is not an error."""
    if isinstance(error, NclbenchError):
        return error.exit_code, f"error: {error}"
    # typer makes SystemExit(1) of a BrokenPipeError
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return 0, ""
    if isinstance(error, Terminated):
        return int(str(error.code)), "terminated; nothing was written"
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None), ""
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return INTERRUPTED
    # typer brings its own copy of click, so that click's exceptions are known by what they can do
    if hasattr(error, "format_message"):
        return _misused(error)
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return 4, "error: out of memory; give a smaller --memory or a smaller problem"
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return 4, "error: the device is out of memory; give a smaller --memory, a smaller problem, or --device cpu"
    if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in ("gloo", "nccl", "connection closed")):
        return 4, "error: another process of this run has ended or cannot be reached; nothing was written"
    if isinstance(error, OSError) and error.strerror:
        where = error.filename or ("stdout" if _printing(error) else "")
        return 4, f"error: {where}: {error.strerror}" if where else f"error: {error.strerror}"
    return BUG, f"error: {type(error).__name__}: {error}; this is a bug in nclbench, --debug shows where"


def _printing(error: BaseException) -> bool:
    """Whether it comes from something printed: what fails at a file has its name."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    return bool(modules) and modules[-1].startswith(("typer.", "click.", "rich.", "nclbench.cli."))


def _misused(error: Any) -> tuple[int, str]:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # making it has printed the help
        return error.exit_code, ""
    text = " ".join(str(error.format_message()).split()).rstrip(".").replace(". Did you mean", "; did you mean")
    line = f"error: {text[:1].lower()}{text[1:]}{_origin(error, context)}{_lost(text, context)}"
    return error.exit_code, f"{line}; see {context.command_path} --help" if context is not None else line


def _lost(text: str, context: Any) -> str:
    """Files given as an argument where they have an option, or the other way round; and what a missing argument may be."""
    if context is None:
        return ""
    asked = {parameter.name: parameter for parameter in context.command.params}
    if "extra argument" in text and "emb" in asked:
        return "; give files as --emb FILE"
    bare = [str(each.metavar) for each in asked.values() if getattr(each, "param_type_name", "") == "argument" and each.required]
    if bare and text.startswith(("No such option: --emb", "No such option: -o", "No such option: --output")):
        return f"; files have no option here: {context.command_path} {' '.join(bare)}"
    if text.startswith("Missing argument"):
        helps = [str(getattr(each, "help", "") or "") for each in asked.values() if f"'{each.metavar}'" in text]
        return f": {helps[0].rstrip('.')}" if any(helps) else ""
    return ""


def _origin(error: Any, context: Any) -> str:
    """Where a bad value stood, if not on the command line."""
    parameter = getattr(error, "param", None)
    if context is None or parameter is None:
        return ""
    source = getattr(context.get_parameter_source(parameter.name), "name", "")
    variable = f" (from NCLBENCH_{str(parameter.name).upper()})"
    return {"ENVIRONMENT": variable, "DEFAULT_MAP": " (from a config file)"}.get(source, "")


def debugging() -> bool:
    """Whether tracebacks are wanted; asked before, or after, the options could be read."""
    return "--debug" in sys.argv or os.environ.get("NCLBENCH_DEBUG", "").lower() in ("1", "true", "yes", "on")

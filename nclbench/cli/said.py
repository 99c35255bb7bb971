"""The command that stands in results: with what variables and config files said, so that it can be given again anywhere."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

# on which machine, and where to: not a part of what was asked
_APART = {
    "device", "memory", "threads", "no_progress", "quiet", "debug", "config", "format", "json", "out", "out_dir", "export_run",
}  # fmt: skip
_MACHINE = {"NCLBENCH_DEVICE", "NCLBENCH_MEMORY", "NCLBENCH_THREADS"}
# what a root context holds while only the words of a command count
WORDS_ALONE = "words alone"


def command(context: typer.Context) -> str:
    """The words that were given, and as options what came from elsewhere."""
    words = ["nclbench", *sys.argv[1:]]
    for parameter in context.command.params:
        found: Any = parameter
        source = getattr(context.get_parameter_source(str(found.name)), "name", "")
        if source not in ("ENVIRONMENT", "DEFAULT_MAP") or found.name in _APART:
            continue
        name = next(name for name in found.opts if name.startswith("--"))
        value = context.params[found.name]
        if found.is_flag:
            words += [name] * bool(value)
        else:
            words += [word for each in (value if found.multiple else [value]) for word in (name, str(each))]
    return shlex.join(words)


@contextmanager
def words_alone(root: typer.Context) -> Iterator[None]:
    """While it lasts, a command below `root` takes nothing but its words, and of variables those of the machine."""
    hidden = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("NCLBENCH_") and name not in _MACHINE}
    root.obj = WORDS_ALONE
    try:
        yield
    finally:
        os.environ.update(hidden)

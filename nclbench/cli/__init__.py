"""The command line: it connects files, evaluation and tables, and is the one place where errors are printed."""

import os
import signal
import sys
import traceback
from typing import Any

import typer

from nclbench import __version__
from nclbench.cli.convert import convert
from nclbench.cli.datasets import app as datasets
from nclbench.cli.demo import demo
from nclbench.cli.eval import evaluate
from nclbench.cli.inspect import inspect
from nclbench.cli.list import names
from nclbench.cli.table import table
from nclbench.errors import NclbenchError
from nclbench.files import printable

BUG = 70

app = typer.Typer(
    name="nclbench",
    help="Honest, fast evaluation of cross-modal retrieval: exact metrics, hubness remedies, tables.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 differences, 2 usage, 3 invalid input, 4 something missing, 5 not converged, 70 bug.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"nclbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


app.command("demo")(demo)
app.command("eval")(evaluate)
app.command("inspect")(inspect)
app.command("convert")(convert)
app.command("table")(table)
app.command("list")(names)
app.add_typer(datasets, name="datasets")


def main() -> None:
    """Runs the program and ends the process with the documented exit code."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except NclbenchError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted; nothing was written")
        sys.exit(130)
    except BrokenPipeError:
        # the reader has gone: what is still buffered must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            _say("error: out of memory; give a smaller --memory or a smaller problem")
            sys.exit(4)
        _say(f"error: {type(error).__name__}: {error}; this is a bug in nclbench, --debug shows where")
        sys.exit(BUG)


def _terminated(number: int, frame: Any) -> None:
    _say("terminated; nothing was written")
    sys.exit(128 + number)


def _say(text: str) -> None:
    typer.echo(printable(text), err=True)



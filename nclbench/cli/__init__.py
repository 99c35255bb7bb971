"""The command line: it connects files, evaluation and tables, and is the one place where errors are printed."""

import signal
import sys
import traceback
from typing import Any

import typer

from nclbench import __version__
from nclbench.cli import processes, streams
from nclbench.cli.bench import bench
from nclbench.cli.compare import compare
from nclbench.cli.convert import convert
from nclbench.cli.datasets import app as datasets
from nclbench.cli.demo import demo
from nclbench.cli.embed import embed
from nclbench.cli.eval import evaluate
from nclbench.cli.failures import INTERRUPTED, Terminated, debugging, explained
from nclbench.cli.gate import gate
from nclbench.cli.hubness_report import hubness_report
from nclbench.cli.inspect import inspect
from nclbench.cli.list import names
from nclbench.cli.normalize import normalize
from nclbench.cli.options import SETTINGS
from nclbench.cli.sweep import sweep
from nclbench.cli.table import table
from nclbench.cli.verify import verify
from nclbench.files import printable

app = typer.Typer(
    name="nclbench",
    help="Honest, fast evaluation of cross-modal retrieval: exact metrics, hubness remedies, tables.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Every option can also be set by a variable (--no-labels: NCLBENCH_NO_LABELS=1; where an option repeats, "
    "spaces separate) or in a file, in its table \\[eval] or at the top: --config FILE, else nclbench.toml or "
    "\\[tool.nclbench] of pyproject.toml. An option goes before a variable, a variable before a file.\n\n"
    "Exit codes: 0 done, 1 a gate failed or something differs, 2 usage, 3 invalid input, 4 something missing, "
    "5 not converged, 70 bug.",
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


app.command("demo", context_settings=SETTINGS)(demo)
app.command("eval", context_settings=SETTINGS)(evaluate)
app.command("embed", context_settings=SETTINGS)(embed)
app.command("hubness-report", context_settings=SETTINGS)(hubness_report)
app.command("normalize", context_settings=SETTINGS)(normalize)
app.command("sweep", context_settings=SETTINGS)(sweep)
app.command("inspect", context_settings=SETTINGS)(inspect)
app.command("convert", context_settings=SETTINGS)(convert)
app.command("bench", context_settings=SETTINGS)(bench)
app.command("compare", context_settings=SETTINGS)(compare)
app.command("table", context_settings=SETTINGS)(table)
app.command("gate", context_settings=SETTINGS)(gate)
app.command("verify", context_settings=SETTINGS)(verify)
app.command("list", context_settings=SETTINGS)(names)
app.add_typer(datasets, name="datasets")


def main() -> None:
    """Runs the program and ends the process with the documented exit code."""
    streams.prepare()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(prog_name="nclbench", standalone_mode=False)
        streams.flush()
    except BaseException as error:
        code, line = explained(error)
        if debugging() and not isinstance(error, SystemExit):
            traceback.print_exc()
        # what all processes of a run have found is said once
        known = code in (2, 3, 5) or getattr(error, "everywhere", False)
        _say("" if processes.follower() and known else line)
    else:
        code = code if isinstance(code, int) else 0
        if code == INTERRUPTED[0]:  # which is how typer returns a KeyboardInterrupt
            _say(INTERRUPTED[1])
    streams.settle()
    sys.exit(code)


def _terminated(number: int, frame: Any) -> None:
    raise Terminated(128 + number)


def _say(line: str) -> None:
    try:
        if line:
            typer.echo(printable(line), err=True)
    except OSError:  # nobody listens
        pass

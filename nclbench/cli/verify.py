"""`nclbench verify`: saved results made again from the files that they name."""

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import options, output, said, targets
from nclbench.errors import InputError, UsageError
from nclbench.files import printable

if TYPE_CHECKING:
    from nclbench.results import Results


# options of eval that say what is written or printed; only one file is, and is thrown away
_WRITES = ("out", "out_dir", "export_run", "format")


def verify(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="A results.json file.", show_default=False)],
    format: options.Format = None,
    json: options.Json = False,
    out: options.Written = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Evaluate again what results.json was made of; exit code 1 and the reason if it differs.

    nclbench verify results.json
    """
    chosen = output.choose_format(format, json, out)
    if chosen not in ("table", "md", "json"):
        raise UsageError(f"verify writes lines or json, not {chosen}")
    output.check_ending(out, format, json)
    targets.check(output=out, inputs=[str(file) for file in targets.beside(results)], config=config)
    from nclbench.comparison.again import findings, why
    from nclbench.files import write_text
    from nclbench.report import again
    from nclbench.sinks.results import read_json

    then = read_json(Path(results))
    hashes = _hashes(then, results)
    found = findings(then, _again(then, results), hashes)
    text = (again.as_json if chosen == "json" else again.as_lines)(found, len(then.runs))
    if out is not None:
        write_text(Path(out), text)
        if not quiet:
            typer.echo(f"wrote {printable(out)}", err=True)
    else:
        output.put(text, json=chosen == "json")
    if why(found):
        raise typer.Exit(1)


def _hashes(then: "Results", where: str) -> dict[str, str | None]:
    """Each input as it is now; of a folder only the figures can tell. MissingError where one is gone."""
    from nclbench.errors import MissingError
    from nclbench.files import regular, sha256

    found: dict[str, str | None] = {}
    for entry in then.inputs:
        path = Path(str(entry.get("path")))
        try:
            found[str(entry.get("path"))] = entry.get("sha256") if path.is_dir() else sha256(regular(path))
        except MissingError as error:
            raise MissingError(f"{error}; {where} was made of it: run verify where its paths lead to files") from None
    return found


def _again(then: "Results", where: str) -> "Results":
    """What its command gives now, written to a place that is thrown away; no other file is written."""
    from nclbench.cli import app
    from nclbench.sinks.results import read_json

    try:
        words = shlex.split(then.command)
    except ValueError:
        words = []
    if words[:2] != ["nclbench", "eval"]:
        reason = f"its command is {printable(then.command)[:60]!r}" if then.command else "it names no command"
        raise InputError(f"{where}: cannot be made again, because {reason}; verify reads what nclbench eval saved")
    command: Any = typer.main.get_command(app)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "again.json"
        root = command.make_context("nclbench", ["eval"], resilient_parsing=True)
        with _silent(), said.words_alone(root):
            try:
                context = command.commands["eval"].make_context("eval", words[2:], parent=root)
            except typer.Exit:
                context = None
        if context is None:  # as --help, which ends well and evaluates nothing
            raise InputError(f"{where}: its command {printable(then.command)[:60]!r} evaluates nothing; evaluate again")
        context.params |= dict.fromkeys(_WRITES) | {"out": str(path), "quiet": True, "no_progress": True, "json": True}
        with context, _silent():
            context.command.invoke(context)
        return read_json(path)


def _silent() -> Any:
    """What eval would print is not asked for."""
    import contextlib
    import io

    return contextlib.redirect_stdout(io.StringIO())

"""`nclbench bench`: our speed on this machine, against its limits and against what else is installed."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nclbench.cli import options, output, targets
from nclbench.cli.progress import Progress

if TYPE_CHECKING:
    from nclbench.bench.runs import Report


def _option(*names: str, panel: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_envvar=False, **more)


Size = Annotated[int, _option("--size", min=2, max=200_000, metavar="N", help="Queries, and as many items.")]
Dim = Annotated[int, _option("--dim", min=2, max=65_536, metavar="D", help="Width of the vectors.")]
Repeats = Annotated[int, _option("--repeats", min=1, max=1000, metavar="N", help="Rounds; slow variants run fewer.")]
Peers = Annotated[bool, _option("--peers/--no-peers", help="Also time others that are installed.")]
Out = Annotated[
    str | None, _option("--output", "-o", panel="Output", metavar="FILE", help="A file; .json has every round.")
]


def bench(
    size: Size = 5000,
    dim: Dim = 512,
    repeats: Repeats = 5,
    peers: Peers = True,
    format: options.Format = None,
    json: options.Json = False,
    out: Out = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    config: options.Config = None,
    no_progress: options.NoProgress = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Our stages timed on this machine: as shares of its limits, and beside other libraries.

    nclbench bench --size 2000 --no-peers
    """
    chosen = output.choose_format(format, json, None if output.saves(out) else out)
    targets.check(output=out, config=config)
    output.check_ending(out, format, json, saved=True)

    from nclbench.bench.threads import settle

    count = settle(threads, device)

    from nclbench.bench.runs import run
    from nclbench.files import printable, write_text
    from nclbench.plan import choose

    plan = choose(device, None, count)
    with Progress(not (no_progress or quiet)) as progress:
        report = run(size, dim, repeats, plan, count, peers=peers, said=progress)
    if out is not None:
        write_text(Path(out), _text(report, "json" if output.saves(out) else chosen))
    if out is None or output.saves(out):
        _show(report, chosen)
    if out is not None and not quiet:
        typer.echo(f"wrote {printable(out)}", err=True)


def _text(report: "Report", format: str) -> str:
    if format == "json":
        from json import dumps

        command = shlex.join(["nclbench", *sys.argv[1:]])
        return dumps(report.to_json() | {"command": command}, indent=1, allow_nan=False) + "\n"
    from nclbench.bench.table import build

    if format == "table":
        from nclbench.cli.terminal import plain

        return plain(build(report))
    from importlib import import_module

    from nclbench.report import DIALECTS

    return str(import_module(f"nclbench.report.{DIALECTS[format]}").render(build(report)))


def _show(report: "Report", format: str) -> None:
    """To stdout, on a terminal as wide as that is."""
    if format == "table":
        from nclbench.bench.table import build
        from nclbench.cli.terminal import show, stdout_console

        show(build(report), stdout_console())
        return
    output.put(_text(report, format), json=format == "json")

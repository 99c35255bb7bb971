"""`nclbench table`: saved results as one table."""

from pathlib import Path
from typing import Annotated

import typer

from nclbench.cli import options, output, targets


def table(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS…", help="results.json files.", show_default=False)],
    metric: options.Metric = None,
    format: options.Format = None,
    json: options.Json = False,
    out: options.Output = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """One table of saved results; nothing is computed again.

    nclbench table results.json -f latex -o table.tex
    """
    chosen = output.choose_format(format, json, out)
    targets.check(output=out, inputs=[str(file) for path in results for file in targets.beside(path)], config=config)
    output.check_ending(out, format)
    from nclbench.files import printable, write_text
    from nclbench.results import Results
    from nclbench.sinks.results import read_json

    joined = Results.joined([read_json(Path(path)) for path in results])
    text = output.render(joined, chosen, metric)
    if out is None:
        output.show(joined, chosen, text, metric)
        return
    write_text(Path(out), text)
    if not quiet:
        typer.echo(f"wrote {printable(out)}", err=True)

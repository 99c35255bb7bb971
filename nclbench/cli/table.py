"""`nclbench table`: saved results as one table."""

from pathlib import Path
from typing import Annotated

import typer

from nclbench.cli import options, output


def table(
    results: Annotated[list[str], typer.Argument(metavar="RESULTS…", help="results.json files.")],
    metric: options.Metric = None,
    format: options.Format = None,
    json: options.Json = False,
    out: options.Output = None,
) -> None:
    """One table of saved results; nothing is computed again."""
    chosen = output.choose_format(format, json, out)
    output.check(out, None)
    from nclbench.files import write_text
    from nclbench.results import Results
    from nclbench.sinks.results import read_json

    joined = Results.joined([read_json(Path(path)) for path in results])
    if out:
        from nclbench.report import render

        write_text(Path(out), render(joined, "md" if chosen == "table" else chosen, metric))
    else:
        output.show(joined, chosen, metric)

"""CSV for spreadsheets and scripts: one line a run, unrounded figures, nothing that a spreadsheet would execute."""

import csv
import io

from nclbench.files import spreadsheet as guard
from nclbench.report.cells import Table

KEYS = ("dataset", "split", "model", "scorer", "direction", "protocol", "spec", "fitted_on", "standing")
TAIL = ("unavailable", "remark", "signature")


def render(table: Table) -> str:
    """A header and a line a row. Missing figures are empty cells."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*KEYS, *map(guard, table.metrics), *TAIL])
    for row in table.rows:
        figures = ["" if cell.value is None else repr(cell.value) for cell in row.cells]
        texts = [[guard(getattr(row, name)) for name in names] for names in (KEYS, TAIL)]
        writer.writerow([*texts[0], *figures, *texts[1]])
    return stream.getvalue()

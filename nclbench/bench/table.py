"""A run of contests as a table of the report: one group a contest, one row a variant."""

from dataclasses import dataclass
from statistics import median

from nclbench.bench.figures import Figure
from nclbench.bench.runs import Report
from nclbench.files import printable
from nclbench.report.cells import Cell, Group, Note, Row, Table

COLUMNS = ("seconds", "ratio", "goal")
_OURS = "x ours: how many times our seconds this takes"
_CLOCKS = {"wall": "by the wall", "cpu": "of the process, whatever else ran"}


@dataclass(frozen=True)
class Timings(Table):
    """A table whose rows are variants of a piece of work."""

    @property
    def heads(self) -> tuple[str, ...]:
        return ("variant",)


def build(report: Report) -> Timings:
    said = [_OURS, f"seconds are {_CLOCKS[report.clock]}, medians of rounds; ratios are medians of paired rounds"]
    if report.clock == "wall" and max(load or 0.0 for load in report.load) > 0.7 * (report.machine["cores"] or 1):
        said.append("the machine was busy, and threads wait for each other: --threads 1 gives figures that mean more")
    notes = [Note("·", text) for text in said]
    if report.missing:
        notes.append(Note("·", f"not installed: {', '.join(report.missing)}"))
    failed = [(stage.title, each) for stage in report.stages for each in stage.figures if each.failed]
    notes += [Note("·", printable(f"{title}: {each.name}: {each.failed}")) for title, each in failed]
    return Timings(
        caption=printable(_caption(report)),
        labels=("spec",),
        metrics=COLUMNS,
        groups=tuple(
            Group(stage.title, printable(stage.title), (tuple(_row(figure) for figure in stage.figures),))
            for stage in report.stages
        ),
        notes=tuple(notes),
        legend="",
        signatures=(),
    )


def _caption(report: Report) -> str:
    limits, threads = report.limits, report.environment["threads"]
    load = "" if report.load[0] is None else f", load {report.load[0]:.1f}"
    return (
        f"{report.size} x {report.size}, width {report.dim}, {threads} thread{'s' * (threads > 1)}, "
        f"{report.environment['device']}{load}: reads {limits['read_gb_per_s']:.1f} GB/s, "
        f"multiplies {limits['gemm_gflop_per_s']:.0f} GFLOP/s ({limits['gemm']})"
    )


def _row(figure: Figure) -> Row:
    name = figure.name + (f" ({figure.note})" if figure.note else "")
    seconds = median(figure.seconds) if figure.seconds else None
    goal = None if figure.goal is None else figure.goal[1]
    cells = (
        Cell("n/a" if seconds is None else shown(seconds), seconds),
        Cell("–" if figure.value is None else f"{shown(figure.value)} {figure.unit}", figure.value, figure.unit),
        Cell("" if figure.goal is None else _goal(figure), goal),
    )
    return Row(
        dataset="", split="", model="", scorer="", direction="", protocol="", spec=printable(name), fitted_on="",
        standing="", transductive=False, unavailable=printable(figure.failed), remark="", signature="", cells=cells,
    )  # fmt: skip


def _goal(figure: Figure) -> str:
    assert figure.goal is not None
    reached = {True: ", yes", False: ", no", None: ""}[figure.met]
    return f"{figure.goal[0]} {figure.goal[1]:.3g}{reached}"


def shown(value: float) -> str:
    """Three digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.6f}"

"""A comparison as a table, as CSV and as JSON. Every difference is marked as significant or as not."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module

from nclbench.comparison import LEVEL, Compared, Comparison, Difference
from nclbench.comparison.flips import HEADS, flips
from nclbench.errors import UsageError, nearest
from nclbench.files import printable
from nclbench.report import DIALECTS, FORMATS
from nclbench.report.cells import STANDINGS, Cell, Group, Note, Row, Table
from nclbench.report.csv import lines
from nclbench.report.json import safe
from nclbench.report.standing import standing, standings
from nclbench.report.table import shown, title

SCHEMA = "nclbench.comparison/1"
REAL, NOISE = "*", "n.s."
COLUMNS = ("baseline", "value", "difference", "95 % interval", "p", "p (Holm)", "won", "lost", "detectable")
_KEYS = ("dataset", "split", "direction", "protocol", "model", "spec", "against_model", "against_spec")


def render(comparison: Comparison, format: str) -> str:
    """The comparison as text in one of `FORMATS`, with a final newline."""
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}{nearest(format, FORMATS)}")
    if format in ("json", "csv"):
        return _json(comparison) if format == "json" else _csv(comparison)
    return str(import_module(f"nclbench.report.{DIALECTS[format]}").render(table(comparison)))


def table(comparison: Comparison) -> Table:
    """One row a metric, in blocks of one run each, in groups of one direction and protocol."""
    grouped: dict[tuple[str, str], list[Compared]] = {}
    for each in comparison.compared:
        run = each.pair.other[1]
        grouped.setdefault((run.selector, run.protocol), []).append(each)
    blocks = {key: tuple(_block(each) for each in found) for key, found in grouped.items()}
    rows = [row for found in blocks.values() for block in found for row in block]
    names = ("dataset", "split", "model")
    identity = {name: list(dict.fromkeys(getattr(row, name) for row in rows)) for name in names}
    said = [f"{name} {found[0]}" for name, found in identity.items() if len(found) == 1 and found[0]]
    runs = [run for each in comparison.compared for _, run in (each.pair.reference, each.pair.other)]
    return Table(
        caption=", ".join(said),
        labels=(*(name for name, found in identity.items() if len(found) > 1), "spec", "against", "metric"),
        metrics=COLUMNS,
        groups=tuple(
            Group(key[0], title(*key, any(selector == "v2t-videos" for selector, _ in grouped)), found)
            for key, found in blocks.items()
        ),
        notes=(*_standing_notes(rows), *tests(comparison)),
        legend="",
        signatures=tuple(dict.fromkeys(printable(run.signature) for run in runs)),
    )


def by_query(comparison: Comparison) -> str:
    """CSV of the queries won and lost, see `nclbench.comparison.flips`."""
    return lines(HEADS, flips(comparison))


def _block(each: Compared) -> tuple[Row, ...]:
    return tuple(_row(each, difference) for difference in each.differences)


def _row(each: Compared, found: Difference) -> Row:
    run, reference = each.pair.other[1], each.pair.reference[1]
    against = reference.operator.spec
    if reference.model != run.model:
        against = reference.model if against == run.operator.spec else f"{reference.model} {against}"
    elif each.pair.reference[0] is not each.pair.other[0] and against == run.operator.spec:
        against = each.pair.reference[0].name
    places = 3 if found.unit == "fraction" else 1
    low, high = (f"{end:+.{places}f}" for end in (found.low, found.high))
    return Row(
        dataset=printable(run.dataset),
        split=printable(run.split),
        model=printable(run.model),
        scorer=printable(run.scorer),
        direction=run.direction,
        protocol=run.protocol,
        spec=printable(run.operator.spec),
        fitted_on=printable(run.operator.seen),
        standing=standing(run),
        transductive=run.operator.transductive,
        unavailable="",
        remark="",
        signature=printable(run.signature),
        cells=(
            Cell(shown(found.before, found.unit), found.before),
            Cell(shown(found.after, found.unit), found.after),
            Cell(f"{found.difference:+.{places}f}", found.difference, signs=(REAL if found.significant else NOISE,)),
            Cell(f"{low} to {high}", found.low),
            Cell(probability(found.p), found.p),
            Cell(probability(found.adjusted), found.adjusted),
            Cell(str(found.won), found.won),
            Cell(str(found.lost), found.lost),
            Cell("–" if found.detectable is None else shown(found.detectable, found.unit), found.detectable),
        ),
        signs=tuple(STANDINGS[name][0] for name in standings(run) if STANDINGS[name][0]),
        metric=printable(found.metric),
        against=printable(against),
    )


def probability(p: float) -> str:
    """`0.034`, `<0.001`."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _standing_notes(rows: Sequence[Row]) -> list[Note]:
    signs = {sign for row in rows for sign in row.signs}
    return [Note(sign, text.removesuffix("; ranked apart")) for sign, text in STANDINGS.values() if sign in signs]


def tests(comparison: Comparison) -> Sequence[Note]:
    """What the signs mean, the significant one first, and how intervals are found."""
    found = [difference for each in comparison.compared for difference in each.differences]
    tests = {difference.test for difference in found}
    clustered = any(difference.clusters is not None for difference in found)
    method = " and ".join(
        text
        for name, text in (
            ("McNemar", "exact McNemar tests of hits"),
            ("permutation", f"paired permutation tests ({comparison.resamples} draws)"),
        )
        if name in tests
    )
    drawn = "; captions of one item are drawn and swapped together" if clustered else ""
    family = f"{len(found)} comparisons" if len(found) > 1 else "1 comparison"
    alpha = f"{100 * (1 - LEVEL):.0f} %"
    return [
        Note(REAL, f"significant at {alpha}: {method}, Holm's correction over {family}"),
        Note(NOISE, f"not significant at {alpha} after the correction"),
        Note("", f"intervals: paired bootstrap, 95 %, {comparison.resamples} resamples{drawn}; not corrected"),
        Note("", "detectable: the true difference that such a test finds four times in five, before the correction"),
        *(Note("", printable(note)) for note in comparison.notes),
    ]


def _identity(each: Compared) -> tuple[str, ...]:
    run, reference = each.pair.other[1], each.pair.reference[1]
    return (
        run.dataset, run.split, run.direction, run.protocol, run.model, run.operator.spec,
        reference.model, reference.operator.spec,
    )  # fmt: skip


def _json(comparison: Comparison) -> str:
    entries = []
    for each in comparison.compared:
        own = dict(zip(_KEYS, _identity(each), strict=True))
        own |= {"file": each.pair.other[0].name, "against_file": each.pair.reference[0].name}
        for difference in each.differences:
            entries.append({**own, **asdict(difference), "significant": difference.significant, "better": difference.better})
    data = {
        "schema": SCHEMA,
        "interval": f"bootstrap, {100 * LEVEL:g} %",
        "correction": "Holm",
        "tests": comparison.tests,
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "comparisons": entries,
        "notes": list(comparison.notes),
    }
    return safe(json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1)) + "\n"


def _csv(comparison: Comparison) -> str:
    fields = tuple(Difference.__dataclass_fields__)
    rows = (
        (*_identity(each), *(asdict(difference)[name] for name in fields), str(difference.significant).lower())
        for each in comparison.compared
        for difference in each.differences
    )
    return lines((*_KEYS, *fields, "significant"), rows)

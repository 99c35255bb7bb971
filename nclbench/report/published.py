"""Reported rows in groups of their own under a table: cited, marked where their protocol differs, and never ranked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from nclbench.files import printable
from nclbench.report.cells import STANDINGS, Cell, Group, Note, Row, Table
from nclbench.report.table import shown
from nclbench.reported import NORMS, UNITS, Placed

SIGN = "¶"
_TRANSDUCTIVE = Note(*STANDINGS["transductive"])
_DIFFERS = "published under another protocol than the rows above, or one that is not stated"
_REPORTED = "Published rows are figures as their source reports them; they are not computed here and not ranked."
_NONE = "No published row has any of these figures."
_Joined = dict[tuple[str, ...], dict[str, Placed]]


def with_published(table: Table, placed: Sequence[Placed], decimals: int = 1) -> Table:
    """The table with a group of published rows for each direction, or one group whose columns are the directions."""
    columns = list(zip(table.over or ("",) * len(table.metrics), table.metrics, strict=True))
    numbers = {int(note.sign): note.text for note in table.notes if note.sign.isdigit()}
    seen = {text: number for number, text in numbers.items()}
    selectors = [""] if table.over else list(dict.fromkeys(group.selector for group in table.groups))
    several = len({each.dataset for each in placed}) > 1
    groups, apart = list(table.groups), not {"direction", "protocol"}.isdisjoint(table.labels)
    for selector in selectors:
        for dataset in dict.fromkeys(each.dataset for each in placed):
            own = [each for each in placed if each.dataset == dataset and selector in ("", each.selector)]
            rows = [_row(each, columns, decimals, table) for each in _joined(own, apart).values()]
            if rows := [_signed(row, seen) for row in rows if any(cell.value is not None for cell in row.cells)]:
                where = f" on {printable(dataset)}" if several else ""
                groups.append(Group(selector, f"{selector}{', ' * bool(selector)}published{where}", (tuple(rows),)))
    added = [row for group in groups[len(table.groups) :] for block in group.blocks for row in block]
    if not added:
        return replace(table, notes=(*table.notes, Note("", _NONE)))
    marked = [Note(SIGN, _DIFFERS)] * any(SIGN in row.signs for row in added)
    if any(_TRANSDUCTIVE.sign in row.signs for row in added) and _TRANSDUCTIVE not in table.notes:
        marked = [_TRANSDUCTIVE, *marked]
    more = [Note(str(number), text) for text, number in seen.items() if number not in numbers]
    told = tuple(name for name in ("backbone", "cited") if any(getattr(row, name) for row in added))
    labels = table.labels if "model" in table.labels else _led(table.labels)
    at = labels.index("model") + 1
    return replace(
        table,
        caption=table.caption if labels == table.labels else _without_model(table),
        labels=(*labels[:at], *told, *labels[at:]),
        groups=tuple(groups),
        notes=(*table.notes, *more, *marked, Note("", _REPORTED)),
    )


def cited(table: Table) -> list[str]:
    """The keys of the rows that a table shows."""
    return list(dict.fromkeys(row.cited for row in table.rows if row.cited))


def as_json(placed: Sequence[Placed]) -> list[Mapping[str, Any]]:
    """The rows as they are kept, with their dataset and what differs."""
    return [{"dataset": each.dataset, **asdict(each.row), "differs": list(each.differs)} for each in placed]


def _led(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels with the model among them, behind dataset and split."""
    at = max((labels.index(name) + 1 for name in ("dataset", "split") if name in labels), default=0)
    return (*labels[:at], "model", *labels[at:])


def _without_model(table: Table) -> str:
    """The caption without the one model, which published rows are not of."""
    said = f"model {table.rows[0].model}" if table.rows else ""
    return table.caption.replace(f", {said}", "", 1).removeprefix(f"{said}, ").removeprefix(said)


def _joined(placed: Sequence[Placed], apart: bool) -> _Joined:
    """The directions of one row together, unless a label keeps them apart."""
    found: _Joined = {}
    for each in placed:
        found.setdefault((*each.row.identity, each.selector * apart), {})[each.selector] = each
    return found


def _row(each: Mapping[str, Placed], columns: Sequence[tuple[str, str]], decimals: int, table: Table) -> Row:
    first = next(iter(each.values()))
    used = [one for one in each.values() if not table.over or one.selector in table.over]
    reasons = dict.fromkeys(text for one in used for text in one.differs)
    row = first.row
    return Row(
        dataset=printable(first.dataset), split=row.split, model=row.method, scorer="", direction=row.direction,
        protocol=row.v2t_protocol if row.direction == "v2t" else "queries", spec=row.test_norm,
        fitted_on=NORMS[row.test_norm], standing="published", transductive=NORMS[row.test_norm] == "test-queries",
        unavailable="", remark="; ".join(filter(None, [*reasons, row.note])), signature="", backbone=row.backbone,
        cited=row.key, signs=(*(_TRANSDUCTIVE.sign,) * (NORMS[row.test_norm] == "test-queries"), *(SIGN,) * bool(reasons)),
        cells=tuple(_cell(each[selector] if selector else first, metric, decimals) if selector in each or not selector
                    else Cell("–") for selector, metric in columns),
    )  # fmt: skip


def _cell(each: Placed, metric: str, decimals: int) -> Cell:
    """A figure with no more places than the source gives."""
    value = each.row.metrics.get(metric)
    if value is None:
        return Cell("–")
    own = len(repr(float(value)).partition(".")[2])
    return Cell(shown(value, UNITS[metric], min(decimals, own)), float(value), UNITS[metric])


def _signed(row: Row, seen: dict[str, int]) -> Row:
    """With the number of its remark, which equal remarks share."""
    if not row.remark:
        return row
    number = seen.setdefault(row.remark, max(seen.values(), default=0) + 1)
    return replace(row, signs=(*row.signs, str(number)))

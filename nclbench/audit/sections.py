"""The report as text: sections with one small table each, for a terminal, for Markdown and for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nclbench.audit.advice import Advice
from nclbench.audit.findings import Finding, findings
from nclbench.audit.people import Person, hubs, starved
from nclbench.audit.states import Direction
from nclbench.files import printable
from nclbench.report.markdown import escape
from nclbench.results import Results

# how much of a caption a table has room for
_LONG = 60


@dataclass(frozen=True)
class Section:
    """heads: of the columns; right: how many of the last columns are figures. lines: sentences below the table."""

    title: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    right: int = 0
    lines: tuple[str, ...] = field(default=())


def sections(directions: Sequence[Direction], advice: Sequence[Advice]) -> list[Section]:
    """All that is said on a terminal, printable: findings, advice, hubs and starved items of each direction."""
    found = []
    for direction in directions:
        counsel = [f"try: {printable(each.text)}" for each in advice if each.direction == direction.name]
        found.append(_findings(direction, counsel))
        found.append(_people(direction, f"{direction.name}: shown most", hubs(direction)))
        found.append(_people(direction, f"{direction.name}: most starved", starved(direction)))
    return found


def _findings(direction: Direction, counsel: Sequence[str]) -> Section:
    labels = [printable(direction.label(state)) for state in direction.states]
    n, m = (len(table["id"]) for table in (direction.reference.queries, direction.reference.items))
    _, asking, _, asked = direction.words
    rows = tuple(
        (each.verdict, each.says, *(_value(each, number) for number in range(len(labels))), _chance(each), each.thresholds)
        for each in findings(direction)
    )
    return Section(
        f"{direction.name}: {n} {asking}, {m} {asked}",
        ("verdict", "finding", *labels, "by chance", "thresholds"),
        rows,
        len(labels) + 2,
        tuple(counsel),
    )


def _value(finding: Finding, number: int) -> str:
    each = finding.values[number]
    if each is None:
        return "–"
    return finding.text(each[0]) + (f" {each[1]}" if number and each[1] != "info" else "")


def _chance(finding: Finding) -> str:
    if finding.chance is None:
        return ""
    mean, low, high = map(finding.text, finding.chance)
    return f"{mean} ({low} to {high})"


def _people(direction: Direction, title: str, people: Sequence[Person]) -> Section:
    """Operators' names are long, so columns are numbered."""
    k = direction.cutoff
    labels = direction.labels
    names = ["raw" if label == "raw" else str(at) for at, label in enumerate(labels)]
    meant = [f"{name}: {printable(label)}" for name, label in zip(names, labels, strict=True) if name != "raw"]
    titled = any(person.title for person in people)
    stolen = "bad@1" in direction.reference.items
    heads = (
        direction.words[2],
        *(["text"] if titled else []),
        *(f"lists {name}" for name in names),
        *(f"wrong {name}" for name in names if stolen),
        *(f"p {name}" for name in names),
    )
    rows = tuple(
        (
            printable(person.name),
            *([_cut(printable(person.title))] if titled else []),
            *map(str, person.shown),
            *(str(count) for count in person.stolen if stolen),
            *("–" if mass is None else f"{mass:.2f}" if mass >= 0.1 else f"{mass:.1g}" for mass in person.mass),
        )
        for person in people
    )
    others = (f"chosen by {printable(labels[0])} alone; the page (-o report.html) sorts all of them by any of the scores",)
    wrong = f"; wrong: of how many {direction.words[1]} it takes the first place wrongly" if stolen else ""
    lines = (
        f"lists: how many top-{k} lists it is in, {direction.share:.1f} is a fair share{wrong}; "
        f"p: its retrieval probability, {direction.share / k:.2f} is a fair share",
        *meant,
        *(others if len(labels) > 1 else ()),
        *_temperatures(direction),
    )
    return Section(title, heads, rows, len(heads) - 1 - titled, lines)


def _temperatures(direction: Direction) -> tuple[str, ...]:
    """Models of other temperatures have probabilities of their own."""
    pairs = zip(direction.labels, direction.states, strict=True)
    known = {label: tau for label, state in pairs if (tau := state.tau) is not None}
    if len(set(known.values())) < 2:
        return ()
    return ("p at tau: " + ", ".join(f"{tau:g} ({printable(label)})" for label, tau in known.items()),)


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1].rstrip()}…"


def markdown(found: Sequence[Section]) -> str:
    """The sections as Markdown."""
    parts = []
    for section in found:
        parts.append(f"## {escape(section.title)}")
        if section.rows:
            ruler = ["---"] * (len(section.heads) - section.right) + ["---:"] * section.right
            cells = [[escape(cell) for cell in row] for row in (section.heads, *section.rows)]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in [cells[0], ruler, *cells[1:]]))
        if section.lines:
            parts.append("\n".join(f"- {escape(line)}" for line in section.lines))
    return "\n\n".join(parts) + "\n"


def as_json(results: Results, directions: Sequence[Direction], advice: Sequence[Advice]) -> dict[str, Any]:
    """The results with what the report says of them: `findings`, `hubs`, `starved`, `advice`."""
    people = {
        kind: [
            {"direction": direction.name, "id": person.name, "title": person.title, "rank": number + 1,
             "states": {label: {"occurrence": person.shown[at], "stolen": person.stolen[at], "over": person.over[at],
                               "p": person.mass[at]}
                        for at, label in enumerate(map(direction.label, direction.states))}}
            for direction in directions for number, person in enumerate(choose(direction))
        ]
        for kind, choose in (("hubs", hubs), ("starved", starved))
    }  # fmt: skip
    told = [
        each.to_json(direction.name, [direction.label(state) for state in direction.states])
        for direction in directions
        for each in findings(direction)
    ]
    return {
        **results.to_json(),
        "findings": told,
        **people,
        "advice": [{"direction": each.direction, "spec": each.spec, "text": each.text} for each in advice],
    }

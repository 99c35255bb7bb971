"""Curves as one SVG, a panel each: no library, no script, and every text escaped."""

import math
from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from nclbench.files import printable
from nclbench.sweep import Swept
from nclbench.sweep.curves import Curve, Point
from nclbench.sweep.table import line, shown

_WIDE, _HIGH = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 54, 52
_MOST_TICKS = 9
# choices that span more than this are shown on a log axis
_SPAN = 20
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.small{font-size:11px;fill:#555}"
    ".axis{stroke:#222}.grid{stroke:#e4e4e4}.flat{fill:#fff0c2}.band{fill:#9dc3e6;fill-opacity:.35}"
    ".other{fill:none;stroke:#c8c8c8}.line{fill:none;stroke:#1f5f99;stroke-width:2}.point{fill:#1f5f99}"
    ".failed{stroke:#b03030;stroke-width:1.5}.raw{stroke:#777;stroke-dasharray:5 4}"
    ".best{fill:#fff;stroke:#c03a00;stroke-width:2.5}"
)
_Scale = Callable[[float], float]


def render(swept: Swept) -> str:
    """A panel a curve: the metric over its longest axis, other combinations grey, 95 % band, flat region, choice."""
    panels = [
        f'<g transform="translate(0 {_HIGH * number})">{"".join(_panel(swept, curve))}</g>'
        for number, curve in enumerate(swept.curves)
    ]
    size = f'width="{_WIDE}" height="{_HIGH * len(panels)}" viewBox="0 0 {_WIDE} {_HIGH * len(panels)}"'
    body = "\n".join(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _panel(swept: Swept, curve: Curve) -> Iterator[str]:
    along, points = line(curve)
    ends = list(_values(curve, points))
    x, y = _across(curve, along), _up(ends)
    best = curve.best
    tail = " (oracle: tuned on the reported split)" if swept.oracle else ""
    yield _text(_LEFT, 18, f"{curve.selector} {curve.grid.template}{tail}", "title")
    chosen = "nothing could be chosen" if best is None else f"chosen: {best.spec}"
    yield _text(_LEFT, 34, "; ".join(filter(None, [chosen, curve.flat()])), "small")
    yield from _flat(points, along, x)
    unit = next((point.value.unit for point in points if point.value is not None), "")
    for tick in _ticks(min(ends), max(ends)):
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield _text(_LEFT - 8, y(tick) + 4, f"{tick:g}", "small", "end")
    yield from _named(curve, points, along, x)
    if len(curve.grid.axes) > 1:
        yield from (_path("other", _placed(several, along, x, y)) for several in _combinations(curve, along))
    fit = [point for point in points if point.value is not None and not point.failed]
    band = [(x(_at(point, along)), point.value) for point in fit if point.value is not None]
    upper = [(place, y(value.high)) for place, value in band if value.high is not None]
    lower = [(place, y(value.low)) for place, value in band if value.low is not None]
    if upper and lower:
        yield f'<polygon class="band" points="{_joined([*upper, *reversed(lower)])}"/>'
    if curve.raw is not None:
        at = y(curve.raw.value)
        yield f'<line class="raw" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield _text(_WIDE - _RIGHT, at - 4, f"raw {shown(curve.raw.value, unit)}", "small", "end")
    placed = _placed(points, along, x, y)
    yield _path("line", placed)
    yield from (f'<circle class="point" cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in placed)
    for point in points:
        if point.failed:
            yield f'<path class="failed" d="M{x(_at(point, along)) - 4:.1f} {_HIGH - _BOTTOM - 12}l8 8m0 -8l-8 8"/>'
    if best is not None and best.value is not None:
        a, b = x(_at(best, along)), y(best.value.value)
        yield f'<circle class="best" cx="{a:.1f}" cy="{b:.1f}" r="5"/>'
        yield _text(a, b - 10, shown(best.value.value, unit), "", "middle")


def _named(curve: Curve, points: Sequence[Point], along: int, x: _Scale) -> Iterator[str]:
    """The axes, with what stands at them."""
    foot = _HIGH - _BOTTOM
    yield f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{foot}H{_WIDE - _RIGHT}"/>'
    yield f'<text transform="translate(14 {(_TOP + foot) / 2:.0f}) rotate(-90)" text-anchor="middle">{_safe(curve.metric)}</text>'
    if not curve.grid.axes:
        return
    axis = curve.grid.axes[along]
    step = math.ceil(len(points) / _MOST_TICKS)
    for point in points[::step]:
        at = x(_at(point, along))
        yield f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{foot}" y2="{foot + 5}"/>'
        yield _text(at, foot + 18, axis.values[point.at[along]], "small", "middle")
    scale = " (log)" if _is_log(curve, along) else ""
    yield _text((_LEFT + _WIDE - _RIGHT) / 2, _HIGH - 12, f"{axis.name}{scale}", "", "middle")


def _flat(points: Sequence[Point], along: int, x: _Scale) -> Iterator[str]:
    """Neighbours that are within noise, shaded."""
    first = None
    for number, point in enumerate(points):
        if not point.within:
            continue
        first = number if first is None else first
        if number + 1 == len(points) or not points[number + 1].within:
            a, b = x(_at(points[first], along)) - 4, x(_at(point, along)) + 4
            yield f'<rect class="flat" x="{a:.1f}" width="{b - a:.1f}" y="{_TOP}" height="{_HIGH - _TOP - _BOTTOM}"/>'
            first = None


def _values(curve: Curve, points: Sequence[Point]) -> Iterator[float]:
    """All that must be seen: the band of the line, the values of the others, the raw row."""
    found = False
    for value in (curve.raw, *(point.value for point in curve.points)):
        if value is not None:
            found = True
            yield value.value
    for point in points:
        if point.value is not None and point.value.low is not None and point.value.high is not None:
            yield from (point.value.low, point.value.high)
    if not found:
        yield from (0.0, 1.0)


def _across(curve: Curve, along: int) -> _Scale:
    """A place on the axis, in pixels."""
    room = _WIDE - _LEFT - _RIGHT - 24
    axis = curve.grid.axes[along] if curve.grid.axes else None
    count = 1 if axis is None else len(axis.values)
    numbers = list(range(count)) if axis is None or axis.numbers is None else list(axis.numbers)
    where = [math.log(number) for number in numbers] if _is_log(curve, along) else [float(number) for number in numbers]
    span = where[-1] - where[0]
    return lambda place: _LEFT + 12 + (room / 2 if not span else room * (where[int(place)] - where[0]) / span)


def _is_log(curve: Curve, along: int) -> bool:
    axis = curve.grid.axes[along] if curve.grid.axes else None
    if axis is None or axis.scale != "choice":
        return axis is not None and axis.scale == "log"
    numbers = axis.numbers
    return numbers is not None and numbers[0] > 0 and numbers[-1] >= _SPAN * numbers[0]


def _up(values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    room = (high - low) or 1.0
    return lambda value: _HIGH - _BOTTOM - 14 - (_HIGH - _TOP - _BOTTOM - 28) * (value - low) / room


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers."""
    if high <= low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step *= 5 if (high - low) / step > 15 else 2 if (high - low) / step > 7 else 1
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _combinations(curve: Curve, along: int) -> list[list[Point]]:
    """The points of every combination of the other parameters, along the axis."""
    found: dict[tuple[int, ...], list[Point]] = {}
    for point in curve.points:
        found.setdefault(point.at[:along] + point.at[along + 1 :], []).append(point)
    return [sorted(several, key=lambda point: point.at[along]) for several in found.values()]


def _placed(points: Sequence[Point], along: int, x: _Scale, y: _Scale) -> list[tuple[float, float]]:
    return [(x(_at(p, along)), y(p.value.value)) for p in points if p.value is not None and not p.failed]


def _at(point: Point, along: int) -> int:
    return point.at[along] if point.at else 0


def _path(kind: str, places: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="{kind}" points="{_joined(places)}"/>' if places else ""


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in places)


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_safe(text)}</text>'


def _safe(text: str) -> str:
    return escape(printable(text))

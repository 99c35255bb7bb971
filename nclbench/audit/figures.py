"""Figures for a paper: one column wide, in PDF, SVG and PNG, told apart by line and hatch as well as by colour."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nclbench.audit.page.data import usual
from nclbench.audit.states import Direction, State
from nclbench.diagnostics.hard_negatives import bins
from nclbench.diagnostics.representation import lorenz
from nclbench.errors import MissingError
from nclbench.files import printable, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = ("pdf", "svg", "png")
# Okabe and Ito's colours, ordered so that neighbours differ in lightness too
_COLOURS = ("#E69F00", "#0072B2", "#56B4E9", "#000000", "#CC79A7", "#009E73")
_DASHES: tuple[Any, ...] = ((0, (4, 2)), "solid", (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (3, 1)), "solid")
_EDGES, _BINS = (0.25, 0.5, 1.0, 2.0, 4.0), ("< ¼", "¼–½", "½–1", "1–2", "2–4", "> 4")
# all that a user's own settings could change about size and layout, too
_STYLE: Any = {
    "font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "nclbench", "pdf.fonttype": 42,
    "figure.figsize": (3.35, 2.1), "figure.dpi": 300, "savefig.dpi": 300,
    "figure.autolayout": False, "figure.constrained_layout.use": False,
}  # fmt: skip
# a second run gives the same bytes
_UNDATED: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
# with more scores than this beside the first, each has a panel of its own
_TOGETHER = 3
# how many letters of a legend stand side by side
_WIDE = 46
Shown = list[tuple[int, State]]
Drawing = Callable[["Axes", Direction, Shown], bool]


def drawn(directions: list[Direction]) -> dict[str, bytes]:
    """`t2v-lorenz.pdf` and so on with their contents. Figures that need labels are left out without them."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingError("figures need matplotlib; pip install matplotlib") from None

    found = {}
    with mpl.rc_context(_STYLE):
        for direction in directions:
            for name in DRAWINGS:
                figure = _figure(direction, name)
                if figure is None:
                    continue
                # what is placed once stands alike in all formats, and placing takes as long as drawing
                figure.draw_without_rendering()
                figure.set_layout_engine(None)
                for ending in ENDINGS:
                    stream = BytesIO()
                    figure.savefig(stream, format=ending, metadata=_UNDATED[ending])
                    found[f"{direction.name}-{name}.{ending}"] = stream.getvalue()
    return found


def _figure(direction: Direction, name: str) -> Any:
    """One picture, in one panel or in one for each of many operators beside the first scores; None if undefined."""
    from matplotlib.figure import Figure

    draw, states = DRAWINGS[name], list(enumerate(direction.states))
    if name in _OF_PROBABILITIES:
        states = [each for each in states if not each[0] or len(_fair(direction, each[1]))]
    panels = [states]
    if name in _EACH and len(states) - 1 > _TOGETHER:
        panels = [[states[0], (1, state)] for _, state in states[1:]]
    rows = -(-len(panels) // 2)
    if len(panels) == 1:
        figure = Figure(layout="constrained")
        if not draw(figure.subplots(), direction, states):
            return None
        _legend(figure, figure.axes[0])
        return figure
    figure = Figure(figsize=(3.35, 0.4 + 1.45 * rows), layout="constrained")
    grid = list(figure.subplots(rows, 2, sharex=True, sharey=True).flat)
    for axes, panel in zip(grid, panels, strict=False):
        if not draw(axes, direction, panel):
            return None
        axes.set_title(_wrapped(_label(direction, panel[1][1])))
        axes.tick_params(axis="x", labelsize=5.5 if name == "errors" else 8)
    _shared(figure, grid, len(panels))
    return figure


def _shared(figure: Any, grid: list["Axes"], used: int) -> None:
    """Names of the axes, and what all panels have in common, once."""
    first = next(axes for axes in grid if axes.get_xlabel())
    figure.supxlabel(first.get_xlabel(), fontsize=8)
    figure.supylabel(first.get_ylabel(), fontsize=8)
    lines, names = first.get_legend_handles_labels()
    own = [at for at, name in enumerate(names) if not name.endswith(first.get_title().replace("\n", ""))]
    if own:
        figure.legend([lines[at] for at in own], [names[at] for at in own], loc="outside upper center", ncols=len(own))
    for axes in grid:
        axes.set(xlabel="", ylabel="")
    for axes in grid[used:]:
        axes.set_visible(False)
        grid[used - 2].tick_params(labelbottom=True)


def _legend(figure: Any, axes: "Axes") -> None:
    """Above the picture, where it hides nothing: in two columns where they fit."""
    lines, names = axes.get_legend_handles_labels()
    if lines:
        ncols = 2 if 2 * max(map(len, names)) <= _WIDE else 1
        figure.set_figheight(figure.get_figheight() + 0.14 * -(-len(names) // ncols))
        figure.legend(lines, names, loc="outside upper center", ncols=ncols)


def _wrapped(text: str) -> str:
    """A long spec in two lines or more, broken behind a comma."""
    lines = [""]
    for part in re.findall(r"[^,]*,?", text):
        if lines[-1] and len(lines[-1]) + len(part) > _WIDE // 2:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def write(figures: dict[str, bytes], folder: Path) -> list[Path]:
    """Writes figures into a folder, each whole."""
    for name, content in figures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
    return [folder / name for name in figures]


def names() -> list[str]:
    """Of all files that may be written."""
    return [f"{way}-{name}.{ending}" for way in ("t2v", "v2t") for name in DRAWINGS for ending in ENDINGS]


def _label(direction: Direction, state: State) -> str:
    """matplotlib reads $ as mathematics."""
    return printable(direction.label(state)).replace("$", r"\$")


def _line(direction: Direction, state: State, at: int) -> dict[str, Any]:
    return {"color": _COLOURS[at % 6], "linestyle": _DASHES[at % 6], "label": _label(direction, state)}


def _fair(direction: Direction, state: State) -> Any:
    """(M,) p as a multiple of the fair share, without items that have none."""
    ratio = state.items["p"] * len(state.items["id"]) / len(state.queries["id"])
    return ratio[~np.isnan(ratio)]


def _defined(direction: Direction, shown: Shown) -> list[tuple[int, State, Any]]:
    return [(at, state, ratio) for at, state in shown if len(ratio := _fair(direction, state))]


def _representation(axes: "Axes", direction: Direction, shown: Shown) -> bool:
    edges = 2.0 ** np.arange(-6.125, 6.2, 0.25)  # none at 1, where all are that are even
    for at, state, ratio in _defined(direction, shown):
        filled = {"histtype": "step", "linestyle": _DASHES[at % 6]} if at else {"histtype": "stepfilled", "alpha": 0.55}
        within = np.clip(ratio, edges[0], edges[-1])
        axes.hist(within, edges.tolist(), color=_COLOURS[at % 6], linewidth=1.2, label=_label(direction, state), **filled)
    axes.set_xscale("log", base=2)
    axes.axvline(1, color="0.5", linewidth=0.8, linestyle=":")
    axes.set(xlabel="retrieval probability / fair share", ylabel="items")
    return True


def _sorted(axes: "Axes", direction: Direction, shown: Shown) -> bool:
    for at, state, ratio in _defined(direction, shown):
        axes.plot(np.arange(1, len(ratio) + 1), np.sort(ratio)[::-1], **_line(direction, state, at))
    axes.axhline(1, color="0.5", linewidth=0.8, linestyle=":")
    axes.set(xlabel="items, most represented first", ylabel="p / fair share")
    return True


def _lorenz(axes: "Axes", direction: Direction, shown: Shown) -> bool:
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, linestyle=":", label="even")
    for at, state, _ in _defined(direction, shown):
        axes.plot(*lorenz(state.items["p"]), **_line(direction, state, at))
    axes.set(xlabel="share of items, least first", ylabel="share of probability")
    return True


def _occurrence(axes: "Axes", direction: Direction, shown: Shown) -> bool:
    counts = [direction.occurrence(state) for _, state in shown]
    largest = int(max(each.max() for each in counts))
    for (at, state), each in zip(shown, counts, strict=True):
        many = np.bincount(each, minlength=largest + 1)
        axes.step(np.arange(largest + 1), many, where="mid", **_line(direction, state, at))
    chance = usual(len(direction.reference.queries["id"]), len(direction.reference.items["id"]), direction.cutoff)
    axes.plot(chance, color="0.35", linewidth=0.9, linestyle=":", label="by chance")
    axes.set(xlabel=f"top-{direction.cutoff} lists that an item is in", ylabel="items")
    return True


def _errors(axes: "Axes", direction: Direction, shown: Shown) -> bool:
    found = [(at, s) for at, s in shown if "fp" in s.items and not np.isnan(s.items["fp"]).all()]
    if not found or found[0][0]:
        return False
    items = len(direction.reference.items["id"])
    place = bins(direction.reference.items["p"], len(direction.reference.queries["id"]) / items, _EDGES)
    width = 0.8 / (2 * len(found))
    for number, (at, state) in enumerate(found):
        for half, (name, text) in enumerate((("fp", "FP"), ("fn", "FN"))):
            groups = [state.items[name][place == each] for each in range(len(_BINS))]
            axes.bar(
                np.arange(len(_BINS)) + (2 * number + half - len(found) + 0.5) * width,
                [float(group.mean()) if len(group) else 0.0 for group in groups],
                width,
                color=_COLOURS[at % 6],
                hatch="////" if half else "",
                edgecolor="white",
                linewidth=0,
                label=f"{text}, {_label(direction, state)}",
            )
    axes.set_xticks(range(len(_BINS)), [f"{name}\n{int((place == at).sum())}" for at, name in enumerate(_BINS)])
    axes.set(xlabel="p / fair share, first scores (items below)", ylabel="queries per item")
    return True


def _changes(axes: "Axes", direction: Direction, shown: Shown) -> bool:
    if not direction.labelled or not direction.others:
        return False
    before = direction.reference.queries["rank"]
    top = float(np.nanmax([np.nanmax(state.queries["rank"]) for state in direction.states]))
    axes.plot([1, top], [1, top], color="0.5", linewidth=0.8, linestyle=":")
    for at, state in shown[1:]:
        axes.plot(before, state.queries["rank"], "ox^sDv"[(at - 1) % 6], markersize=2.2, markeredgewidth=0.5, fillstyle="none",
                  color=_COLOURS[at % 6], label=_label(direction, state), rasterized=True)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=f"rank, {_label(direction, direction.reference)}", ylabel="rank under operators")
    return True


DRAWINGS: dict[str, Drawing] = {
    "representation": _representation,
    "sorted": _sorted,
    "lorenz": _lorenz,
    "occurrence": _occurrence,
    "errors": _errors,
    "changes": _changes,
}
# of which many cannot be told apart in one panel
_EACH = ("representation", "occurrence", "errors", "changes")
_OF_PROBABILITIES = ("representation", "errors")

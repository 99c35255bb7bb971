"""Makes docs/demo.svg, the table that `nclbench demo` prints, and docs/table.svg, that of examples/paper, as a terminal
shows them.

    python docs/make_pictures.py
"""

from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from nclbench import Results, evaluate, fuse, load
from nclbench.cli.demo import DATA, SPEC
from nclbench.cli.terminal import show
from nclbench.comparison import Saved
from nclbench.comparison.compare import compare
from nclbench.report.beside import beside
from nclbench.report.cells import Table
from nclbench.report.pivot import pivot
from nclbench.report.table import build

THEME = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [(36, 41, 47), (207, 34, 46), (17, 99, 41), (77, 45, 0), (9, 105, 218), (130, 80, 223), (27, 124, 131), (110, 119, 129)],
)
# the same sheet as rich's own, without its web fonts: a picture must not ask the network for anything
SHEET = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
{lines}</defs>
<rect fill="#ffffff" width="100%" height="100%" rx="6"/>
<g transform="translate({terminal_x}, {terminal_y})" >
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


SINKHORN = "sinkhorn:tau=0.01"
COLUMNS = ("t2v.R@1", "t2v.R@10", "v2t.R@1", "v2t.R@10")


def demo() -> Table:
    parts = [evaluate(load(DATA / f"msrvtt1ka_cap4video_{name}.h5"), [SPEC]) for name in ("video", "titles")]
    return build(Results.joined(parts))


def paper() -> Table:
    """As examples/paper/Makefile makes it."""
    video, titles = (load(DATA / f"msrvtt1ka_cap4video_{name}.h5") for name in ("video", "titles"))
    problems = (video, titles, fuse([(0.73, video), (0.27, titles)]))
    specs = [f"{SINKHORN},fit=bank", f"{SINKHORN},fit=test"]
    parts = [Saved(problem.model, evaluate(problem, specs, folds=5)) for problem in problems]
    tested = compare(parts, baseline="none", metrics={"t2v": ["R@1", "R@10"], "v2t": ["R@1", "R@10"]})
    extras, notes = beside([each.pair for each in tested.compared], tested, intervals=False)
    joined = Results.joined([part.results for part in parts])
    return pivot(joined, ["model", "operator"], COLUMNS, beside=extras, notes=notes)


def main() -> None:
    for name, title, width, table in (("demo", "nclbench demo", 112, demo()), ("table", "nclbench table", 136, paper())):
        with open("/dev/null", "w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=width, force_terminal=True, color_system="truecolor", file=nowhere)
            show(table, console)
            text = console.export_svg(title=title, theme=THEME, code_format=SHEET, unique_id=name)
        Path(__file__).with_name(f"{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

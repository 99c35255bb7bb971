"""Makes docs/demo.svg: the table that `nclbench demo` prints, as a terminal shows it.

    python docs/make_pictures.py
"""

from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from nclbench import Results, evaluate, load
from nclbench.cli.demo import DATA, SPEC
from nclbench.cli.terminal import show
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


def main() -> None:
    parts = [evaluate(load(DATA / f"msrvtt1ka_cap4video_{name}.h5"), [SPEC]) for name in ("video", "titles")]
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=112, force_terminal=True, color_system="truecolor", file=nowhere)
        show(build(Results.joined(parts)), console)
        text = console.export_svg(title="nclbench demo", theme=THEME, code_format=SHEET, unique_id="demo")
    Path(__file__).with_name("demo.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Makes docs/hubness/: figures and pictures of the report page, of the packaged MSR-VTT 1k-A similarities (ids, no captions).

    python docs/make_hubness.py

Needs chromium and playwright for the pictures of the page.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from nclbench import evaluate, load
from nclbench.audit.advice import advise
from nclbench.audit.figures import drawn, write
from nclbench.audit.page import render
from nclbench.audit.states import directions
from nclbench.cli.demo import DATA
from nclbench.plan import choose

SPEC = "sinkhorn:tau=0.01,fit=test"
FOLDER = Path(__file__).with_name("hubness")
FIGURES = ("v2t-representation", "v2t-lorenz", "v2t-occurrence", "v2t-errors", "v2t-changes")
COMMAND = f"nclbench hubness-report --emb msrvtt1ka_cap4video_video.h5 --normalize {SPEC} -o report.html"


def main() -> None:
    problem = load(DATA / "msrvtt1ka_cap4video_video.h5")
    results = evaluate(problem, [SPEC], hubness=True)
    found = directions(results)
    advice = [advise(problem, each.name, 0.01, choose()) for each in found]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        write(drawn(found), Path(name))
        for figure in FIGURES:
            shutil.copy(Path(name) / f"{figure}.svg", FOLDER / f"{figure}.svg")
        path = Path(name) / "report.html"
        path.write_text(render(results, found, advice), encoding="utf-8")
        shots(path)


def shots(path: Path) -> None:
    """The page from its top, and what a click on a hub shows."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page: Any = browser.new_page(viewport={"width": 1100, "height": 1500})
        page.goto(path.as_uri())
        page.wait_for_selector("#plot-changes .main-svg")
        page.click("#directions button:text-is('v2t')")
        page.wait_for_timeout(500)
        page.screenshot(path=FOLDER / "page.png")
        page.click("#states button:text-is('raw')")
        page.click("#items th button:text-matches('^wrongly')")
        page.click("#items tbody tr")
        page.locator("#detail").screenshot(path=FOLDER / "hub.png")
        browser.close()


if __name__ == "__main__":
    main()

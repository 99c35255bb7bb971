"""Debian's Chromium, as the tests of the report page drive it."""

import atexit
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@cache
def chromium() -> Any:
    """One browser for all tests of a process."""
    where = shutil.which("chromium")
    if where is None:
        assert not os.environ.get("CI"), "chromium is missing, and in CI nothing is skipped"
        pytest.skip("chromium is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    driver = sync_playwright().start()
    browser = driver.chromium.launch(executable_path=where, args=QUIET)
    atexit.register(driver.stop)
    atexit.register(browser.close)
    return browser


@contextmanager
def opened(path: Path, dark: bool = False) -> Iterator[tuple[Any, list[str]]]:
    """(the page, what went wrong): every request but for the file itself, every error, every message of the console."""
    wrong: list[str] = []
    page = chromium().new_page(viewport={"width": 1200, "height": 900}, color_scheme="dark" if dark else "light")
    page.on("request", lambda request: wrong.append(request.url) if request.url != path.resolve().as_uri() else None)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(path.resolve().as_uri())
    page.wait_for_selector("#plot-lorenz .main-svg")
    yield page, wrong
    page.close()

"""A real browser for the tests of pages: Chromium, headless, driven by Playwright.

Without one these tests are skipped. Where ``UNITARY_ZOO_BROWSER`` names one, as ``.ci/run`` does,
whatever is missing is an error: a check that is always skipped would find nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (390, 800, 1400)
"""Widths of a telephone, a tablet and a desk, in CSS pixels."""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A container's root has no sandbox; the others keep the browser from asking the network.
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def _module(name: str) -> Any:
    if os.environ.get("UNITARY_ZOO_BROWSER"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"needs {name.partition('.')[0]}: the extra test")


def _path() -> str | None:
    """Chromium's path: the one named by ``UNITARY_ZOO_BROWSER``, or the first on the search path.

    Where ``UNITARY_ZOO_BROWSER=bundled``, Playwright's own browser is taken, and None returned.
    """
    named = os.environ.get("UNITARY_ZOO_BROWSER", "")
    if named == "bundled":
        return None
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium: install it, or name it by UNITARY_ZOO_BROWSER")
    return found


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A Playwright ``Browser``; the test is skipped where there is no Chromium."""
    playwright = _module("playwright.sync_api")
    path = _path()
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield opened
        finally:
            opened.close()


def _unloaded(request: Any) -> list[str]:
    """What to say of a request that failed, unless the page left before its answer came."""
    aborted = request.failure == "net::ERR_ABORTED"
    return [] if aborted else [f"cannot load {request.url}: {request.failure}"]


@contextlib.contextmanager
def opened(browser: Any, url: str | Path, width: int = 1400, **options: Any) -> Iterator[Any]:
    """The page at an address or in a file; at the end, whatever it wrote as an error fails.

    Args:
        browser: What :func:`browser` gave.
        url: An address or a file.
        width: Width of the window in CSS pixels.
        **options: Further ones of ``Browser.new_page``, such as ``color_scheme="dark"``.
    """
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"script error: {error}"))
    page.on("console", lambda m: errors.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("requestfailed", lambda request: errors.extend(_unloaded(request)))
    page.goto(url.resolve().as_uri() if isinstance(url, Path) else url)
    try:
        yield page
    finally:
        page.close()
    assert not errors, errors


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def serious_faults(page: Any, *rules: str) -> list[str]:
    """The serious and critical faults that axe-core finds in the page, by all rules or by these."""
    axe = _module("axe_playwright_python.sync_playwright").Axe()
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = axe.run(page, options=options).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]

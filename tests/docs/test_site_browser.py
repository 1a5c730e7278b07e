"""The site in a browser: every page at every width, in both colours, without another host."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import WIDTHS, browser, opened, overflow, serious_faults

pytest.importorskip("mkdocs", reason="needs the extra docs, which builds the site")

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NARROW, WIDE = WIDTHS[0], WIDTHS[-1]
JUDGED = ("", "schemes/cayley/", "api/scan/", "silent_failures/")
"""Pages of every kind for axe-core, which takes seconds for one: start, scheme, API, wide table."""
SCHEMES = {"light": "default", "dark": "slate"}
"""Material's names of its colours."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word about each."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of the site, named as on the host that publishes it.

    ``UNITARY_ZOO_SITE`` names one that was built before.
    """
    folder = tmp_path_factory.mktemp("www") / "unitary_zoo"
    if before := os.environ.get("UNITARY_ZOO_SITE"):
        folder.symlink_to(Path(before).resolve(), target_is_directory=True)
        return folder
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def site(built) -> Iterator[str]:
    """Address of the site, which is served on the loopback."""
    handler = functools.partial(Quiet, directory=str(built.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{built.name}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


def foreign(page: Any, site: str) -> list[str]:
    """What the page asked other hosts for."""
    asked = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    return [url for url in asked if not url.startswith((site, "data:", "blob:"))]


def background(page: Any) -> int:
    """Mean of the red, green and blue of the page's background."""
    return page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, part) => sum + Number(part), 0) / 3"
    )


def contents_missing(page: Any) -> bool:
    """Whether a page with two sections or more shows no list of them."""
    sections = page.locator("article h2[id]").count()
    shown = page.locator(".md-sidebar--secondary .md-nav__link:visible").count()
    return sections > 1 and shown < sections


@pytest.mark.timeout(900)  # a page takes half a second, on a busy machine ten times as long
def test_every_page_fits_every_width_and_asks_no_other_host(built, site, chromium):
    pages = [str(path.parent.relative_to(built)) + "/" for path in built.rglob("index.html")]
    assert len(pages) > 50
    faults = []
    widths, schemes = list(WIDTHS), list(SCHEMES)
    # One page for all, because the browser keeps what they share. Each begins at the width and in
    # the colours at which the one before it ended, since every change of them takes time.
    with opened(chromium, site, widths[0], color_scheme=schemes[0]) as page:
        for name in ["404.html", *sorted(pages)]:
            page.goto(site + name)
            for width in widths:
                page.set_viewport_size({"width": width, "height": 900})
                if overflow(page) > 0:
                    faults.append(f"{name} is {overflow(page)} px wider than {width} px")
                if width == WIDE and contents_missing(page):
                    faults.append(f"{name} shows no contents at {WIDE} px")
            for scheme in schemes:
                page.emulate_media(color_scheme=scheme)
                page.wait_for_selector(f'body[data-md-color-scheme="{SCHEMES[scheme]}"]')
                if (background(page) > 128) != (scheme == "light"):
                    faults.append(f"{name} has the wrong colours where {scheme} ones are wanted")
            faults += [f"{name} asks for {url}" for url in foreign(page, site)]
            widths.reverse()
            schemes.reverse()
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", JUDGED)
def test_page_has_no_serious_fault(site, chromium, name, scheme):
    with opened(chromium, site + name, NARROW, color_scheme=scheme) as page:
        page.wait_for_selector(f'body[data-md-color-scheme="{SCHEMES[scheme]}"]')
        assert serious_faults(page) == []


def test_search_finds_a_scheme(site, chromium):
    with opened(chromium, site, WIDE) as page:
        page.fill("input.md-search__input", "cayley")
        page.wait_for_selector(".md-search-result__link[href*='schemes/cayley']")


def test_page_leads_to_the_previous_and_the_next(site, chromium):
    with opened(chromium, site + "theory/", NARROW) as page:
        page.click(".md-footer__link--next")
        page.wait_for_url(f"{site}theory_bounds/")
        page.click(".md-footer__link--prev")
        page.wait_for_url(f"{site}theory/")


def test_navigation_has_one_theory_and_the_repository(site, chromium):
    with opened(chromium, site + "theory/", WIDE) as page:
        assert page.locator(".md-nav--primary :text-is('Theory'):visible").count() == 1
        link = page.locator(".md-header__source a")
        assert link.is_visible()
        assert link.get_attribute("href").startswith("https://github.com/")


def test_switch_changes_the_colours_and_is_remembered(site, chromium):
    with opened(chromium, site, WIDE, color_scheme="light") as page:
        assert background(page) > 200
        page.click("label[title='Switch to light mode']")  # whatever the system asks for
        page.click("label[title='Switch to dark mode']")
        assert background(page) < 60
        page.goto(site + "layers/")
        assert background(page) < 60


def test_header_of_a_table_stays_while_the_table_scrolls(site, chromium):
    with opened(chromium, site + "silent_failures/", NARROW) as page:
        # The keyboard reaches the box, as soon as a script has found that it scrolls.
        box = page.locator(".md-typeset__scrollwrap[tabindex='0']:has(th:text('geotorch'))").first
        box.scroll_into_view_if_needed()
        box.evaluate("box => box.scrollTo(0, 300)")
        assert box.evaluate("box => box.scrollTop") == 300
        header = box.locator("th").first
        assert abs(header.bounding_box()["y"] - box.bounding_box()["y"]) < 5


def test_faults_planted_in_a_page_are_found(site, chromium):
    with opened(chromium, site + "theory/", WIDE) as page:
        assert overflow(page) == 0
        assert foreign(page, site) == []
        assert not contents_missing(page)
        page.evaluate("document.body.style.width = '2000px'")
        assert overflow(page) > 0
        page.evaluate("document.querySelector('.md-sidebar--secondary').hidden = true")
        assert contents_missing(page)
        reply = {
            "body": "<svg xmlns='http://www.w3.org/2000/svg'/>",
            "content_type": "image/svg+xml",
        }
        page.route("http://example.org/*", lambda route: route.fulfill(**reply))
        page.evaluate(
            "new Promise(done => { const image = new Image(); image.onload = done;"
            " image.src = 'http://example.org/count.svg'; })"
        )
        assert foreign(page, site) == ["http://example.org/count.svg"]
        page.evaluate("document.querySelector('.md-search').removeAttribute('aria-label')")
        assert any(fault.startswith("aria-dialog-name") for fault in serious_faults(page))


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("setTimeout(() => { throw new Error('planted') })", "script error: .*planted"),
        ("fetch('http://127.0.0.1:1/planted').catch(() => 0)", "cannot load .*planted"),
    ],
)
def test_error_planted_in_a_page_is_found(site, chromium, fault, found):
    def visit() -> None:
        with opened(chromium, site + "theory/", WIDE) as page:
            page.evaluate(fault)
            page.wait_for_timeout(50)

    with pytest.raises(AssertionError, match=found):
        visit()

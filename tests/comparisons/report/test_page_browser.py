"""The HTML page in a real browser, built from 300 made-up runs: what a reader does with it."""

import math
import random
import re
import shutil
import threading
from dataclasses import replace

import pytest

from comparisons.cli.serving import ReportServer
from comparisons.records import Point, Probes
from comparisons.report import write_report
from comparisons.results.store import Store
from tests.browser import WIDTHS, browser, opened, overflow, serious_faults

pytestmark = pytest.mark.browser

SCHEMES = (
    "arjovsky",
    "butterfly",
    "cayley",
    "dtriv",
    "eunn",
    "expm",
    "householder",
    "landing",
    "qr",
)
BASELINES = ("gru", "lstm", "tanh_rnn")
DIVERGED = "tanh_rnn"
SECTIONS = (("adding", 6), ("copying", 5), ("copying", 7), ("first_term", 9), ("kth_highest", 8))
SEEDS = 5
FIRST = "copying-T5"
"""The section that the tests look at."""


def made_up(make_result, model, task, length, seed):
    """A result; each model reaches a level of its own on each task, and some solve it."""
    result = make_result(model, task=task, length=length, seed=seed)
    level = random.Random(f"{model} {task} {length}").uniform(0.0, 3.0)
    last = random.Random(seed).uniform(0.9, 1.1) * 10**-level
    losses = [1.5 * result.memoryless * last ** (i / 10) for i in range(11)]
    if model == DIVERGED:
        losses[5:] = [1e9 * loss for loss in losses[5:]]
    curve = tuple(
        Point(10 * i, 0.1 * i, loss if i else None, loss, 1 / (1 + loss), defect=1e-6)
        for i, loss in enumerate(losses)
    )
    phases = tuple(math.pi * (2 * k / 8 - 0.9) for k in range(8))
    probes = Probes(phases, phases, (1, 2, 3), (0.1, 0.2, 0.4))
    deviation = 300 * "x" if model == "landing" else ""  # as wide as no window
    return replace(result, curve=curve, probes=probes, ms_per_step=1 + level, deviation=deviation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_result):
    """The results folder with its page."""
    folder = tmp_path_factory.mktemp("results")
    store = Store(folder)
    results = [
        made_up(make_result, model, task, length, seed)
        for task, length in SECTIONS
        for model in SCHEMES + BASELINES
        for seed in range(SEEDS)
    ]
    for result in results:
        store.save(result)
    command = "python comparisons/run_all.py --preset imaginary"
    store.save_plan(command, [result.run for result in results])
    write_report(folder, figures=False)
    return folder


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened_browser:
        yield opened_browser


@pytest.fixture
def page(chromium, folder):
    """The page at the width of a desk, ready for a reader."""
    with opened(chromium, folder / "report.html") as page:
        ready(page)
        yield page


def ready(page):
    page.wait_for_selector("html[data-ready]")
    return page


def matrix(page):
    """The matrix once it can be sorted."""
    page.wait_for_selector("#matrix-table button.number", state="attached")
    return page.locator("#matrix-table")


def shown(page, table, column):
    """The numbers that a reader sees in a column, from top to bottom; None where there is none."""
    return page.evaluate(
        """([table, column]) => {
            const rows = [...document.querySelectorAll(`${table} tbody tr`)];
            const heading = document.querySelector(`${table} th[data-column="${column}"]`);
            return rows.map((row) => {
                const text = row.cells[heading.cellIndex].innerText.trim().replaceAll(",", "");
                const number = parseFloat(text.replace("−", "-"));
                return Number.isNaN(number) ? null : number;
            });
        }""",
        [table, column],
    )


def assert_sorted(values, *, descending=False):
    numbers = [value for value in values if value is not None]
    assert len(set(numbers)) > 3
    assert numbers == sorted(numbers, reverse=descending)


def sort(page, table, column, order):
    """Wait until the table says that it is sorted so, and return what the column shows."""
    page.wait_for_selector(f"{table} th[data-column='{column}'][aria-sort={order}]")
    return shown(page, table, column)


def drawn(page, selector):
    """The figure, scrolled to and drawn."""
    figure = page.locator(selector)
    figure.scroll_into_view_if_needed()
    page.wait_for_selector(f"{selector}[data-drawn] .main-svg")
    return figure


def names(page):
    """The names of the models in the matrix."""
    return page.locator("#matrix-table tbody th").all_inner_texts()


def test_page_sorts_the_matrix_by_mouse_and_keyboard(page):
    heading = matrix(page).locator(f"th[data-column='{FIRST}']")
    heading.click()
    assert_sorted(sort(page, "#matrix-table", FIRST, "descending"), descending=True)
    heading.locator("[role=button]").focus()
    page.keyboard.press("Enter")
    assert_sorted(sort(page, "#matrix-table", FIRST, "ascending"))
    page.locator("input[name=matrix-value][value=loss]").check()
    assert_sorted(sort(page, "#matrix-table", FIRST, "ascending"))
    matrix(page).locator("th[data-column=model]").click()
    page.wait_for_selector("#matrix-table th[data-column=model][aria-sort=ascending]")
    assert names(page) == sorted(SCHEMES + BASELINES)


def test_page_filters_the_matrix(page):
    matrix(page)
    page.locator("#matrix-search").press_sequentially("e")
    assert sorted(names(page)) == [name for name in sorted(SCHEMES + BASELINES) if "e" in name]
    page.locator("#matrix-search").fill("")
    page.locator("#matrix-kind").select_option("baseline")
    assert sorted(names(page)) == sorted(BASELINES)
    assert page.locator("#matrix-count").inner_text() == "3 of 12 models"
    page.locator("#matrix-task").select_option(FIRST)
    assert page.locator("#matrix-table thead th:visible").count() == 2
    page.reload()
    matrix(ready(page))
    assert sorted(names(page)) == sorted(BASELINES)  # what was chosen outlives a reload
    assert page.locator("#matrix-task").input_value() == FIRST


@pytest.mark.parametrize(
    ("table", "column"),
    [("#overview-models", "score"), (f"table[data-results='{FIRST}']", "ms / step")],
)
def test_page_sorts_its_other_tables(page, table, column):
    page.locator(table).scroll_into_view_if_needed()
    heading = page.locator(f"{table} th[data-column='{column}']")
    order = "descending" if heading.get_attribute("data-best") == "high" else "ascending"
    heading.locator("[role=button]").focus()
    page.keyboard.press("Enter")
    assert_sorted(sort(page, table, column, order), descending=order == "descending")


def test_page_shows_one_length_at_a_time_by_tabs(page):
    tabs = page.locator("section#copying [role=tab]")
    first, second = page.locator("#copying-T5"), page.locator("#copying-T7")
    assert (tabs.count(), first.is_visible(), second.is_visible()) == (2, True, False)
    tabs.nth(1).click()
    assert (first.is_visible(), second.is_visible()) == (False, True)
    page.keyboard.press("ArrowLeft")
    assert (first.is_visible(), second.is_visible()) == (True, False)
    assert tabs.nth(0).get_attribute("aria-selected") == "true"
    page.evaluate("location.hash = 'copying-T7'")  # as a link of the overview does
    second.wait_for(state="visible")


def axis(figure, name):
    return figure.locator(".plot").evaluate(f"plot => plot.layout.{name}.type")


def test_page_draws_curves_against_log_axes_and_seconds(page):
    figure = drawn(page, f"figure[data-figure=curves][data-section='{FIRST}']")
    assert (axis(figure, "xaxis"), axis(figure, "yaxis")) == ("linear", "log")
    figure.locator("[data-control=log-y]").uncheck()
    figure.locator("[data-control=log-x]").focus()
    page.keyboard.press("Space")
    assert (axis(figure, "xaxis"), axis(figure, "yaxis")) == ("log", "linear")
    figure.locator("[data-control=x]").select_option("seconds")
    longest = "plot => Math.max(...plot.data.flatMap((trace) => trace.x))"
    assert figure.locator(".plot").evaluate(longest) == pytest.approx(1.0)
    figure.locator(".plot").hover(position={"x": 300, "y": 150})


def test_page_keeps_runs_that_diverged_beyond_the_axis(page):
    figure = drawn(page, f"figure[data-figure=curves][data-section='{FIRST}']").locator(".plot")
    top = "plot => 10 ** plot.layout.yaxis.range[1]"
    assert figure.evaluate(top) < 10
    # What a double click does; on a busy machine its two clicks come too late to be one.
    figure.evaluate("plot => Plotly.relayout(plot, {'yaxis.autorange': true})")
    assert figure.evaluate(top) > 1e7


def test_page_gives_eight_models_a_look_and_no_more(page):
    figure = drawn(page, f"figure[data-figure=curves][data-section='{FIRST}']")
    legend = "plot => plot.data.filter((trace) => trace.showlegend !== false).map((t) => t.name)"
    chips = page.locator("#picked button")
    chosen = "buttons => buttons.map((button) => button.dataset.remove)"
    picked = chips.evaluate_all(chosen)
    assert len(picked) == 8
    assert set(figure.locator(".plot").evaluate(legend)) == set(picked)
    page.locator("#choose").focus()
    page.keyboard.press("Enter")
    other = next(name for name in SCHEMES + BASELINES if name not in picked)
    page.locator(f"input[name=picked][value={other}]").click()
    assert "take one out" in page.locator("#picker-full").inner_text()
    assert not page.locator(f"input[name=picked][value={other}]").is_checked()
    page.locator(f"input[name=picked][value={picked[0]}]").uncheck()
    page.locator(f"input[name=picked][value={other}]").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert not page.locator("dialog#picker").is_visible()
    now = {*picked[1:], other}
    assert set(chips.evaluate_all(chosen)) == now
    assert set(figure.locator(".plot").evaluate(legend)) == now


@pytest.mark.parametrize("key", ["mouse", "keyboard"])
def test_page_shows_the_setting_behind_a_number(page, folder, key):
    matrix(page)
    number = page.locator(f"#matrix-table td[data-section='{FIRST}'] button.number").nth(2)
    if key == "mouse":
        number.click()
    else:
        number.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    dialog = page.locator("dialog#setting")
    assert dialog.is_visible()
    text = dialog.inner_text()
    assert "python comparisons/run_all.py --preset imaginary" in text
    assert "Imaginary CPU 9000" in text
    assert "2026-01-02" in text
    links = dialog.locator("a").evaluate_all("links => links.map((a) => a.getAttribute('href'))")
    assert len(links) == SEEDS
    assert all((folder / link).is_file() for link in links)
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_page_shows_what_happened_inside_a_model(page):
    model = page.locator("details.model[data-model=cayley]")
    model.locator("summary").first.focus()
    page.keyboard.press("Enter")
    drawn(page, "details.model[data-model=cayley] figure[data-figure=model]")


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_never_wider_than_its_window(chromium, folder, width):
    with opened(chromium, folder / "report.html", width) as page:
        matrix(ready(page))
        drawn(page, f"figure[data-figure=curves][data-section='{FIRST}']")
        page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        assert overflow(page) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_serious_fault_of_accessibility(chromium, folder, scheme):
    with opened(chromium, folder / "report.html", color_scheme=scheme) as page:
        matrix(ready(page))
        drawn(page, f"figure[data-figure=curves][data-section='{FIRST}']")
        # In the dark, colours alone are other ones.
        assert serious_faults(page, *(["color-contrast"] if scheme == "dark" else [])) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_begins_as_the_system_is_and_changes(chromium, folder, scheme):
    def is_dark():
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3])) < 3 * 128

    with opened(chromium, folder / "report.html", color_scheme=scheme) as page:
        ready(page)
        assert is_dark() == (scheme == "dark")
        page.locator("#theme").focus()
        page.keyboard.press("Enter")
        assert is_dark() == (scheme == "light")


def test_page_shows_its_tables_without_scripts(chromium, folder):
    with opened(chromium, folder / "report.html", java_script_enabled=False) as page:
        assert "Scripts are off" in page.locator("noscript").inner_text()
        assert page.locator("#matrix-table tbody tr:visible").count() == 12
        for task, length in SECTIONS:
            section = f"table[data-results='{task}-T{length}'] tbody tr:visible"
            assert page.locator(section).count() >= 12
        assert page.locator(".scripted:visible").count() == 0


def test_page_prints_on_a_few_pages(page):
    matrix(page)
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf())
    assert 2 <= len(pages) <= 15


def test_page_loads_again_when_it_is_served_and_changes(chromium, folder, tmp_path, make_result):
    served = tmp_path / "served"
    shutil.copytree(folder, served)
    with ReportServer(served, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with opened(chromium, server.url) as page:
            matrix(ready(page)).locator(f"th[data-column='{FIRST}']").scroll_into_view_if_needed()
            page.locator("#matrix-search").fill("cayley")
            page.wait_for_selector("#progress:visible")
            assert "300 runs finished, 0 failed, 0 in training, 0 left" in (
                page.locator("#progress").inner_text()
            )
            before = page.evaluate("scrollY")
            assert before
            new = made_up(make_result, "cayley", "copying", 5, SEEDS)
            Store(served).save(new)
            write_report(served, figures=False)
            page.wait_for_function(
                "document.getElementById('counts').textContent.includes('301 runs finished')"
            )
            matrix(ready(page))
            assert names(page) == ["cayley"]
            page.wait_for_selector("#progress:visible")
            page.wait_for_timeout(100)
            assert page.evaluate("scrollY") == pytest.approx(before, abs=2)
            link = f"runs/{new.run.id}.json"
            assert page.evaluate("link => fetch(link).then((a) => a.status)", link) == 200
        server.shutdown()


def test_checks_find_planted_faults(chromium, folder):
    """Each check of this file fails where it has to."""
    fails = pytest.raises(AssertionError, match="planted")
    with fails, opened(chromium, folder / "report.html") as page:
        matrix(ready(page)).locator(f"th[data-column='{FIRST}']").click()
        assert_sorted(shown(page, "#matrix-table", FIRST), descending=True)
        page.evaluate("""() => {
            const body = document.querySelector("#matrix-table tbody");
            body.append(body.rows[0]);
        }""")
        with pytest.raises(AssertionError):
            assert_sorted(shown(page, "#matrix-table", FIRST), descending=True)
        assert overflow(page) <= 0
        page.evaluate("document.querySelector('header').style.minWidth = '2000px'")
        assert overflow(page) > 0
        page.evaluate("document.querySelector('#choose').replaceChildren()")
        assert serious_faults(page, "button-name")
        page.evaluate("setTimeout(() => { throw new Error('planted'); })")
        page.wait_for_timeout(50)

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from comparisons.plots import DASHES, PALETTE, styles
from comparisons.records import Failure
from comparisons.report import COLUMNS, main, write_report
from comparisons.store import Store
from comparisons.train import train

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}


class Checker(HTMLParser):
    """Follows the nesting of a page, its ids, and what it would load."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads = [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        if tag in {"script", "link", "img", "iframe", "image"}:
            self.loads.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_result, make_run):
    """Two tasks, two lengths, several seeds, a baseline, a failure and a run still to do."""
    store = Store(tmp_path_factory.mktemp("store"))
    results = [
        make_result("cayley", length=100, seed=0, losses=(2.0, 0.1, 0.010)),
        make_result("cayley", length=100, seed=1, losses=(2.0, 0.1, 0.012)),
        make_result("arjovsky", length=100, losses=(2.0, 0.1, 0.0123)),
        make_result(
            "lstm", length=100, losses=(2.0, 0.3, 0.2), defect=None, unitary_optimizer=None, clip=1
        ),
        make_result("arjovsky", length=200, losses=(2.0, 0.09, 0.08)),
        make_result("arjovsky", task="adding", length=50, losses=(1.0, 0.1, 0.02)),
    ]
    for result in results:
        store.save(result)
    failed = make_run("gru", length=100, unitary_optimizer=None)
    store.save_failure(
        Failure(failed, "ValueError: <no> | way", "Traceback", "2026-01-02T03:04:05+00:00")
    )
    (store.folder / "runs" / "broken.json").write_text("{")
    runs = [result.run for result in results]
    store.save_plan("python run_it --all", [*runs, failed, make_run("expm", length=100)])
    return store


@pytest.fixture(scope="module")
def report(store):
    return write_report(store.folder)


@pytest.fixture(scope="module")
def html(report):
    return report.pages[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(report):
    return report.pages[1].read_text(encoding="utf-8")


def test_the_page_is_whole_and_loads_nothing(html):
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))
    assert not checker.loads
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    references = set(re.findall(r'(?:url\(#|href="#)([^")]+)', html))
    assert references <= set(checker.ids)
    assert html.count("<svg") == 3 * 4  # four figures in each of the three sections


def test_the_tables_hold_the_baseline_where_it_falls(report):
    section = next(s for s in report.sections if s.name == "copying-T100")
    assert [line.cells[0] for line in section.lines] == [
        "cayley",
        "arjovsky",
        "memoryless baseline",
        "lstm",
    ]
    table = [dict(zip(COLUMNS, line.cells, strict=True)) for line in section.lines]
    assert table[2]["test loss"] == "0.1733"
    assert table[0]["test loss"] == "0.011 ± 0.0014"  # two seeds
    assert table[0]["solved at"] == "6"
    assert table[3]["solved at"] == "–"
    assert table[3]["defect end"] == "–"
    assert table[1]["defect end"] == "1e-07"
    assert table[1]["parameters (of W)"] == "1,234 (567)"
    assert "clip ±1" in table[3]["training"]
    assert table[0]["settings"] == "[1]"
    assert section.notes == ["a test's"]


def test_both_pages_say_where_the_numbers_come_from(html, markdown):
    for text in (html, markdown):
        # three tables of ours, and a table of published results for each of the two tasks
        assert text.count("python comparisons/run_all.py --preset imaginary") == 5
        assert text.count("Imaginary CPU 9000") == 5
        assert "10 ln 8 / (T + 20)" in text
        assert "This report is partial" in text
        assert "python run_it --all" in text
        assert "1 failed, 1 of the last command not run yet" in text


def test_published_values_stand_beside_ours_with_their_tags(html, markdown):
    for text in (html, markdown):
        assert "Arjovsky et al. 2016" in text
        assert "[F] read off a published figure by eye" in text
        assert "[M-M] from memory, not confirmed; confidence medium" in text
        assert "[V2] read in another paper" in text
        assert "T = 100: 0.0123 (arjovsky, n = 8, 6 iterations)" in text  # the same length
        assert "T = 50: 0.02 (arjovsky, n = 8, 6 iterations)" in text  # the nearest we have
    assert "| *≈ .145" not in markdown
    assert "| *slowly below the baseline: ≈ .145 at 1 million examples* |" in markdown
    assert '<td class="guess">slowly below the baseline: ≈ .145' in html


def test_failures_and_damaged_files_are_named(html, markdown):
    assert "ValueError: &lt;no&gt; | way" in html
    assert "ValueError: <no> \\| way" in markdown
    for text in (html, markdown):
        assert "runs/broken.json cannot be read" in text


def test_the_markdown_tables_and_pictures_are_whole(store, markdown):
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown)
    assert len(pictures) == 12
    for picture in pictures:
        assert (store.folder / picture).read_bytes().startswith(b"\x89PNG")
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "\n\n\n\n" not in markdown


def test_the_report_comes_from_the_files_alone(store, html, markdown, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["report", str(store.folder)])
    main()
    assert "report.html" in capsys.readouterr().out
    assert (store.folder / "report.html").read_text(encoding="utf-8") == html
    assert (store.folder / "report.md").read_text(encoding="utf-8") == markdown


def test_an_empty_store_makes_a_report_too(tmp_path):
    for page in write_report(tmp_path / "nothing").pages:
        assert "0 runs finished" in page.read_text(encoding="utf-8")


def test_no_two_schemes_look_alike():
    names = [f"scheme{i}" for i in range(len(PALETTE) * len(DASHES))]
    looks = {(s.color, str(s.dash)) for s in styles(names, ["lstm"]).values()}
    assert len(looks) == len(names) + 1


def test_a_scheme_that_is_not_unitary_by_construction_says_so(tmp_path, make_result, capsys):
    from comparisons.console import print_summary

    store = Store(tmp_path)
    why = "unitary in the limit only: <= 0.5"
    results = [
        make_result("cayley"),
        replace(make_result("landing", defect=0.2), deviation=why),
    ]
    for result in results:
        store.save(result)
    store.save_plan("python run_it", [result.run for result in results])
    report = write_report(tmp_path)
    html, markdown = (page.read_text(encoding="utf-8") for page in report.pages)
    assert "† landing: unitary in the limit only: &lt;= 0.5" in html
    assert f"† landing: {why}" in markdown
    assert "| landing † |" in markdown
    assert "cayley †" not in markdown
    print_summary(report.sections)
    assert f"† landing: {why}" in capsys.readouterr().out


def test_the_training_records_that_a_scheme_is_not_unitary(make_run):
    assert train(make_run("landing")).deviation.startswith("unitary only in the limit")
    assert train(make_run("cayley")).deviation == ""
    assert train(make_run("gru", unitary_optimizer=None)).deviation == ""

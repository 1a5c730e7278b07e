"""The pages of a report."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from comparisons.__main__ import main
from comparisons.records import Failure
from comparisons.report import write_report
from comparisons.results.store import Store

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}


class Page(HTMLParser):
    """Follows the nesting of a page, and collects its ids, texts, tables and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.loads, self.rows, self.figures = [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        address = values.get("src") or (values.get("href") if tag in {"link", "image"} else None)
        if address and not address.startswith("data:"):
            self.loads.append(address)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        self.figures += values.get("data-figure") == "curves"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_result, make_run):
    """Two sections, a failure, a damaged file and a run still to do."""
    store = Store(tmp_path_factory.mktemp("store"))
    lstm = {"defect": None, "unitary_optimizer": None}
    results = [
        make_result("arjovsky", length=100, losses=(2.0, 0.1, 0.0123)),
        make_result("lstm", length=100, losses=(2.0, 0.3, 0.2), **lstm),
        make_result("arjovsky", length=200, losses=(2.0, 0.09, 0.08)),
        make_result("arjovsky", length=200, losses=(2.0, 0.09, 0.08), seed=1),
    ]
    for result in results:
        store.save(result)
    failed = make_run("gru", length=100, unitary_optimizer=None)
    store.save_failure(Failure(failed, "ValueError: <no> | way", "Traceback", "2026-01-02"))
    (store.folder / "runs" / "broken.json").write_text("{")
    runs = [result.run for result in results]
    store.save_plan("python run_it --all", [*runs, failed, make_run("expm", length=100)])
    return store


@pytest.fixture(scope="module")
def written(store):
    return write_report(store.folder)


@pytest.fixture(scope="module")
def html(written):
    return written.pages[0].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(written):
    return written.pages[1].read_text(encoding="utf-8")


def test_html_is_well_formed_and_loads_nothing(html):
    page = Page(html)
    assert not page.open
    assert len(page.ids) == len(set(page.ids))
    assert not page.loads
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', html)) <= set(page.ids)


def test_html_and_markdown_show_all_of_every_section(written, html, markdown):
    rows = Page(html).rows
    lines = [
        re.split(r" (?<!\\)\| ", line.strip("| ")) for line in markdown.splitlines() if "|" in line
    ]
    for section in written.sections:
        for text in (html, markdown):
            assert section.title in text
            assert section.description in text
            assert all(source in text.replace("&#39;", "'") for source in section.sources)
            assert section.provenance.commands[0] in text
            assert section.provenance.machines[0] in text
        assert list(section.table.columns) in rows
        assert list(section.table.columns) in lines
        for line in section.table.lines:
            assert list(line.cells) in rows
            if line.kind != "bound":  # whose last cells are empty
                assert list(line.cells) in lines


def test_html_has_the_curves_of_every_section(written, html):
    assert Page(html).figures == len(written.sections)


def test_markdown_shows_every_figure(store, written, markdown):
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown)
    assert len(pictures) == len(set(pictures)) == 4 * len(written.sections)
    for picture in pictures:
        assert (store.folder / picture).read_bytes().startswith(b"\x89PNG")


def test_html_and_markdown_show_published_results_with_their_tags(html, markdown):
    for text in (html, markdown):
        assert "Arjovsky et al. 2016" in text
        assert "[F] " in text
        assert "loss 0.0123 (arjovsky, n = 8, T = 100, 6 iterations)" in text
    assert "| *slowly below the baseline: ≈ .145 at 1 million examples* |" in markdown
    assert '<td class="guess">slowly below the baseline: ≈ .145' in html


def test_html_and_markdown_name_failures_and_damaged_files(html, markdown):
    assert "ValueError: &lt;no&gt; | way" in html
    assert "ValueError: <no> | way" in markdown
    for text in (html, markdown):
        assert "runs/broken.json cannot be read" in text
        assert "python run_it --all" in text


def test_markdown_tables_are_whole(markdown):
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    # Three tables of the overview, two sections, one table of published results.
    assert len(blocks) == 6
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "\n\n\n" not in markdown


def test_main_writes_the_pages_of_a_comparison_without_results(tmp_path, capsys):
    Store(tmp_path).save_plan("python run_it", [])
    main(["report", str(tmp_path)])
    pages = capsys.readouterr().out.split()
    assert pages == [str(tmp_path / name) for name in ("report.html", "report.md")]
    for page in pages:
        assert "0 runs finished" in Path(page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reslts/quick", "does not exist"),
        ("a file", "is no folder"),
        ("other", "holds neither a plan nor any finished run"),
    ],
)
def test_main_refuses_a_mistyped_folder_and_creates_nothing(tmp_path, capsys, name, reason):
    (tmp_path / "a file").write_text("text")
    (tmp_path / "other").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path / name)])
    error = capsys.readouterr().err
    assert f"{tmp_path / name} {reason}" in error
    assert "name a folder that run_all.py filled" in error
    assert sorted(tmp_path.rglob("*")) == before


def test_main_names_what_is_in_the_way_of_a_page(tmp_path, capsys):
    Store(tmp_path).save_plan("python run_it", [])
    (tmp_path / "report.md").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path)])
    assert str(tmp_path / "report.md") in capsys.readouterr().err

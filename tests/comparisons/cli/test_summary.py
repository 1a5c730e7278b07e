"""The end of a comparison on a terminal."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from comparisons.cli import summary
from comparisons.report.sections import build_report
from comparisons.results.store import Store

WHY = "unitary in the limit only: <= 0.5"
PAGE = Path("results/x/report.md")


@pytest.fixture
def report(tmp_path, make_result):
    """Two tasks and a scheme that is not unitary."""
    store = Store(tmp_path)
    landing = replace(make_result("landing", losses=(2.0, 0.125), defect=0.2), deviation=WHY)
    for result in (make_result("cayley", losses=(2.0, 0.25)), landing):
        store.save(result)
    for k in range(15):
        store.save(make_result("expm", task="adding", hidden_size=8 + k))
    return build_report(store.load())


def test_print_summary_shows_the_overview_and_then_the_main_columns(report, wide, capsys):
    summary.print_summary(report.overview, report.sections, PAGE)
    out = capsys.readouterr().out
    places = [out.index(report.overview.title)]
    places += [out.index(report.overview.models_title)]
    places += [out.index(section.title, places[1]) for section in report.sections]
    assert places == sorted(places)
    section = report.sections[1]
    copying = out[places[-1] :]
    assert all(column.split()[0] in copying for column in section.main_columns[:5])
    assert "training" not in copying
    # single seeds are sorted by name
    assert copying.index("0.25") < copying.index("landing †") < copying.index("0.125")
    assert f"† landing: {WHY}" in out
    assert out.rstrip().endswith(str(PAGE))


def test_print_summary_fits_a_narrow_terminal(report, narrow, capsys):
    summary.print_summary(report.overview, report.sections, PAGE)
    *lines, page = capsys.readouterr().out.splitlines()
    titles = {report.overview.models_title, *(section.title for section in report.sections)}
    assert max(len(line) for line in lines if line not in titles) <= 50
    assert str(PAGE) in page  # a path is not broken
    assert sum("expm" in line for line in lines) > 15  # a log has no end


def test_print_summary_shows_as_many_lines_as_a_screen_has(report, monkeypatch, capsys):
    screen = Console(force_terminal=True, width=80, height=14, color_system=None)
    monkeypatch.setattr(summary, "get_console", lambda: screen)
    summary.print_summary(report.overview, report.sections, PAGE)
    assert "and 7 more lines" in capsys.readouterr().out


def test_print_summary_of_nothing_prints_nothing(tmp_path, capsys):
    report = build_report(Store(tmp_path / "nothing").load())
    summary.print_summary(report.overview, report.sections, PAGE)
    assert capsys.readouterr().out == ""

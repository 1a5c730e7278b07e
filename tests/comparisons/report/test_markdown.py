"""The Markdown page of a report."""

import re

from comparisons.report.markdown import markdown_page
from comparisons.report.overview_tables import matrix_table, model_table, task_table


def test_markdown_begins_with_who_solves_what(build, copying, make_result):
    results = [
        *copying("cayley", 1e-3, 1.1e-3, 1.2e-3),
        *copying("expm", 0.1, 0.11, 0.12),
        *[make_result("expm", length=200, seed=s, losses=(2.0, 0.09)) for s in (0, 1)],
    ]
    report = build(results)
    overview = report.overview
    page = markdown_page(report, {section.name: () for section in report.sections})
    headings = re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
    assert headings == [overview.title, "How to read the tables", "Copying memory"]
    begin, _, rest = page.partition("## How to read the tables")
    assert all(sentence in begin for sentence in overview.sentences)
    for table in (task_table(overview), model_table(overview), matrix_table(overview)):
        for line in table.lines:
            assert f"| {' | '.join(line.cells)} |" in begin
    assert "| cayley | 25 [25, 25] ★ |" in begin
    for term, _ in report.legend:
        assert f"- *{term}*: " in rest


def test_markdown_of_one_task_has_no_matrix(build, copying):
    report = build(copying("cayley", 1e-3))
    page = markdown_page(report, {section.name: () for section in report.sections})
    assert report.overview.models_title in page
    assert report.overview.matrix_title not in page


def test_markdown_of_nothing_has_no_overview(build):
    report = build([])
    assert report.overview.title not in markdown_page(report, {})

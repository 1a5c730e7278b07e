"""The cells of the page's tables, and the numbers by which they are sorted."""

import pytest

from comparisons.report.page.cells import (
    LAST,
    interval,
    main_columns,
    matrix_lines,
    results_lines,
    speed_lines,
)
from comparisons.report.tables import TEXT_COLUMNS
from comparisons.results.intervals import Estimate


def two_sections(build, make_result):
    lstm = {"defect": None, "unitary_optimizer": None}
    return build(
        [
            make_result("expm", length=100, losses=(2.0, 0.3, 0.01)),
            make_result("expm", length=100, losses=(2.0, 0.3, 0.03), seed=1),
            make_result("lstm", length=100, losses=(2.0, 0.3, 0.2), **lstm),
            make_result("lstm", length=100, losses=(2.0, 0.3, 0.4), seed=1, **lstm),
            make_result("expm", length=200),
        ]
    )


def test_results_lines_have_the_order_of_every_column_of_numbers(build, make_result):
    section = two_sections(build, make_result).sections[0]
    for line in results_lines(section):
        for (text, order), column in zip(line.cells, section.table.columns, strict=True):
            if column in TEXT_COLUMNS:
                assert order == ""
            else:
                assert isinstance(order, float | int)
                assert (order == LAST) == (text in {"", "–"}), column


def test_results_lines_name_the_summary_of_each_line(build, make_result):
    section = two_sections(build, make_result).sections[0]
    column = section.table.columns.index("test loss")
    for line in results_lines(section):
        if line.kind == "bound":
            assert line.place is None
        else:
            assert line.cells[column][1] == pytest.approx(section.summaries[line.place].loss)
    assert {line.kind for line in results_lines(section)} == {"scheme", "baseline", "bound"}


def test_matrix_lines_are_the_pivot_of_the_overview(build, make_result):
    report = two_sections(build, make_result)
    found = {
        (model, cell.section): cell.standing
        for model, _, cells in matrix_lines(report)
        for cell in cells
        if cell
    }
    expected = {
        (standing.model, task.section): standing
        for task in report.overview.tasks
        for standing in task.standings
    }
    assert found == expected
    assert [line[:2] for line in matrix_lines(report)] == [("expm", "scheme"), ("lstm", "baseline")]


def test_matrix_cell_says_that_a_single_seed_has_no_interval(build, make_result):
    report = two_sections(build, make_result)
    (_, _, cells), _ = matrix_lines(report)
    notes = {cell.section: cell.shown["score"][1] for cell in cells}
    assert notes["copying-T200"] == "1 seed"
    assert " – " in notes["copying-T100"]


def test_interval_is_empty_without_ends():
    assert interval(Estimate(1.0, None, None, 1)) == ""
    assert interval(Estimate(1.0, 0.5, 1.5, 2)) == "0.5 – 1.5"


def test_speed_lines_have_the_median_memory(build, make_result):
    lines = {line.model: line for line in speed_lines(two_sections(build, make_result))}
    assert lines["expm"].memory == 10.0
    assert lines["expm"].ms_per_step == 1.5


def test_main_columns_are_columns_of_the_table_and_leave_the_defect_out(build, make_result):
    section = two_sections(build, make_result).sections[0]
    columns = main_columns(section)
    assert "defect end" not in columns
    assert {"model", "test loss", section.task.metric_name} <= set(columns)
    assert "defect end" in section.table.columns

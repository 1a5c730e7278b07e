"""The overview as tables."""

from comparisons.report.overview_tables import (
    matrix_table,
    model_table,
    task_table,
    with_interval,
)
from comparisons.results.intervals import Estimate


def test_with_interval_leaves_out_what_a_single_seed_lacks():
    assert with_interval(Estimate(0.12345, 0.1, 0.2, 3)) == "0.123 [0.1, 0.2]"
    assert with_interval(Estimate(0.12345, None, None, 1)) == "0.123"


def test_overview_tables_show_who_solves_what(build, copying, make_result):
    results = [
        *copying("cayley", 1e-3, 1.1e-3, 1.2e-3),
        *copying("expm", 0.1, 0.11, 0.12),
        *[make_result("expm", length=200, seed=s, losses=(2.0, 0.09)) for s in (0, 1)],
    ]
    overview = build(results).overview
    assert [line.cells for line in task_table(overview).lines] == [
        ("Copying memory, T = 100", "1 of 2", "cayley: 0.2 s", "cayley: 1,234", "cayley"),
        ("Copying memory, T = 200", "0 of 1", "–", "–", "–"),
    ]
    cayley, expm = (line.cells for line in model_table(overview).lines)
    assert cayley == ("cayley", "1 of 1", "1", "0.99", "1,234", "1.5", "0.2 s")
    assert expm[:3] == ("expm", "0 of 2", "0")
    matrix = matrix_table(overview)
    assert matrix.columns[1] == "Copying memory, T = 100: accuracy %"
    assert [line.cells for line in matrix.lines] == [
        ("cayley", "25 [25, 25] ★", ""), ("expm", "25 [25, 25]", "25 [25, 25]"),
    ]  # fmt: skip


def test_overview_tables_of_a_text_say_nothing_about_solving(
    make_result, imaginary, finished, build, monkeypatch
):
    monkeypatch.setattr(imaginary, "tokens", True)
    overview = build([finished(make_result("cayley"))]).overview
    ((*_, solved, _, _, _),) = (line.cells for line in task_table(overview).lines)
    assert solved == "–"
    assert model_table(overview).lines[0].cells[1] == "–"

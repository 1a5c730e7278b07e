"""The report as plain data."""

from dataclasses import replace

import pytest

from comparisons.report.export import records
from comparisons.report.sections import build_report
from comparisons.results.store import Store
from comparisons.results.summary import NOT_UNITARY


def table_of(section):
    """The lines of a section's table as mappings, by their first cell."""
    columns = section.table.columns
    return {
        line.cells[0]: dict(zip(columns, line.cells, strict=True)) for line in section.table.lines
    }


@pytest.fixture
def copying(make_result, build):
    """A section with two seeds, another scheme and a baseline of one seed each."""
    lstm = {"defect": None, "unitary_optimizer": None, "clip": 1}
    report = build(
        [
            make_result("cayley", length=100, seed=0, losses=(2.0, 0.1, 0.010)),
            make_result("cayley", length=100, seed=1, losses=(2.0, 0.1, 0.012)),
            make_result("arjovsky", length=100, losses=(2.0, 0.1, 0.0123)),
            make_result("lstm", length=100, losses=(2.0, 0.3, 0.2), **lstm),
        ]
    )
    (section,) = report.sections
    return section


def test_section_says_which_seeds_stopped_early(build, make_result):
    whole, other = (make_result("lstm", seed=seed, defect=None) for seed in (0, 1))
    stopped = replace(other, curve=other.curve[:2], stopped="diverged", defect_end=None)
    (section,) = build([whole, stopped]).sections
    assert section.remarks == ("‡ lstm, n = 8: seed 1 diverged after the evaluation at 3.",)
    line = next(line for line in section.table.lines if line.kind != "bound")
    assert line.cells[0] == "lstm ‡"
    (record,) = records([whole, stopped])
    assert record["stopped"] == "lstm, n = 8: seed 1 diverged after the evaluation at 3."
    assert record["curve"] == [(0, 2.0), (3, 0.5), (6, 0.01)]


def test_section_with_a_single_seed_is_sorted_by_name_below_the_bounds(copying):
    assert copying.name == "copying-T100"
    assert [(line.cells[0], line.kind) for line in copying.table.lines] == [
        ("memoryless baseline", "bound"),
        ("arjovsky", "scheme"),
        ("cayley", "scheme"),
        ("lstm", "baseline"),
    ]


def test_section_of_several_seeds_sorts_models_and_bounds_by_loss(make_result, build):
    losses = {"cayley": 0.14, "expm": 0.1, "lstm": 0.3}
    results = [
        make_result(model, task="adding", length=10, seed=seed, losses=(1.0, loss))
        for model, loss in losses.items()
        for seed in (0, 1, 2)
    ]
    (section,) = build(results).sections
    lines = [(line.cells[0], line.kind) for line in section.table.lines]
    assert lines[0] == ("expm", "scheme")
    assert lines[2:] == [
        ("memoryless baseline", "bound"), ("constant baseline", "bound"), ("lstm", "baseline"),
    ]  # fmt: skip
    assert table_of(section)["memoryless baseline"]["test loss"] == "0.15"
    assert table_of(section)["constant baseline"]["test loss"] == "0.1667"
    assert "1/6 - 1/(12" in section.description


def test_section_of_older_results_has_the_constant_baseline_alone(make_result, build):
    (section,) = build([replace(make_result(task="adding"), memoryless=None)]).sections
    assert list(table_of(section)) == ["constant baseline", "cayley"]


def test_section_table_holds_what_the_runs_recorded(copying):
    table = table_of(copying)
    assert table["memoryless baseline"]["test loss"] == "0.1733"
    assert table["cayley"]["test loss"] == "0.011 ± 0.0014"  # two seeds
    assert table["cayley"]["solved at"] == "6"
    assert table["lstm"]["solved at"] == table["lstm"]["defect end"] == "–"
    assert table["arjovsky"]["defect end"] == "1e-07"
    assert table["arjovsky"]["parameters (of W)"] == "1,234 (567)"
    assert "clip ±1" in table["lstm"]["training"]
    assert table["cayley"]["settings"] == "[1]"
    assert copying.sources == ("a test's",)


def test_section_names_its_origin(copying):
    provenance = copying.provenance
    assert provenance.commands == ("python comparisons/run_all.py --preset imaginary",)
    assert len(provenance.machines) == 1  # the same for all four runs
    assert "Imaginary CPU 9000" in provenance.machines[0]
    assert provenance.days == "2026-01-02"


def test_section_main_columns_are_part_of_the_table(copying):
    part = copying.table.part(copying.main_columns)
    assert part.columns == ("model", "test loss", "accuracy %", "solved at", "n", "ms / step",
                            "defect end", "parameters (of W)")  # fmt: skip
    assert part.lines[2].cells[:2] == ("cayley", "0.011 ± 0.0014")


def test_section_has_one_series_for_each_summary(copying):
    assert [series.label for series in copying.series] == [
        "arjovsky, n = 8", "cayley, n = 8", "lstm, n = 8",
    ]  # fmt: skip
    assert [len(series.results) for series in copying.series] == [1, 2, 1]
    assert copying.size_curves == ()


def test_section_reports_the_evaluation_that_validation_selects(
    make_result, imaginary, finished, build
):
    best_early = make_result("cayley", losses=(2.0, 0.02, 0.5))
    last_best = make_result("expm", losses=(2.0, 0.5, 0.1))
    report = build(
        [finished(best_early, valid=(2.0, 0.03, 0.4)), finished(last_best, valid=(2.0, 0.5, 0.1))]
    )
    (section,) = report.sections
    assert section.name == "imaginary-small-T5"
    assert section.title == "Imaginary task, few words, T = 5"
    cells = table_of(section)["cayley"]
    assert cells["test loss"] == "0.02"
    assert cells["perplexity"] == "1.02"  # exp(0.02)
    assert cells["validation"] == "1.03"
    assert cells["best at"] == "3"
    assert list(table_of(section)) == ["memoryless baseline", "optimum", "cayley", "expm"]
    assert "data of small" in section.description
    assert "0.005" in section.description  # the optimum
    assert "validation" in section.description


def test_section_counts_solved_from_the_optimum(make_result, imaginary, finished, build):
    # The baseline is 10 ln 8 / 25 = 0.8318: a tenth of the way is 0.005 + 0.0827 = 0.0877.
    results = [
        finished(make_result("cayley", losses=(2.0, 0.087, 0.01))),
        finished(make_result("expm", losses=(2.0, 0.088, 0.01))),
    ]
    table = table_of(build(results).sections[0])
    assert (table["cayley"]["solved at"], table["expm"]["solved at"]) == ("3", "6")


def test_section_leaves_empty_columns_out(make_result, imaginary, finished, build, monkeypatch):
    monkeypatch.setattr(imaginary, "tokens", True)  # a text is never solved
    (section,) = build([finished(make_result("cayley"))]).sections
    assert not {"solved at", "validation", "best at"} & set(section.table.columns)


def test_section_reports_the_least_test_loss_where_the_paper_does(make_result, build):
    losses = (2.0, 0.01, 0.5)
    last = make_result("cayley", losses=losses)
    best = make_result("cayley", losses=losses, report_best_test=True)
    assert (last.chosen, best.chosen) == (last.curve[2], best.curve[1])
    assert last.run.id == best.run.id  # the same training, reported in another way
    (section,) = build([best]).sections
    assert table_of(section)["cayley"]["best at"] == "3"
    assert "cayley" in section.description


def test_section_marks_schemes_that_are_not_unitary(make_result, build):
    why = "unitary in the limit only: <= 0.5"
    landing = replace(make_result("landing", defect=0.2), deviation=why)
    (section,) = build([make_result("cayley"), landing]).sections
    assert {f"landing {NOT_UNITARY}", "cayley"} <= set(table_of(section))
    assert section.deviations == (f"{NOT_UNITARY} landing: {why}",)


def test_chapter_sets_published_results_beside_ours(make_result, build):
    (chapter,) = build([make_result("arjovsky", length=100, losses=(2.0, 0.0123))]).chapters
    assert (chapter.name, len(chapter.sections)) == ("copying", 1)
    line = next(
        line
        for line in chapter.published.lines
        if line.cite == "Arjovsky et al. 2016" and line.where == "T = 100"
    )
    (own,) = line.ours
    assert "loss 0.0123 (arjovsky, n = 8, T = 100, 6 iterations)" in own.text
    assert own.differences == "other size: 8"
    assert own.note == "[1]"
    assert not line.exact
    assert line.standing.startswith("[F] ")
    assert chapter.provenance == chapter.sections[0].provenance
    assert chapter.left_out.split()[0].isdigit()


def test_chapter_of_a_paper_lists_all_that_it_published(make_result, build):
    result = make_result("arjovsky", length=100, losses=(2.0, 0.0123), hidden_size=128)
    report = build([result], "arjovsky2016")
    assert report.title == report.paper.cite == "Arjovsky et al. 2016"
    assert {chapter.name for chapter in report.chapters} == {
        published.task for published in report.paper.published
    }
    lines = [line for chapter in report.chapters for line in chapter.published.lines]
    assert len(lines) == len(report.paper.published)
    assert {line.cite for line in lines} == {report.title}
    exact = [own.text for line in lines for own in line.ours if not own.differences]
    assert len(exact) == 1
    assert "loss 0.0123 (arjovsky, n = 128, T = 100, 6 iterations)" in exact[0]
    assert not any(chapter.left_out for chapter in report.chapters)
    assert all(chapter.published.remarks for chapter in report.chapters)


def test_chapter_names_the_differences_of_each_result_of_ours(make_result, build):
    results = [
        make_result("arjovsky", length=100, hidden_size=64),
        make_result("arjovsky", length=150, hidden_size=128),
    ]
    chapter = next(c for c in build(results, "arjovsky2016").chapters if c.name == "copying")
    line = next(line for line in chapter.published.lines if line.where == "T = 100" and line.ours)
    assert [own.differences for own in line.ours] == ["other size: 64", "other length: 150"]
    assert ["n = 64" in line.ours[0].text, "n = 128" in line.ours[1].text] == [True, True]


def test_report_counts_what_is_missing(tmp_path, make_result, make_run):
    store = Store(tmp_path)
    store.save(make_result("cayley"))
    store.save_plan("python run_it --all", [make_run("cayley"), make_run("expm")])
    (tmp_path / "runs" / "broken.json").write_text("{")
    report = build_report(store.load())
    assert [int(word) for word in report.counts.split() if word.isdigit()] == [1, 0, 1]
    assert report.resume == "python run_it --all"
    (problem,) = report.problems
    assert "runs/broken.json" in problem


def test_report_of_an_empty_folder_is_empty(tmp_path):
    report = build_report(Store(tmp_path / "nothing").load())
    assert report.chapters == report.failures == report.problems == ()
    assert report.resume == ""


def test_report_on_real_text_does_without_the_text(make_result, finished, build, monkeypatch):
    monkeypatch.delenv("UNITARY_ZOO_DATA", raising=False)
    result = make_result("lie_exp", length=35, losses=(9.0, 5.0))  # of copying, which needs none
    report = build([finished(result, task="word_lm", variant="ptb", valid=(9.0, 5.0))])
    assert "Penn Treebank" in report.sections[0].title

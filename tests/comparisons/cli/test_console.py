"""Output on a terminal."""

import errno
import io
import sys
from dataclasses import replace

import pytest

from comparisons.cli import console
from comparisons.records import Failure
from comparisons.report.sections import build_report
from comparisons.results.store import Store


def test_print_summary_shows_the_main_columns_and_deviations(tmp_path, make_result, capsys):
    store = Store(tmp_path)
    why = "unitary in the limit only: <= 0.5"
    landing = replace(make_result("landing", losses=(2.0, 0.125), defect=0.2), deviation=why)
    for result in (make_result("cayley", losses=(2.0, 0.25)), landing):
        store.save(result)
    (section,) = build_report(store.load()).sections
    console.print_summary([section])
    out = capsys.readouterr().out
    assert section.title in out
    assert all(column in out for column in section.table.part(section.main_columns).columns)
    assert "training" not in out
    # single seeds are sorted by name
    assert out.index("0.25") < out.index("landing †") < out.index("0.125")
    assert f"† landing: {why}" in out


def test_show_prints_rows_without_reading_markup(capsys):
    console.show("a title", [{"case": "[red]", "ms": 1.5}, {"case": "b", "ms": None}])
    out = capsys.readouterr().out
    assert all(text in out for text in ("a title", "case", "[red]", "1.5", "–"))
    console.show("nothing", [])
    assert capsys.readouterr().out == ""


def test_progress_bars_print_a_line_for_each_run_that_ended(make_result, make_run, capsys):
    with console.ProgressBars(2) as bars:
        bars.update(make_run("cayley"), 3, 0.5)
        bars.finish(make_result("cayley", losses=(2.0, 0.25)))
        bars.finish(Failure(make_run("lstm"), "ValueError: [no] way", "", "2026-01-02"))
    done, failed = capsys.readouterr().out.splitlines()
    assert "cayley" in done
    assert "0.25" in done
    assert "lstm" in failed
    assert "ValueError: [no] way" in failed


def test_print_runs_marks_the_finished_ones(make_run, capsys):
    runs = [make_run("cayley"), make_run("expm")]
    console.print_runs(runs, {runs[0].id})
    lines = capsys.readouterr().out.splitlines()
    (cayley,) = (line for line in lines if "cayley" in line)
    (expm,) = (line for line in lines if "expm" in line)
    assert "finished" in cayley
    assert "finished" not in expm


class Full(io.StringIO):
    """A log on a full disk."""

    def write(self, text=""):
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = write


@pytest.mark.parametrize("stream", [Full(), None])
def test_say_outlives_an_output_that_cannot_be_written(monkeypatch, capsys, stream):
    with monkeypatch.context() as changed:
        changed.setattr(sys, "stdout", stream)
        console.say("lost")
        console.show("lost", [{"case": 1}])
    console.say("found")
    assert capsys.readouterr().out == "found\n"

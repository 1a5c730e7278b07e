"""Output on a terminal."""

import errno
import io
import sys

import pytest

from comparisons.cli import console
from comparisons.records import Failure


def test_show_prints_rows_without_reading_markup(capsys):
    console.show("a title", [{"case": "[red]", "ms": 1.5}, {"case": "b", "ms": None}])
    out = capsys.readouterr().out
    assert all(text in out for text in ("a title", "case", "[red]", "1.5", "–"))
    console.show("nothing", [])
    assert capsys.readouterr().out == ""


def test_show_leaves_out_the_last_columns_where_they_do_not_fit(narrow, capsys):
    row = {"id": "copying-T100", "loss": 0.25, "state": "finished", "comment": "x" * 30}
    console.show("a title", [row])
    out = capsys.readouterr().out
    assert "finished" in out
    assert "xx" not in out
    assert "not shown: comment" in out
    assert max(map(len, out.splitlines())) <= 50


def test_print_runs_fits_a_narrow_terminal(make_run, narrow, capsys):
    console.print_runs([make_run("scaled_cayley_unitary", task="contractive_system")], set())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    (run,) = (line.split() for line in lines if "scaled_cayley_unitary" in line)
    assert run[1] == "contractive_system"


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

"""The table of final losses is read from what the runs left, and from one whole comparison only."""

import json
import math
from dataclasses import replace

import pytest

from comparisons.benchmarks import quick
from comparisons.records import Failure
from comparisons.results.store import Store

MACHINE = {"cpu": "Imaginary CPU 9000", "instructions": "NONE", "cores": 2}


@pytest.fixture
def results(make_result):
    made = [
        make_result("cayley", losses=(2.0, 0.25), defect=1e-7),
        make_result("cayley", seed=1, losses=(2.0, 0.75), defect=3e-7),
        make_result("cayley", task="adding", losses=(1.0, 0.5, 0.125)),
        make_result("lstm", losses=(2.0, 0.5), defect=None, unitary_optimizer=None),
    ]
    # Other tasks have no columns, and no part in the others.
    elsewhere = make_result("cayley", losses=(9.0, 9.0), defect=1.0, hidden_size=99)
    made.append(replace(elsewhere, run=replace(elsewhere.run, task="elsewhere")))
    return [replace(result, machine=MACHINE) for result in made]


@pytest.fixture
def folder(tmp_path, results):
    store = Store(tmp_path / "results")
    for result in results:
        store.save(result)
    return store.folder


@pytest.fixture
def run(monkeypatch, folder):
    def call(*argv):
        monkeypatch.setattr("sys.argv", ["quick.py", "--results", str(folder), *argv])
        quick.main()

    return call


def test_rows_are_means_over_seeds(results):
    nothing, cayley, lstm = quick.table(results)
    assert cayley == {
        "scheme": "cayley",
        "field": "real",
        "n": 8,
        "seeds": 1,  # of the task that has the fewest
        "copying_loss": 0.5,
        "copying_seconds": pytest.approx(0.1),
        "adding_loss": 0.125,
        "adding_seconds": pytest.approx(0.2),
        "defect": 3e-7,
    }
    assert (lstm["field"], lstm["adding_loss"], lstm["defect"]) == ("-", None, None)
    # Ten symbols out of eight, remembered over five blanks: chance in 10 of 25 steps.
    assert nothing["copying_loss"] == pytest.approx(10 * math.log(8) / 25)
    assert all(list(row) == list(nothing) for row in (cayley, lstm))


def test_file_says_where_the_runs_were_made_not_where_it_is_written(run, tmp_path, results):
    run("--json", str(tmp_path / "docs" / "quick.json"))
    found = json.loads((tmp_path / "docs" / "quick.json").read_text(encoding="utf-8"))
    assert found["quick"] == quick.table(results)
    assert found["machine"] == MACHINE
    assert found["command"] == "python comparisons/run_all.py --preset imaginary"
    assert found["date"] == "2026-01-02T03:04:05+00:00"
    assert found["load_before"] is found["load_after"] is None


def refused(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run()
    return capsys.readouterr().err


def test_lengths_are_not_mixed(run, folder, make_result, capsys):
    Store(folder).save(replace(make_result("expm", length=6), machine=MACHINE))
    assert "copying was run with the lengths [5, 6]" in refused(run, capsys)


def test_machines_are_not_mixed(run, folder, make_result, capsys):
    Store(folder).save(make_result("expm"))
    assert "do not agree in their machine" in refused(run, capsys)


def test_a_comparison_that_is_not_whole_is_refused(run, folder, make_run, capsys):
    Store(folder).save_failure(Failure(make_run("gru"), "ValueError", "", "2026-01-02"))
    assert "5 finished runs, 1 failed ones" in refused(run, capsys)


def test_a_comparison_that_was_interrupted_is_refused(run, folder, make_run, capsys):
    Store(folder).save_plan("python comparisons/run_all.py", [make_run("cayley"), make_run("gru")])
    assert "lacks 1 of the last command" in refused(run, capsys)


def test_an_empty_folder_is_refused(run, folder, capsys):
    for path in folder.rglob("*.json"):
        path.unlink()
    assert "0 finished runs" in refused(run, capsys)

"""A search from the command line to the report, with made-up and with real trainings."""

import errno
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons import run_all
from comparisons.__main__ import main as work_with
from comparisons.execution import EXECUTORS
from comparisons.execution.executor import failure
from comparisons.report.export import main as export
from comparisons.results import store as store_module
from comparisons.results.store import Store
from comparisons.run_all import main

pytest.importorskip("optuna", reason="a search chooses its trials by Optuna")

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "tiny_search.yaml"


@pytest.fixture
def trained(make_result, monkeypatch):
    """The runs that a fake executor was asked for; the test loss is least where validation is most.

    Above a learning rate of 0.02, a run diverges.
    """
    asked = []

    class Fake:
        def __init__(self, options):
            pass

        def execute(self, runs, report):
            for run in reversed(list(runs)):  # in any order
                asked.append(run)
                lr = run.setting.training.optimizer.lr
                if lr > 0.02:
                    yield failure(run, "DivergedError: it did", "", "DivergedError")
                    continue
                loss = abs(math.log(lr / 3e-3))
                result = make_result(losses=(2.0, 20.0 - loss))
                validated = run.setting.evaluation.validation_size
                curve = tuple(
                    replace(p, valid_loss=loss if validated else None) for p in result.curve
                )
                yield replace(result, run=run, curve=curve)

    monkeypatch.setitem(EXECUTORS, "local", Fake)
    return asked


COMMAND = ["--preset", "smoke", "--tasks", "copying", "--schemes", "cayley", "lstm"]
COMMAND += ["--seeds", "0", "1", "--search", "6", "--results"]


def test_search_chooses_by_validation_and_leaves_test_sets_alone(tmp_path, trained, capsys):
    assert main([*COMMAND, str(tmp_path)]) == 0
    contents, trials = Store(tmp_path).load(), Store(tmp_path / "search").load()
    assert {study.model for study in contents.searches} == {"cayley", "lstm"}
    for study in contents.searches:
        assert len(study.trials) == study.budget == 6
        found = {r.run.id: r for r in trials.results if r.run.model == study.model}
        failed = {f.run.id for f in trials.failures if f.run.model == study.model}
        assert found.keys() | failed == {trial.run for trial in study.trials}
        assert {result.run.seed for result in found.values()} == {study.seed} == {1000}
        best = min(found.values(), key=lambda result: result.final.valid_loss)
        final = [result.run for result in contents.results if result.run.model == study.model]
        assert [run.seed for run in final] == [0, 1]
        for run in final:
            assert run.setting.training == best.run.setting.training
            assert run.setting.model == best.run.setting.model
            assert "6 trials" in run.setting.source
    assert len(contents.results) == 4  # no trial is among the results
    assert not contents.missing
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Copying memory: search for settings" in page
    assert "Each model had 6 trials on each task: the same budget for every model" in page
    assert "| lr | [0.0001, 0.03] |" in page
    assert "search for settings" in (tmp_path / "report.html").read_text("utf-8").lower()
    export([str(tmp_path), "--docs", str(tmp_path)])
    kept = json.loads((tmp_path / "results" / f"{tmp_path.name}.json").read_text("utf-8"))
    assert {row["model"] for row in kept["search"]} == {"cayley", "lstm"}


def test_search_that_cannot_be_stored_still_chooses(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setattr(run_all, "report", lambda folder: True)
    write = store_module.write_file

    def refuse(path, content):
        if path.name == "searches.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(store_module, "write_file", refuse)
    assert main([*COMMAND, str(tmp_path)]) == 0
    assert "the search could not be stored" in capsys.readouterr().out
    for result in Store(tmp_path).load().results:
        assert "6 trials" in result.run.setting.source


def test_search_goes_on_where_it_was_interrupted(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setattr(run_all, "report", lambda folder: True)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([*COMMAND, str(whole)]) == 0
    expected = [run.id for run in trained]
    assert main([*COMMAND, str(whole)]) == 0
    assert len(trained) == len(expected)  # trials that failed by their setting, neither
    del trained[:]

    class Enough(list):
        def append(self, run):
            if len(self) == 7:
                raise KeyboardInterrupt
            super().append(run)

    short = Enough()
    Fake = EXECUTORS["local"]
    cell = next(c for c in Fake.execute.__closure__ if c.cell_contents is trained)
    cell.cell_contents = short
    assert main([*COMMAND, str(cut)]) == 130
    cell.cell_contents = trained
    assert work_with(["report", str(cut)]) == 0  # of what there is
    assert main([*COMMAND, str(cut)]) == 0
    assert sorted(run.id for run in [*short, *trained]) == sorted(expected)
    by_command = [
        {study.id: study.trials for study in Store(folder).load().searches}
        for folder in (whole, cut)
    ]
    assert by_command[0] == by_command[1]


def test_search_dry_run_says_space_and_number_of_trials(tmp_path, trained, wide, capsys):
    assert main([*COMMAND, str(tmp_path / "none"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "12 trials come before the runs" in out
    assert "unitary_lr [1e-05, 0.03]" in out
    assert not trained
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--search-space", "kerg2019"], "give --search N"),
        (["--search", "0"], "positive"),
        (["--search", "2", "--search-space", "kerg2091"], "'kerg2019'"),
        (["--search", "2", "--search-space", "none.yaml"], "none.yaml cannot be read"),
        (["--search", "2", "--search-sampler", "tpee"], "'tpe'"),
        (["--grid", "none.yaml"], "none.yaml cannot be read"),
        (["--grid", "none.yaml", "--preset", "quick"], "not allowed with"),
    ],
)
def test_search_and_grid_refuse_in_one_line(flags, hint, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(flags)
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1


def test_damaged_searches_are_a_problem_of_their_own(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(run_all, "report", lambda folder: True)
    assert main([*COMMAND, str(tmp_path)]) == 0
    path = tmp_path / "searches.json"
    data = json.loads(path.read_text("utf-8"))
    del data["studies"][0]["trials"][0]["values"]["lr"]
    path.write_text(json.dumps(data))
    contents = Store(tmp_path).load()
    assert contents.searches == ()
    assert len(contents.results) == 4
    assert any("searches.json" in problem for problem in contents.problems)


def test_search_sets_damaged_files_aside_and_leaves_those_of_other_plugins_alone(
    tmp_path, trained, monkeypatch, capsys
):
    monkeypatch.setattr(run_all, "report", lambda folder: True)
    assert main([*COMMAND, str(tmp_path)]) == 0
    path = tmp_path / "searches.json"
    trial = next((tmp_path / "search" / "runs").iterdir())
    data = json.loads(path.read_text("utf-8"))
    for damaged in (path, trial):
        damaged.write_text("{")
    assert main([*COMMAND, str(tmp_path)]) == 0
    assert (tmp_path / "set_aside" / f"{tmp_path.name}-searches.json").read_text() == "{"
    assert (tmp_path / "search" / "set_aside" / f"runs-{trial.name}").read_text() == "{"
    assert json.loads(path.read_text("utf-8")) == data
    data["studies"][0]["task"] = "hers"
    path.write_text(json.dumps(data))
    with pytest.raises(SystemExit, match="2"):
        main([*COMMAND, str(tmp_path)])
    assert "name the plug-in that brings it by --plugin" in capsys.readouterr().err
    assert json.loads(path.read_text("utf-8")) == data


@pytest.mark.slow
def test_example_of_the_page_is_searched_and_trained(tmp_path, capsys):
    folder = tmp_path / "results"
    assert main(["--grid", str(EXAMPLE), "--results", str(folder), "--jobs", "1"]) == 0
    contents = Store(folder).load()
    assert {study.model: len(study.trials) for study in contents.searches} == {
        "cayley": 3, "lstm": 3,
    }  # fmt: skip
    assert all(trial.loss is not None for s in contents.searches for trial in s.trials)
    assert len(contents.results) == 4
    assert {result.run.setting.model.hidden_size for result in contents.results} == {8, 4}

import json

import pytest

from comparisons.execution import ExecutionOptions
from comparisons.execution.local import LocalExecutor, pool, trial
from comparisons.execution.local.shares import FILE, KeptShares, Share
from comparisons.training.artifacts import Artifacts


@pytest.mark.parametrize(
    ("cpus", "count", "shares"),
    [
        (2, 10, [(2, 1), (1, 2)]),
        (1, 10, [(1, 1)]),
        (6, 100, [(6, 1), (3, 2), (1, 4), (1, 6)]),
        (8, 3, [(3, 1), (3, 2), (2, 4), (1, 8)]),
        (4, 1, [(1, 1), (1, 2), (1, 4)]),
    ],
)
def test_possible_shares_use_the_machine(cpus, count, shares):
    found = [(share.jobs, share.threads) for share in trial.possible_shares(cpus, count)]
    assert found == shares


def test_fastest_takes_what_finishes_the_list_soonest(make_run):
    long = {"length": 100, "batch_size": 100}
    runs = [make_run(seed=seed, iterations=1000, **long) for seed in range(3)]
    rates = {Share(2, 1): 10.0, Share(1, 2): 8.0}
    # Three runs of 1,000 steps: two after the other at 5 a second, or three at 8 a second.
    assert trial.whole_seconds(runs, Share(2, 1), 10.0) == 400
    assert trial.whole_seconds(runs, Share(1, 2), 8.0) == 375
    share, figures = trial.fastest(runs, 2, rates.get)
    assert share == Share(1, 2)
    assert figures == "2 x 1: 10 steps/s, 400 s; 1 x 2: 8 steps/s, 375 s"
    assert trial.fastest(runs[:2], 2, rates.get)[0] == Share(2, 1)
    # A share that failed is left out, and many threads are not tried once they only cost time.
    assert trial.fastest(runs, 2, {Share(1, 2): 1.0}.get)[0] == Share(1, 2)
    assert trial.fastest(runs, 2, {}.get) == (None, "")
    asked = []

    def slower_with_threads(share):
        asked.append(share.threads)
        return 10.0 / share.threads

    assert trial.fastest(runs * 3, 8, slower_with_threads)[0] == Share(8, 1)
    assert asked == [1, 2]


def test_whole_seconds_follow_the_costs_of_the_runs(make_run):
    runs = [make_run(iterations=10), make_run(seed=1, iterations=40), make_run(iterations=20)]
    assert trial.dearest(runs) is runs[1]
    assert trial.whole_seconds(runs, Share(1, 1), 1.0) == pytest.approx(70)
    assert trial.whole_seconds(runs, Share(2, 1), 2.0) == pytest.approx(40)


def test_is_short_weighs_all_runs(make_run):
    assert trial.is_short([make_run()] * 100, 2)
    assert not trial.is_short([make_run(iterations=10**5)], 2)


def test_local_executor_chooses_by_measurement(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "WINDOW_SECONDS", 0.1)
    monkeypatch.setattr(pool, "usable_cpus", lambda: 2)
    runs = [make_run(seed=seed, iterations=10**5) for seed in range(4)]
    executor = LocalExecutor(ExecutionOptions(jobs=None, artifacts=Artifacts(tmp_path)))
    division = executor.divide(runs)
    assert f"as measured on {runs[0]}" in division.reason
    assert "2 x 1: " in division.reason
    assert len(set(division.threads.values())) == 1
    monkeypatch.setattr(trial, "fastest", lambda *_: pytest.fail("measured again"))
    again = LocalExecutor(executor.options).divide(runs[:3])
    assert again.threads[runs[0].id] == division.threads[runs[0].id]


def test_local_executor_needs_no_measurement_to_start(make_run, monkeypatch):
    """A run that cannot even be built is no reason to train none."""
    runs = [make_run("no_such_model", seed=seed, iterations=10**6) for seed in range(2)]
    division = LocalExecutor(ExecutionOptions(jobs=None)).divide(runs)
    assert division.jobs >= 1
    assert "as measured" not in division.reason


@pytest.mark.parametrize("text", ["{", "[]", '{"shares": [{"share": {"jobs": 0, "threads": 1}}]}'])
def test_kept_shares_replace_a_damaged_file(make_run, tmp_path, text):
    (tmp_path / FILE).write_text(text)
    run, kept = make_run(), KeptShares(tmp_path, None, 2)
    assert kept.find([run]) == {}
    kept.add([run], Share(2, 1))
    assert KeptShares(tmp_path, None, 2).find([run]) == {run.id: Share(2, 1)}
    assert json.loads((tmp_path / FILE).read_text())["shares"][0]["ids"] == [run.id]


def test_kept_shares_go_on_without_a_folder_to_write(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    kept = KeptShares(tmp_path / "file", None, 2)
    kept.add([make_run()], Share(2, 1))
    assert kept.find([make_run()]) == {}

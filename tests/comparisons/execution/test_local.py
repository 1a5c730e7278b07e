import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import torch

from comparisons.execution import attempt
from comparisons.execution import local as executors
from comparisons.execution.local import LocalExecutor
from comparisons.records import Failure, Result
from comparisons.training.machine import usable_cpus


def silent(run, iteration, loss):
    """Report to nobody."""


def test_local_executor_trains_runs_and_reports_progress(make_run):
    runs = [make_run(seed=seed, iterations=300) for seed in range(3)]
    news = []
    outcomes = list(LocalExecutor(2).execute(runs, lambda *update: news.append(update)))
    assert {outcome.run for outcome in outcomes} == set(runs)
    assert all(isinstance(outcome, Result) for outcome in outcomes)
    assert all(run in runs and 0 < done <= 300 for run, done, _ in news)
    assert {outcome.threads for outcome in outcomes} == {max(1, usable_cpus() // 2)}


def test_local_executor_preloads_package_only_from_its_own_folder(tmp_path, monkeypatch):
    # The server that they are forked from imports from its working directory first.
    monkeypatch.chdir(Path(executors.__file__).parents[2])
    assert "comparisons.execution.local" in executors._preload()
    monkeypatch.chdir(tmp_path)
    assert "comparisons.execution.local" not in executors._preload()


def test_local_executor_isolates_exception(make_run):
    good = make_run()
    bad = replace(good, task="no_such_task")
    outcomes = {o.run: o for o in LocalExecutor(usable_cpus()).execute([bad, good], silent)}
    assert isinstance(outcomes[good], Result)
    failure = outcomes[bad]
    assert isinstance(failure, Failure)
    assert "no_such_task" in failure.error
    assert "\n" not in failure.error
    assert "Traceback" in failure.traceback


def test_local_executor_isolates_killed_worker(make_run):
    runs = [make_run(seed=seed, iterations=1500) for seed in range(2)]
    alive = set()

    def kill_one(run, iteration, loss):
        if len(alive) == 2:
            return
        alive.add(run)
        if len(alive) == 2:  # both workers are at work, and one of them dies
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    outcomes = list(LocalExecutor(2).execute(runs, kill_one))
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failure.error == "the worker process died (killed by SIGKILL; out of memory?)"
    assert sum(isinstance(outcome, Result) for outcome in outcomes) == 1


def test_local_executor_stops_workers_on_close(make_run):
    runs = [make_run(iterations=3), make_run(seed=1, iterations=10**6)]
    outcomes = LocalExecutor(2).execute(runs, silent)
    assert next(outcomes).run == runs[0]
    outcomes.close()
    assert not multiprocessing.active_children()


def test_attempt_turns_exception_into_one_line(make_run):
    threads = torch.get_num_threads()
    outcome = attempt(make_run("no_such_model"), threads)
    assert isinstance(outcome, Failure)
    assert outcome.error.startswith("UnknownSchemeError: unknown scheme 'no_such_model'")

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import torch

from comparisons.execution import attempt, local
from comparisons.execution.local import LocalExecutor
from comparisons.records import Failure, Result
from comparisons.training.machine import usable_cpus


def silent(run, iteration, loss):
    """Report to nobody."""


def test_local_executor_trains_runs_and_reports_progress(make_run):
    runs = [make_run(seed=seed, iterations=300) for seed in range(3)]
    news = []
    ended_runs = list(LocalExecutor(2).execute(runs, lambda *update: news.append(update)))
    assert {ended.run for ended in ended_runs} == set(runs)
    assert all(isinstance(ended, Result) for ended in ended_runs)
    assert all(run in runs and 0 < done <= 300 for run, done, _ in news)
    assert {ended.threads for ended in ended_runs} == {max(1, usable_cpus() // 2)}


def test_local_executor_preloads_package_only_from_its_own_folder(tmp_path, monkeypatch):
    # The server that workers are forked from imports from its working directory first.
    monkeypatch.chdir(Path(local.__file__).parents[2])
    assert "comparisons.execution.local" in local._preload()
    monkeypatch.chdir(tmp_path)
    assert "comparisons.execution.local" not in local._preload()


def test_local_executor_isolates_exception(make_run):
    good = make_run()
    bad = replace(good, task="no_such_task")
    ended_runs = {o.run: o for o in LocalExecutor(usable_cpus()).execute([bad, good], silent)}
    assert isinstance(ended_runs[good], Result)
    failure = ended_runs[bad]
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

    ended_runs = list(LocalExecutor(2).execute(runs, kill_one))
    (failure,) = [ended for ended in ended_runs if isinstance(ended, Failure)]
    assert failure.error == "the worker process died (killed by SIGKILL; out of memory?)"
    assert sum(isinstance(ended, Result) for ended in ended_runs) == 1


def test_local_executor_stops_workers_on_close(make_run):
    runs = [make_run(iterations=3), make_run(seed=1, iterations=10**6)]
    ended_runs = LocalExecutor(2).execute(runs, silent)
    assert next(ended_runs).run == runs[0]
    ended_runs.close()
    assert not multiprocessing.active_children()


def test_attempt_turns_exception_into_one_line(make_run):
    threads = torch.get_num_threads()
    ended = attempt(make_run("no_such_model"), threads)
    assert isinstance(ended, Failure)
    assert ended.error.startswith("UnknownSchemeError: unknown scheme 'no_such_model'")

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comparisons.execution import ExecutionOptions, attempt, executor, local
from comparisons.execution.local import LocalExecutor
from comparisons.records import Failure, Result
from comparisons.training.machine import usable_cpus


def silent(run, iteration, loss):
    """Report to nobody."""


def test_local_executor_trains_runs_and_reports_progress(make_run):
    runs = [make_run(seed=seed, iterations=300) for seed in range(3)]
    news = []
    ended_runs = list(
        LocalExecutor(ExecutionOptions(jobs=2)).execute(runs, lambda *update: news.append(update))
    )
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


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="workers are not forked"
)
def test_worker_is_born_with_interrupts_blocked(tmp_path):
    """Ctrl-C reaches it while it imports, before it could ignore the signal."""
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys\n"
        "if __name__ != '__main__':\n"
        "    signal.raise_signal(signal.SIGINT)  # the import in a worker is interrupted\n"
        "from comparisons.execution import local\n"
        "def say(end): end.send('here')\n"
        "if __name__ == '__main__':\n"
        "    context = local._context()\n"
        "    here, there = context.Pipe(duplex=False)\n"
        "    worker = context.Process(target=say, args=(there,))\n"
        "    worker.start()\n"
        "    there.close()\n"
        "    print(here.recv(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "    worker.join()\n"
        "    sys.exit(worker.exitcode)\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["here", "False"]  # the command itself is not deaf


def test_local_executor_isolates_exception(make_run):
    good = make_run()
    bad = replace(good, task="no_such_task")
    ended_runs = {
        o.run: o
        for o in LocalExecutor(ExecutionOptions(jobs=usable_cpus())).execute([bad, good], silent)
    }
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

    ended_runs = list(LocalExecutor(ExecutionOptions(jobs=2)).execute(runs, kill_one))
    (failure,) = [ended for ended in ended_runs if isinstance(ended, Failure)]
    assert failure.error == "the worker process died (killed by SIGKILL; out of memory?)"
    assert sum(isinstance(ended, Result) for ended in ended_runs) == 1


class Call:
    """An option of a run whose unpickling, in the worker, makes a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (Call(os._exit, 0), "exit code 0 before the run was finished"),
        (Call(os._exit, 3), "exit code 3 before the run was finished"),
        (Call(os.abort), "killed by SIGABRT"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_local_executor_isolates_worker_that_ends_early(make_run, jobs, call, cause):
    runs = [make_run(), make_run(seed=1, options=(("call", call),)), make_run(seed=2)]
    ended_runs = {
        ended.run.seed: ended
        for ended in LocalExecutor(ExecutionOptions(jobs=jobs)).execute(runs, silent)
    }
    assert ended_runs[1] == replace(ended_runs[1], error=f"the worker process died ({cause})")
    assert isinstance(ended_runs[1], Failure)
    assert isinstance(ended_runs[0], Result)
    assert isinstance(ended_runs[2], Result)


def test_local_executor_goes_on_where_a_process_cannot_start(make_run, monkeypatch):
    runs = [make_run(seed=seed) for seed in range(2)]
    start = local._Worker.start

    def refuse_first(worker):
        if worker.run == runs[0]:
            raise BlockingIOError(11, "no more processes")
        start(worker)

    monkeypatch.setattr(local._Worker, "start", refuse_first)
    refused, trained = LocalExecutor(ExecutionOptions(jobs=1)).execute(runs, silent)
    assert (refused.run, refused.kind) == (runs[0], "BlockingIOError")
    assert isinstance(trained, Result)


def test_worker_sends_failure_where_result_cannot_be_pickled(make_run, make_result, monkeypatch):
    unsendable = replace(make_result(), machine={"lock": threading.Lock()})
    monkeypatch.setattr(local, "attempt", lambda *arguments: unsendable)
    monkeypatch.setattr(local, "_follow_parent", lambda: None)
    before = signal.getsignal(signal.SIGINT)
    answers, answer = multiprocessing.Pipe(duplex=False)
    try:
        local._work(answer, [0.0, 0.0], make_run(), 1, ExecutionOptions())
    finally:
        signal.signal(signal.SIGINT, before)
    ended = answers.recv()
    assert isinstance(ended, Failure)
    assert "pickle" in ended.error


def test_local_executor_stops_workers_on_close(make_run):
    runs = [make_run(iterations=3), make_run(seed=1, iterations=10**6)]
    ended_runs = LocalExecutor(ExecutionOptions(jobs=2)).execute(runs, silent)
    assert next(ended_runs).run == runs[0]
    ended_runs.close()
    assert not multiprocessing.active_children()


def test_attempt_turns_exception_into_one_line(make_run):
    threads = torch.get_num_threads()
    ended = attempt(make_run("no_such_model"), threads)
    assert isinstance(ended, Failure)
    assert ended.error.startswith("UnknownSchemeError: unknown scheme 'no_such_model'")


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), GeneratorExit(), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()],
)
def test_attempt_turns_whatever_is_raised_into_failure(make_run, monkeypatch, error):
    def train(*arguments):
        raise error

    monkeypatch.setattr(executor, "train", train)
    ended = attempt(make_run(), torch.get_num_threads())
    assert isinstance(ended, Failure)
    assert ended.kind == type(error).__name__
    assert "Traceback" in ended.traceback

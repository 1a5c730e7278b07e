import sys
import types
from dataclasses import replace

import pytest

from comparisons.execution import EXECUTORS, ExecutionOptions, ExecutorError
from comparisons.execution.ray import RayExecutor
from comparisons.records import Failure, Result


def test_ray_executor_names_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r"unitary_zoo\[ray\]") as caught:
        RayExecutor(ExecutionOptions(jobs=1))
    assert "\n" not in str(caught.value)


class RayError(Exception):
    """A worker of the imaginary Ray died."""


def dead():
    raise RayError("the actor died")


class DeadBoard:
    """An actor whose process is gone."""

    take = types.SimpleNamespace(remote=lambda: (dead, ()))


class FakeRay(types.ModuleType):
    """Ray in one process: a task runs when its reference is got, and the board is dead."""

    exceptions = types.SimpleNamespace(RayError=RayError)

    def init(self, **options):
        """Start nothing."""

    shutdown = init

    def remote(self, **options):
        def decorate(function):
            call = types.SimpleNamespace(remote=lambda *arguments: (function, arguments))
            return types.SimpleNamespace(options=lambda **_: call, remote=lambda: DeadBoard)

        return decorate

    def wait(self, references, timeout):
        return references[:1], references[1:]

    def get(self, reference):
        function, arguments = reference
        return function(*arguments)


def test_ray_executor_isolates_whatever_a_worker_ends_with(make_run, make_result, monkeypatch):
    runs = [make_run(seed=seed) for seed in range(3)]
    ray = FakeRay("ray")

    def work(index, run, threads, board):
        if index == 0:
            raise RayError("the worker exited with code 0")
        if index == 1:
            raise ModuleNotFoundError("what was sent cannot be read back here")
        return make_result(seed=run.seed)

    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("comparisons.execution.ray._work_on_ray", work)
    died, unreadable, good = RayExecutor(ExecutionOptions(jobs=1)).execute(
        runs, lambda *update: None
    )
    assert (died.run, died.kind) == (runs[0], "RayError")
    assert (unreadable.run, unreadable.kind) == (runs[1], "ModuleNotFoundError")
    assert good == make_result(seed=2)


def test_ray_executor_trains_runs_and_isolates_exception(make_run):
    pytest.importorskip("ray", reason="Ray is an extra")
    good = make_run(iterations=300)
    bad = replace(good, task="no_such_task")
    news = []
    executor = EXECUTORS["ray"](2)
    ended_runs = {o.run: o for o in executor.execute([bad, good], lambda *u: news.append(u))}
    assert isinstance(ended_runs[good], Result)
    assert isinstance(ended_runs[bad], Failure)
    assert all(run == good for run, _, _ in news)

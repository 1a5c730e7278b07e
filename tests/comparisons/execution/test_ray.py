import sys
from dataclasses import replace

import pytest

from comparisons.execution import EXECUTORS, ExecutorError
from comparisons.execution.ray import RayExecutor
from comparisons.records import Failure, Result


def test_ray_executor_names_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r"unitary_zoo\[ray\]") as caught:
        RayExecutor(1)
    assert "\n" not in str(caught.value)


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

import os

import pytest

from comparisons.benchmarks import engine_overhead
from comparisons.execution import EXECUTORS
from comparisons.execution.executor import failure


def test_engine_overhead_compares_with_trainings_here(run, capsys):
    assert run("engine_overhead", "--jobs", "1") == 0
    assert "8 tiny runs through local" in capsys.readouterr().out


def test_engine_overhead_counts_lost_runs(run, monkeypatch, capsys):
    class Losing:
        def __init__(self, options):
            pass

        def execute(self, runs, on_progress):
            for one in runs[1:]:
                yield failure(one, "lost")

    monkeypatch.setitem(EXECUTORS, "local", Losing)
    assert run("engine_overhead") == 1
    assert "8 of 8 runs gave no result" in capsys.readouterr().out


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no memory is told")
def test_resident_mb_is_that_of_the_process():
    assert 20 < engine_overhead.resident_mb(os.getpid()) < 10_000

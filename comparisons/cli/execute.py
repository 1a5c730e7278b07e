"""Train runs under progress bars, and store each as it ends."""

from __future__ import annotations

import contextlib
import dataclasses

from comparisons.cli import console
from comparisons.execution import Executor
from comparisons.records import Failure, Run
from comparisons.results.store import Store


def execute(executor: Executor, runs: list[Run], store: Store, command: str) -> int:
    """Train the runs, store each result or failure as it comes, and count the failures."""
    failed = 0
    bars = console.ProgressBars(len(runs))
    with bars, contextlib.closing(executor.execute(runs, bars.update)) as ended_runs:
        for ended in ended_runs:
            if isinstance(ended, Failure):
                failed += 1
                store.save_failure(ended)
            else:
                store.save(dataclasses.replace(ended, command=command))
            bars.finish(ended)
    return failed

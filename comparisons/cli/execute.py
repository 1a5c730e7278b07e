"""Runs trained under the eyes of a person, and kept as they end."""

from __future__ import annotations

import contextlib
import dataclasses

from comparisons.cli import console
from comparisons.execution import Executor
from comparisons.records import Failure, Run
from comparisons.results.store import Store


def execute(executor: Executor, runs: list[Run], store: Store, command: str) -> int:
    """Train the runs, keep what comes of each when it comes, and count the failures."""
    failed = 0
    bars = console.ProgressBars(len(runs))
    with bars, contextlib.closing(executor.execute(runs, bars.update)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                failed += 1
                store.save_failure(outcome)
            else:
                store.save(dataclasses.replace(outcome, command=command))
            bars.finish(outcome)
    return failed

"""Train runs in worker processes of this machine, a fresh one for each run."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pebble

from comparisons.execution.executor import (
    POLL_SECONDS,
    EndedRuns,
    OnProgress,
    attempt,
    failure,
    one_line,
)
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus
from unitary_zoo._torch import COMPILER


class LocalExecutor:
    """A fresh process per run, ``jobs`` at a time, the CPUs shared out among them.

    Args:
        jobs: Runs trained at the same time.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.threads = max(1, usable_cpus() // jobs)

    def execute(self, runs: Sequence[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; closing the iterator stops the workers."""
        context = _context()
        # Two numbers for each run, written by its worker and read here. It is plain shared memory
        # because a queue or a lock would stay locked for everyone if its holder were killed.
        counters = context.RawArray("d", 2 * len(runs))
        pool = pebble.ProcessPool(
            max_workers=min(self.jobs, len(runs)),
            max_tasks=1,
            initializer=_start_worker,
            initargs=(counters,),
            context=context,
        )
        seen = [0.0] * len(runs)
        try:
            pending: dict[concurrent.futures.Future[Result | Failure], Run] = {
                pool.schedule(_work, args=(index, run, self.threads)): run
                for index, run in enumerate(runs)
            }
            while pending:
                done, _ = concurrent.futures.wait(
                    pending, POLL_SECONDS, concurrent.futures.FIRST_COMPLETED
                )
                for index, run in enumerate(runs):
                    iteration, loss = counters[2 * index], counters[2 * index + 1]
                    if iteration != seen[index]:
                        seen[index] = iteration
                        on_progress(run, int(iteration), loss)
                for future in done:
                    yield _ended(pending.pop(future), future)
        finally:
            pool.stop()
            pool.join()


def _context() -> BaseContext:
    """A context that forks from a clean server with torch loaded; fresh processes without fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_preload())
    return context


def _preload() -> list[str]:
    """Modules that the server imports once, so that no worker spends seconds on them again."""
    # Every optimizer imports the compiler, and the embedded digits come with scikit-learn.
    modules = [COMPILER, "sklearn.datasets"]
    # The server imports from its working directory first, where another copy of this may lie.
    here = Path(__file__).resolve().parents[2]
    return [__name__, *modules] if Path.cwd().resolve() == here else modules


def _ended(run: Run, future: concurrent.futures.Future[Result | Failure]) -> Result | Failure:
    try:
        return future.result()
    except pebble.ProcessExpired as error:
        return failure(run, f"the worker process died ({_death(error.exitcode)})")
    except Exception as error:
        # The pool itself failed for this run, for instance by a result that cannot be pickled.
        return failure(run, one_line(error), traceback.format_exc(), type(error).__name__)


def _death(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exit code {exitcode}"
    names = {entry.value: entry.name for entry in signal.Signals}
    hint = "; out of memory?" if names.get(-exitcode) == "SIGKILL" else ""
    return f"killed by {names.get(-exitcode, f'signal {-exitcode}')}{hint}"


# The counters of all runs, which a worker process gets when it starts.
_counters: Any = None


def _start_worker(counters: Any) -> None:
    global _counters
    _counters = counters
    parent = multiprocessing.parent_process()
    assert parent is not None  # this function only runs in workers

    def follow_parent() -> None:
        # A killed parent cannot stop its workers, which would go on training for nobody.
        parent.join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _work(index: int, run: Run, threads: int) -> Result | Failure:
    def progress(iteration: int, loss: float) -> None:
        _counters[2 * index + 1] = loss
        _counters[2 * index] = iteration

    return attempt(run, threads, progress)

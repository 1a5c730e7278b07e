"""Train runs in worker processes of this machine, a fresh one for each run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any

from comparisons.execution.executor import (
    POLL_SECONDS,
    EndedRuns,
    OnProgress,
    attempt,
    failure,
    failure_by,
)
from comparisons.execution.options import ExecutionOptions
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus
from unitary_zoo._torch import COMPILER

STOP_SECONDS = 3.0
"""Time that a worker has to end by itself, and again after it was asked to, before it is killed."""


class LocalExecutor:
    """A fresh process per run, ``jobs`` at a time, the CPUs shared out among them."""

    def __init__(self, options: ExecutionOptions) -> None:
        self.options = options
        self.jobs = options.jobs or usable_cpus()
        self.threads = max(1, usable_cpus() // self.jobs)

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs, each taken when it can start; closing the iterator stops the workers."""
        context = _context()
        waiting = iter(runs)
        workers: list[_Worker] = []
        try:
            while True:
                while len(workers) < self.jobs and (run := next(waiting, None)) is not None:
                    try:
                        worker = _Worker(context, run, self.threads, self.options)
                        workers.append(worker)  # before it starts: Ctrl-C may come at any time
                        worker.start()
                    except (OSError, EOFError) as error:  # no memory or no process is left
                        workers = [worker for worker in workers if worker.run is not run]
                        yield failure_by(error, run)
                if not workers:
                    break
                connection.wait([end for worker in workers for end in worker.ends], POLL_SECONDS)
                for worker in list(workers):
                    if news := worker.news():
                        on_progress(worker.run, *news)
                    if connection.wait(worker.ends, 0):
                        ended = worker.ended()
                        workers.remove(worker)
                        yield ended
        finally:
            for worker in workers:
                worker.stop()


class _Worker:
    """A process that trains one run and sends what came of it."""

    def __init__(
        self,
        context: ForkServerContext | SpawnContext,
        run: Run,
        threads: int,
        options: ExecutionOptions,
    ) -> None:
        self.run = run
        # Iteration and loss, written there and read here. It is plain shared memory because a
        # queue or a lock would stay locked if its holder were killed.
        self._counters = context.RawArray("d", 2)
        self._seen = 0
        self._answers, self._answer = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_work,
            args=(self._answer, self._counters, run, threads, options),
            name=str(run),
        )

    def start(self) -> None:
        """Start the process."""
        with self._answer:  # closed here at once, so that the pipe ends when the process does
            self._process.start()

    @property
    def ends(self) -> tuple[Connection, int]:
        """What to wait for: one of them is ready once the run or its process ended."""
        # Not the pipe alone: a process forked by the run may outlive it and hold the pipe open.
        return self._answers, self._process.sentinel

    def news(self) -> tuple[int, float] | None:
        """Iterations done and the last training loss; None if there were none since last time."""
        iteration, loss = int(self._counters[0]), self._counters[1]
        if iteration == self._seen:
            return None
        self._seen = iteration
        return iteration, loss

    def ended(self) -> Result | Failure:
        """The result or failure of a run that has ended."""
        try:
            # Whatever its exit code: a process that sent nothing has not finished its run.
            ended: Result | Failure | None = self._answers.recv() if self._answers.poll() else None
        except (EOFError, OSError):
            ended = None
        except Exception as error:
            # What was sent cannot be read back here.
            ended = failure_by(error, self.run)
        self._process.join(STOP_SECONDS)  # for its own exit code
        self.stop()
        if ended is None:
            ended = failure(self.run, f"the worker process died ({_death(self._process.exitcode)})")
        return ended

    def stop(self) -> None:
        """End the process if it has not ended."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._answers.close()


def _context() -> ForkServerContext | SpawnContext:
    """A context that forks from a clean server with torch loaded; fresh processes without fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_preload())
    _start_server()
    return context


def _start_server() -> None:
    """Start the server with Ctrl-C blocked, which it and its workers inherit.

    The terminal sends Ctrl-C to all processes; the command alone decides what comes of it. A worker
    would print a traceback if it were interrupted before it can ignore the signal.
    """
    with contextlib.suppress(OSError):
        resource_tracker.ensure_running()  # it would unblock the signal if the server started it
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with contextlib.suppress(OSError):  # the first worker tries again, and reports it
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _preload() -> list[str]:
    """Modules that the server imports once, so that no worker spends seconds on them again."""
    # Every optimizer imports the compiler, and the embedded digits come with scikit-learn.
    modules = [COMPILER, "sklearn.datasets"]
    # The server imports from its working directory first, where another copy of this may lie.
    here = Path(__file__).resolve().parents[2]
    return [__name__, *modules] if Path.cwd().resolve() == here else modules


def _death(exitcode: int | None) -> str:
    if exitcode is None:
        return "its exit code is not known"
    if exitcode >= 0:
        return f"exit code {exitcode} before the run was finished"
    names = {entry.value: entry.name for entry in signal.Signals}
    hint = "; out of memory?" if names.get(-exitcode) == "SIGKILL" else ""
    return f"killed by {names.get(-exitcode, f'signal {-exitcode}')}{hint}"


def _work(
    answer: Connection, counters: Any, run: Run, threads: int, options: ExecutionOptions
) -> None:
    """Train the run and send what came of it; the whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where no server has blocked it
    _follow_parent()

    def progress(iteration: int, loss: float) -> None:
        counters[1] = loss
        counters[0] = iteration

    try:
        answer.send(attempt(run, threads, progress, options))
    except Exception as error:
        # Nothing was sent, for instance of a result that cannot be pickled.
        answer.send(failure_by(error, run))


def _follow_parent() -> None:
    """End this process when its parent ends: it would go on training for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this function only runs in workers

    def follow() -> None:
        parent.join()  # a killed parent cannot stop its workers
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()

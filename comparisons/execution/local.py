"""Where runs are trained: worker processes of this machine, or a Ray cluster.

An executor takes runs and yields a `Result` or a `Failure` for each, as they end. A run that
raises, crashes or is killed is a failure of its own and of no other.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Protocol

import pebble
import torch

import unitary_zoo
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus
from comparisons.training.trainer import Progress, train

POLL_SECONDS = 0.2

OnProgress = Callable[[Run, int, float], None]
"""Called with (run, iterations done, last training loss), a few times a second at most."""

Outcomes = Generator[Result | Failure, None, None]


class ExecutorError(RuntimeError):
    """An executor cannot be used here; the message says what is missing."""


class Executor(Protocol):
    """What trains runs."""

    def execute(self, runs: Sequence[Run], on_progress: OnProgress) -> Outcomes:
        """Train the runs; yield each one's outcome when it ends, in any order."""


def attempt(run: Run, threads: int, progress: Progress | None = None) -> Result | Failure:
    """Train one run with that many CPU threads; an exception becomes a `Failure`."""
    torch.set_num_threads(threads)
    try:
        return train(run, progress)
    except Exception as error:
        # Whatever a scheme raises is the outcome of its run; the others must go on.
        return failure(run, _one_line(error), traceback.format_exc())


def failure(run: Run, error: str, trace: str = "") -> Failure:
    """A failure that happened now."""
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Failure(run, error, trace, date)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


class LocalExecutor:
    """A fresh process per run, ``jobs`` at a time, the CPUs shared out among them.

    Args:
        jobs: Runs trained at the same time.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.threads = max(1, usable_cpus() // jobs)

    def execute(self, runs: Sequence[Run], on_progress: OnProgress) -> Outcomes:
        """Train the runs; closing the iterator stops the workers."""
        context = _context()
        # Two numbers a run, written by its worker and read here. Plain shared memory: a queue or a
        # lock would stay locked for everyone if its holder were killed.
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
                    yield _outcome(pending.pop(future), future)
        finally:
            pool.stop()
            pool.join()


def _context() -> BaseContext:
    """Processes forked from a clean server that has torch loaded; fresh ones without fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_preload())
    return context


def _preload() -> list[str]:
    """What the server imports once, so that no worker spends seconds on it again."""
    # Every optimizer imports torch._dynamo, and the embedded digits come with scikit-learn.
    modules = ["torch._dynamo", "sklearn.datasets"]
    # The server looks for modules where it was started: elsewhere another copy of this may lie.
    here = Path(__file__).resolve().parents[2]
    return [__name__, *modules] if Path.cwd().resolve() == here else modules


def _outcome(run: Run, future: concurrent.futures.Future[Result | Failure]) -> Result | Failure:
    try:
        return future.result()
    except pebble.ProcessExpired as error:
        return failure(run, f"the worker process died ({_death(error.exitcode)})")
    except Exception as error:
        # The pool itself failed for this run, for instance by a result that cannot be pickled.
        return failure(run, _one_line(error), traceback.format_exc())


def _death(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exit code {exitcode}"
    names = {entry.value: entry.name for entry in signal.Signals}
    hint = "; out of memory?" if names.get(-exitcode) == "SIGKILL" else ""
    return f"killed by {names.get(-exitcode, f'signal {-exitcode}')}{hint}"


# What a worker process was given when it started.
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


class RayExecutor:
    """One Ray task per run, on the cluster that Ray finds or on this machine.

    The library and this package are sent to the workers, which need the rest (torch) installed.

    Args:
        jobs: Runs trained at the same time on a machine like this one: each run asks the cluster
            for its share of this machine's CPUs (and for one GPU if it trains on CUDA).

    Raises:
        ExecutorError: Ray is not installed.
    """

    def __init__(self, jobs: int) -> None:
        try:
            import ray  # an extra that few need and that is large
        except ImportError:
            raise ExecutorError(
                "the ray executor needs Ray, which is not installed; install the extra "
                "unitary_zoo[ray]"
            ) from None
        self._ray = ray
        self.threads = max(1, usable_cpus() // jobs)

    def execute(self, runs: Sequence[Run], on_progress: OnProgress) -> Outcomes:
        """Train the runs; closing the iterator cancels what has not ended."""
        ray = self._ray
        packages = [Path(unitary_zoo.__file__).parent, Path(__file__).parents[1]]
        ray.init(
            ignore_reinit_error=True,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"py_modules": [str(path) for path in packages]},
        )
        try:
            board = ray.remote(num_cpus=0)(_Board).remote()
            # A process of its own for each run, as locally; a failed run is not tried again here.
            task = ray.remote(num_cpus=self.threads, max_calls=1, max_retries=0)(_work_on_ray)
            pending = {
                task.options(num_gpus=int(run.device.startswith("cuda"))).remote(
                    index, run, self.threads, board
                ): run
                for index, run in enumerate(runs)
            }
            while pending:
                done, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
                for index, (iteration, loss) in ray.get(board.take.remote()).items():
                    on_progress(runs[index], iteration, loss)
                for reference in done:
                    run = pending.pop(reference)
                    try:
                        yield ray.get(reference)
                    except ray.exceptions.RayError as error:
                        yield failure(run, _one_line(error), traceback.format_exc())
        finally:
            ray.shutdown()


class _Board:
    """The Ray actor on which runs note how far they are."""

    def __init__(self) -> None:
        self.news: dict[int, tuple[int, float]] = {}

    def note(self, index: int, iteration: int, loss: float) -> None:
        self.news[index] = (iteration, loss)

    def take(self) -> dict[int, tuple[int, float]]:
        news, self.news = self.news, {}
        return news


def _work_on_ray(index: int, run: Run, threads: int, board: Any) -> Result | Failure:
    last = time.monotonic()

    def progress(iteration: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last > POLL_SECONDS:  # every note is a message over the network
            last = time.monotonic()
            board.note.remote(index, iteration, loss)

    return attempt(run, threads, progress)


EXECUTORS: dict[str, Callable[[int], Executor]] = {"local": LocalExecutor, "ray": RayExecutor}
"""By the names of ``--executor``: builders that take the number of jobs."""

"""Train runs as tasks of a Ray cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import unitary_zoo
from comparisons.execution.executor import (
    POLL_SECONDS,
    EndedRuns,
    ExecutorError,
    OnProgress,
    attempt,
    failure_by,
)
from comparisons.execution.options import ExecutionOptions
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus


class RayExecutor:
    """One Ray task per run, on the cluster that Ray finds or on this machine.

    The library and this package are sent to the workers, which need the rest (torch) installed.
    Each run asks the cluster for its share of this machine's CPUs, which ``jobs`` runs at a time
    share (and for one GPU if it trains on CUDA).

    Raises:
        ExecutorError: Ray is not installed.
    """

    def __init__(self, options: ExecutionOptions) -> None:
        try:
            import ray  # an extra that few need and that is large
        except ImportError:
            raise ExecutorError(
                "the ray executor needs Ray, which is not installed; install the extra "
                "unitary_zoo[ray]"
            ) from None
        self._ray = ray
        self.options = options
        self.threads = max(1, usable_cpus() // (options.jobs or usable_cpus()))

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; closing the iterator cancels what has not ended."""
        ray, runs = self._ray, list(runs)
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
                for index, (iteration, loss) in self._news(board).items():
                    on_progress(runs[index], iteration, loss)
                for reference in done:
                    run = pending.pop(reference)
                    try:
                        yield ray.get(reference)
                    except Exception as error:
                        # A worker that died, with any exit code, or what cannot be read back here.
                        yield failure_by(error, run)
        finally:
            ray.shutdown()

    def _news(self, board: Any) -> dict[int, tuple[int, float]]:
        try:
            news: dict[int, tuple[int, float]] = self._ray.get(board.take.remote())
        except self._ray.exceptions.RayError:
            return {}  # the board's process died: the runs go on without bars
        return news


class _Board:
    """The Ray actor to which runs report their progress."""

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

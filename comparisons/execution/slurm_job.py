"""What a job of SLURM does on its node."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from comparisons.execution.local import LocalExecutor
from comparisons.execution.options import ExecutionOptions
from comparisons.execution.spool import Spool
from comparisons.records import Failure, Result, Run

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

PROGRESS_SECONDS = 5.0
"""Time between two files of progress, which a file server has to bear from every job."""

GRACE_SECONDS = 60.0
"""Time that the workers have to save their checkpoints; SLURM warns 90 seconds before its limit."""

SAVE_SECONDS = 600.0
"""Time in which a folder that takes no files, because it is full say, may take them again."""
SAVE_POLL_SECONDS = 10.0

SIGNAL_SECONDS = 1.0
"""Time in which a signal that was sent to all processes of a job has reached all of them."""


@dataclass(frozen=True)
class Job:
    """Runs that one job trains; submitit calls it on the node, and again after an interruption.

    The runs are trained by the local executor, each in a process of its own. Those that have
    ended are left out, so that a job that is started again goes on where it was.

    Attributes:
        name: Name of the job in the spool.
        runs: The runs, in order.
        spool: Where their ends are saved.
        options: How they are trained; ``jobs`` of them at the same time.
    """

    name: str
    runs: tuple[Run, ...]
    spool: Spool
    options: ExecutionOptions

    def __call__(self) -> None:
        """Train what has not ended."""
        news: dict[str, tuple[int, float]] = {}
        self.spool.start(self.name)
        last = -PROGRESS_SECONDS  # the first news is saved at once

        def on_progress(run: Run, iteration: int, loss: float) -> None:
            nonlocal last
            news[run.id] = (iteration, loss)
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self.spool.note(self.name, news)

        done = self.spool.done()
        left = [run for run in self.runs if run.id not in done]
        unsaved: list[Result | Failure] = []
        executor = LocalExecutor(self.options, keep_choice=False)
        with (
            _signals(self._stop),
            contextlib.closing(executor.execute(left, on_progress)) as ended_runs,
        ):
            for ended in ended_runs:
                if isinstance(ended, Failure):
                    time.sleep(SIGNAL_SECONDS)  # a worker that was told to end has not failed
                unsaved = self._saved([*unsaved, ended])
                news.pop(ended.run.id, None)
            until = time.monotonic() + SAVE_SECONDS
            while unsaved and time.monotonic() < until:
                time.sleep(SAVE_POLL_SECONDS)
                unsaved = self._saved(unsaved)
            for ended in unsaved:
                self.spool.save(ended)  # the error ends the job, whose log then shows it

    def _saved(self, ends: Sequence[Result | Failure]) -> list[Result | Failure]:
        """Save what came of runs; return what could not be saved now."""
        refused = []
        for ended in ends:
            try:
                self.spool.save(ended)
            except OSError:
                refused.append(ended)
        return refused

    def checkpoint(self) -> DelayedSubmission:
        """End the workers, which save their checkpoints, and return what is to be started again.

        submitit calls it at the signal of preemption.
        """
        from submitit.helpers import DelayedSubmission

        _end_workers()
        return DelayedSubmission(self)

    def _stop(self, number: int, frame: Any) -> NoReturn:
        """End at SIGTERM; the command then knows that it was no fault of the runs."""
        self.spool.stop(self.name)
        _end_workers()
        sys.exit(128 + number)


def _end_workers() -> None:
    """Ask the workers to save their checkpoints and end, and wait until they have."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    until = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))


@contextlib.contextmanager
def _signals(stop: Callable[[int, Any], NoReturn]) -> Iterator[None]:
    """Take the signals of SLURM, which it sends to every process of a job, on behalf of all.

    At SIGTERM, which precedes the end of a job, ``stop`` is called. The signal of preemption, for
    which submitit has a handler, would kill a worker: it is blocked in this thread, from which the
    workers inherit that, and received by another.
    """
    preemption = [signal.SIGUSR2]  # submitit's choice
    over = threading.Event()

    def receive() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, preemption)
        over.wait()

    term = signal.signal(signal.SIGTERM, stop)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, preemption)
    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    try:
        yield
    finally:
        over.set()
        receiver.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGTERM, term)

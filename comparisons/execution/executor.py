"""The protocol of executors, and the attempt at a run that each makes in its workers."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from comparisons import plugins
from comparisons.execution.options import DEFAULT, ExecutionOptions
from comparisons.records import Failure, Result, Run
from comparisons.training.replicas import ALONE, Replicas
from comparisons.training.trainer import Progress, train

POLL_SECONDS = 0.2
"""Time between two readings of the workers' progress."""

START_SECONDS = 600.0
"""Least time that a run has before its first sign of life: it imports plug-ins and reads data."""

OnProgress = Callable[[Run, int, float], None]
"""Called with (run, iterations done, last training loss), a few times a second at most."""

EndedRuns = Generator[Result | Failure, None, None]
"""The result or the failure of each run, as it ends."""


@dataclass(frozen=True)
class Division:
    """How runs share a machine.

    Attributes:
        jobs: Runs at a time.
        threads: CPU threads of each run by its id.
        reason: One line on what was chosen and why; "" if there was nothing to choose.
    """

    jobs: int
    threads: dict[str, int]
    reason: str = ""


class ExecutorError(RuntimeError):
    """An executor cannot be used here; the message says what is missing."""


class Executor(Protocol):
    """An object that trains runs."""

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; yield the result or failure of each as it ends, in any order.

        To take a run from the iterable is to claim it: an executor that takes the next one when it
        can start it leaves the others to further commands on the same folder.
        """


@runtime_checkable
class Divides(Protocol):
    """An executor that chooses how runs share the machine."""

    def divide(self, runs: Sequence[Run]) -> Division:
        """Choose for these runs, if need be by a measurement; :meth:`execute` does as it says."""


def attempt(
    run: Run,
    threads: int,
    progress: Progress | None = None,
    options: ExecutionOptions = DEFAULT,
    replicas: Replicas = ALONE,
) -> Result | Failure:
    """Train one run with that many CPU threads; whatever is raised becomes a `Failure`.

    With ``replicas``, this process is one of several that train the run together.

    It is called where no Ctrl-C of the user arrives, or by an executor that knows what a
    ``KeyboardInterrupt`` means there. A ``SystemExit`` is the run's own.
    """
    torch.set_num_threads(threads)
    try:
        plugins.load(options.plugins)
        return train(run, progress, options.artifacts, replicas)
    except BaseException as error:
        # Whatever a scheme raises ends its own run; the others must go on.
        return failure_by(error, run)


def failure(run: Run, error: str, trace: str = "", kind: str = "") -> Failure:
    """The record of a failure that happened now."""
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Failure(run, error, trace, date, kind)


def failure_by(error: BaseException, run: Run) -> Failure:
    """The record of the failure of a run by an exception: its type, first line and traceback."""
    kind = type(error).__name__
    try:
        line = f"{kind}: {error}".splitlines()[0]
    except Exception as unreadable:
        line = f"{kind}: its message raises {type(unreadable).__name__}"
    return failure(run, line, "".join(traceback.format_exception(error)), kind)

"""The local executor: which run starts when, and what comes of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, SpawnContext

from comparisons.execution import faults
from comparisons.execution.executor import (
    POLL_SECONDS,
    Division,
    EndedRuns,
    OnProgress,
    failure_by,
)
from comparisons.execution.local import trial
from comparisons.execution.local.gpus import GpuSlots
from comparisons.execution.local.memory import available_mb
from comparisons.execution.local.server import worker_context
from comparisons.execution.local.shares import KeptShares, Share
from comparisons.execution.local.worker import Worker, stop_all
from comparisons.execution.options import ExecutionOptions
from comparisons.records import Failure, Result, Run
from comparisons.training.machine import usable_cpus

WATCH_SECONDS = 0.05
"""Time between two looks at the workers' memory, in which one takes some 100 MB at most."""
SHARED = 0.9
"""The part of the available memory that runs may take; this process needs some of it."""


class LocalExecutor:
    """A fresh process per run, several at a time, the CPUs, GPUs and memory shared out among them.

    A run that died, hung or took too much memory is tried again as often as the options say; for
    want of memory, when all others have ended. A run that takes more than its share of the memory
    is ended, where the platform tells how much there is, before the system ends another one.

    Args:
        options: How runs are trained.
        keep_choice: Whether the folder of the comparison keeps how runs share the machine.
    """

    def __init__(self, options: ExecutionOptions, keep_choice: bool = True) -> None:
        self.options = options
        self._kept_in = options.artifacts.folder if keep_choice else None
        self._cpus = usable_cpus()
        self._chosen: dict[str, Share] = {}
        self._measured: Share | None = None
        self._division: Division | None = None

    def divide(self, runs: Sequence[Run]) -> Division:
        """Choose how the runs share this machine, by a measurement where that is asked for.

        Runs for which the folder of the comparison keeps a choice are trained as it says.
        """
        self._division = self._divided(runs) if runs else Division(1, {})
        return self._division

    def _divided(self, runs: Sequence[Run]) -> Division:
        if _on_gpu(runs):  # it follows from the GPUs, which may be others by the next time
            count = min(len(runs), max(1, GpuSlots(self.options.gpu_slots).count))
            return Division(count, {run.id: max(1, self._cpus // count) for run in runs})
        kept = KeptShares(self._kept_in, self.options.jobs, self._cpus)
        found = {run.id: self._chosen[run.id] for run in runs if run.id in self._chosen}
        found = kept.find(runs) | found
        new = [run for run in runs if run.id not in found]
        reason = ""
        if new:
            share, reason = self._share(new)
            kept.add(new, share)
            self._chosen |= {run.id: share for run in new}  # where it cannot be kept
            found |= {run.id: share for run in new}
        elif self.options.jobs is None:
            reason = f"{next(iter(found.values()))}, as chosen before for these runs"
        jobs = min(len(runs), max(share.jobs for share in found.values()))
        return Division(jobs, {name: share.threads for name, share in found.items()}, reason)

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; closing the iterator stops the workers, which save checkpoints.

        Args:
            runs: A list, or any of the runs that :meth:`divide` was called with last, of which the
                next one is taken when there is room for it.
            on_progress: Told how far each run is.
        """
        division = self._division
        if division is None or isinstance(runs, Sequence):
            runs = list(runs)
            division = self.divide(runs)
        context = worker_context()
        attempts = faults.Attempts(self.options.retries)
        places = _Places(division, self._cpus, GpuSlots(self.options.gpu_slots))
        waiting, alone = _Waiting(runs), deque[Run]()
        workers = places.workers
        told = 0.0
        try:
            while True:
                while run := places.next_run(waiting, alone):
                    try:
                        places.start(context, run, self.options)
                    except (OSError, EOFError) as error:  # no memory or no process is left
                        yield attempts.counted(failure_by(error, run))
                if not workers:
                    return
                connection.wait([end for worker in workers for end in worker.ends], WATCH_SECONDS)
                tell = time.monotonic() - told > POLL_SECONDS
                told = time.monotonic() if tell else told
                for worker in list(workers):
                    if tell and (news := worker.news()):
                        on_progress(worker.run, *news)
                    if not connection.wait(worker.ends, 0):
                        worker.watch()
                        continue
                    ended = places.end(worker)
                    if isinstance(ended, Result):
                        yield ended
                        continue
                    if worker.was_stopped or ended.kind == faults.STOPPED:
                        # By a signal to all, perhaps: then this process is about to end as well.
                        time.sleep(POLL_SECONDS)
                    again = attempts.again(ended)
                    short = ended.kind in faults.NO_MEMORY
                    if again and (short or worker.was_killed) and not places.had_all():
                        alone.append(ended.run)
                    elif again and not short:
                        waiting.append(ended.run)
                    else:
                        yield attempts.counted(ended)
        finally:
            stop_all(workers)

    def _share(self, runs: Sequence[Run]) -> tuple[Share, str]:
        """The share of each run of a list, and why it is that one."""
        count, asked = len(runs), self.options.jobs
        simple = min(count, asked or self._cpus)
        share = Share(simple, max(1, self._cpus // simple))
        if asked is not None or self._cpus == 1:
            return share, ""
        if self._measured is not None and self._measured.jobs <= count:
            return self._measured, f"{self._measured}, as measured before"
        if trial.is_short(runs, self._cpus):
            return share, f"{share}; the runs are too short to measure what is best"
        context, run = worker_context(), trial.dearest(runs)
        fastest, figures = trial.fastest(
            runs,
            self._cpus,
            lambda s: trial.steps_per_second(context, run, s, self.options, _share_mb(s.jobs)),
        )
        if fastest is None:
            return share, f"{share}; nothing could be measured on {run}"
        self._measured = fastest
        return fastest, f"{fastest}, as measured on {run} (runs x threads: {figures} for all runs)"


class _Waiting:
    """The runs that wait, each taken from its source when there may be room for it."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._source = iter(runs)
        self._ready: deque[Run] = deque()

    def first(self) -> Run | None:
        """The run that is the next; None if no more wait."""
        if not self._ready and (run := next(self._source, None)) is not None:
            self._ready.append(run)
        return self._ready[0] if self._ready else None

    def take(self) -> Run | None:
        """Take the first run off the list."""
        return self._ready.popleft() if self.first() else None

    def append(self, run: Run) -> None:
        """Add a run that is to be tried again."""
        self._ready.append(run)


class _Places:
    """The workers, and the places that are free for more.

    Attributes:
        workers: Those that are at work.
    """

    def __init__(self, division: Division, cpus: int, gpus: GpuSlots) -> None:
        self.workers: list[Worker] = []
        self._division, self._gpus = division, gpus
        self._has_gpus = gpus.count > 0
        self._taken: dict[Worker, str] = {}
        self._threads = max(cpus, division.jobs)
        self._share_mb = _share_mb(division.jobs)
        self._alone = False

    def next_run(self, waiting: _Waiting, alone: deque[Run]) -> Run | None:
        """Take the next run if there is room for it now."""
        if not self.workers:
            run = waiting.take()
            self._alone = run is None and bool(alone)
            return alone.popleft() if self._alone else run
        if self._alone or len(self.workers) >= self._division.jobs:
            return None
        run = waiting.first()
        return waiting.take() if run is not None and self._has_room(run) else None

    def _has_room(self, run: Run) -> bool:
        """Whether the threads and the GPU that a run needs are free."""
        free = self._threads - sum(worker.threads for worker in self.workers)
        on_gpu = self._has_gpus and _on_gpu([run])
        if on_gpu and self._gpus.free(run.device) is None:
            return False
        return self._division.threads[run.id] <= free

    def start(
        self, context: ForkServerContext | SpawnContext, run: Run, options: ExecutionOptions
    ) -> None:
        """Start a worker."""
        gpu = share = None
        if not _on_gpu([run]):
            share = _share_mb(1) if self._alone else self._share_mb
        elif self._has_gpus:
            gpu = self._gpus.take(run.device)
        # A worker that sees one GPU only would not find "cuda:1".
        seen = gpu if run.device == "cuda" else None
        threads = self._division.threads[run.id]
        worker = Worker(context, run, threads, options, seen, share)
        self.workers.append(worker)  # before it starts: Ctrl-C may come at any time
        if gpu is not None:
            self._taken[worker] = gpu
        try:
            worker.start()
        except (OSError, EOFError):
            self._remove(worker)
            worker.close()
            raise

    def end(self, worker: Worker) -> Result | Failure:
        """Free the place of a worker that has ended."""
        ended = worker.ended()
        self._remove(worker)
        return ended

    def had_all(self) -> bool:
        """Whether a run has all of the memory, and so would not have more another time."""
        return self._alone or self._division.jobs == 1

    def _remove(self, worker: Worker) -> None:
        self.workers.remove(worker)
        if worker in self._taken:
            self._gpus.give_back(self._taken.pop(worker))


def _on_gpu(runs: Sequence[Run]) -> bool:
    return any(run.device.startswith("cuda") for run in runs)


def _share_mb(jobs: int) -> float | None:
    """The memory of one of several runs."""
    available = available_mb()
    return None if available is None else SHARED * available / jobs

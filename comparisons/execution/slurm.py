"""Train runs in jobs of SLURM, on a cluster of which every machine sees the folder of results."""

from __future__ import annotations

import datetime
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence

from comparisons.execution.executor import (
    POLL_SECONDS,
    EndedRuns,
    ExecutorError,
    OnProgress,
    failure,
    failure_by,
)
from comparisons.execution.faults import DIED, LOST, Attempts
from comparisons.execution.options import ExecutionOptions
from comparisons.execution.slurm_options import concurrent_runs
from comparisons.execution.slurm_queue import ENDED, QueuedJob, RefusedError, SlurmQueue, arrays
from comparisons.execution.spool import Spool, spools
from comparisons.records import Failure, Result, Run

LARGEST_ARRAY = 1000
"""Most jobs of a command, by SLURM's usual limit of an array; then each trains more runs."""

CANCELLED = "JobCancelled"
"""The kind of failure of runs whose job was cancelled: somebody wanted it, so none is retried."""

_NODE_LOST = frozenset({"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "REVOKED"})


class SlurmExecutor:
    """One array of jobs for all runs, each job with a few of them.

    What came of a run, and its progress, reach the command through files. A job that is preempted
    or at its time limit is queued again and goes on from the checkpoints of its runs. The runs of
    one that died are submitted again, which counts as an attempt at the one that was at work. If
    the iterator is closed, the jobs are cancelled. If the command is killed they go on, and the
    next command waits for those that train its runs.

    Raises:
        ExecutorError: submitit or SLURM is missing, there is no folder, or no such option.
    """

    def __init__(self, options: ExecutionOptions) -> None:
        if options.artifacts.folder is None:
            raise ExecutorError("the slurm executor needs a folder of results that all nodes see")
        self.options = options
        self._place = options.artifacts.folder / "slurm"
        self._queue = SlurmQueue(options)
        self._poll = 2.0 if self._queue.real else POLL_SECONDS
        self._ask_every = 15.0 if self._queue.real else POLL_SECONDS
        # A file server may show a new file to another machine only after half a minute.
        self._settle = 30.0 if self._queue.real else 0.0

    def execute(self, runs: Iterable[Run], on_progress: OnProgress) -> EndedRuns:
        """Train the runs; closing the iterator cancels the jobs.

        Raises:
            ExecutorError: SLURM takes no jobs.
        """
        attempts = Attempts(self.options.retries)
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
        own, earlier = Spool(self._place / f"{date}-{os.getpid()}"), spools(self._place)
        missing = {run.id: run for run in runs}
        jobs: list[QueuedJob] = []
        try:
            for spool in earlier:
                yield from _left_behind(spool, missing)
            jobs = self._adopted(earlier, missing)
            jobs += self._queue.submit(own, self._groups(list(missing.values())))
            if jobs:
                numbers = ", ".join(arrays(jobs))
                _say(f"jobs in the queue: {len(jobs)} ({numbers}); Ctrl-C cancels them")
            asked = time.monotonic()
            while jobs:
                yield from _ended_runs(jobs)
                jobs = [job for job in jobs if job.waiting]
                _report(jobs, on_progress)
                if time.monotonic() - asked >= self._ask_every:
                    asked = time.monotonic()
                    again: list[tuple[Run, ...]] = []
                    for job, state in self._gone(jobs):
                        jobs.remove(job)
                        failed, groups = self._lost(job, state, attempts)
                        yield from failed
                        again += groups
                    try:
                        jobs += self._queue.submit(own, again)
                    except RefusedError as error:
                        yield from (failure_by(error, run) for group in again for run in group)
                time.sleep(self._poll if jobs else 0)
            self._close(own, earlier)
        finally:
            if jobs:
                self._queue.cancel(jobs)
                _say(f"jobs cancelled: {len(jobs)}; the checkpoints of their runs are kept")

    def _groups(self, runs: Sequence[Run]) -> list[tuple[Run, ...]]:
        """The runs of each job."""
        size = max(
            self.options.slurm.runs_per_job,
            concurrent_runs(self.options, runs),
            math.ceil(len(runs) / LARGEST_ARRAY),
        )
        return [tuple(runs[i : i + size]) for i in range(0, len(runs), size)]

    def _adopted(self, earlier: Sequence[Spool], missing: dict[str, Run]) -> list[QueuedJob]:
        """The jobs of killed commands that are still in the queue; their runs leave ``missing``."""
        states = self._queue.states() if earlier else {}
        jobs = []
        for spool in earlier:
            done = spool.done()
            for name, (number, ids) in spool.jobs().items():
                runs = {id: missing[id] for id in ids if id in missing and id not in done}
                alive = states is None or states.get(number, "CANCELLED") not in ENDED
                if runs and alive:
                    jobs.append(self._queue.earlier_job(name, number, spool, runs))
                    for id in runs:
                        del missing[id]
        if jobs:
            _say(f"jobs of an earlier command that are still in the queue: {len(jobs)}")
        return jobs

    def _gone(self, jobs: Sequence[QueuedJob]) -> list[tuple[QueuedJob, str]]:
        """The jobs that ended before all their runs did, with their states."""
        states = self._queue.states(jobs)
        if states is None:
            return []
        gone = []
        for job in jobs:
            state = states.get(job.number)
            if state is not None and state not in ENDED:
                job.gone_since = None
                continue
            job.gone_since = job.gone_since or time.monotonic()
            settled = time.monotonic() - job.gone_since >= self._settle
            if settled and not job.spool.ended() & job.waiting.keys():
                gone.append((job, state or "UNKNOWN"))
        return gone

    def _lost(
        self, job: QueuedJob, state: str, attempts: Attempts
    ) -> tuple[list[Failure], list[tuple[Run, ...]]]:
        """The failures by a job that ended too early, and the groups of runs to submit again."""
        waiting = list(job.waiting.values())
        # A job that ends in order within its time of grace is FAILED to SLURM, too.
        stopped = state != "CANCELLED" and job.spool.was_stopped(job.name)
        if stopped or state == "PREEMPTED":  # it costs no attempt, as often as it may happen
            return [], [tuple(waiting)]
        kind = LOST if state in _NODE_LOST else CANCELLED if state == "CANCELLED" else DIED
        tried = waiting
        if kind != CANCELLED and job.spool.progress(job.name) is not None:
            tried = waiting[: concurrent_runs(self.options, waiting)]  # a job takes them in order
        error = f"job {job.number} ended as {state} before the run did; logs: {job.spool.logs}"
        trace = (job.handle.stderr() or "")[-5000:]
        failures = [failure(run, error, trace, kind) for run in tried]
        again = [one for one in failures if attempts.again(one)]
        failed = [attempts.counted(one) for one in failures if one not in again]
        groups: list[tuple[Run, ...]] = [(one.run,) for one in again]  # alone: it may take others
        if rest := tuple(run for run in waiting if run not in tried):
            groups.append(rest)
        return failed, groups

    def _close(self, own: Spool, earlier: Sequence[Spool]) -> None:
        """Delete the files of spools that no job uses any more."""
        own.close()
        states = self._queue.states() if earlier else {}
        if states is None:
            return  # the next command deletes them
        for spool in earlier:
            numbers = [number for number, _ in spool.jobs().values()]
            if all(states.get(number, "CANCELLED") in ENDED for number in numbers):
                spool.close()


def _left_behind(spool: Spool, missing: dict[str, Run]) -> EndedRuns:
    """The results that a killed command did not take; their runs leave ``missing``."""
    for id in spool.ended() & missing.keys():
        ended = spool.read(missing[id])
        if isinstance(ended, Result):
            del missing[id]
            yield ended
        spool.take(id)  # a failure is tried again


def _ended_runs(jobs: Sequence[QueuedJob]) -> EndedRuns:
    """What came of runs; each is marked as taken once the caller has come back for the next."""
    for spool in {job.spool for job in jobs}:
        ended = spool.ended()
        for job in (job for job in jobs if job.spool == spool):
            for id in ended & job.waiting.keys():
                yield spool.read(job.waiting[id])
                del job.waiting[id]
                spool.take(id)


def _report(jobs: Sequence[QueuedJob], on_progress: OnProgress) -> None:
    for job in jobs:
        for id, news in (job.spool.progress(job.name) or {}).items():
            if id in job.waiting:
                on_progress(job.waiting[id], *news)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

"""The jobs of SLURM: submitted through submitit, asked for their states, and cancelled."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.data.files import VARIABLE
from comparisons.execution.executor import ExecutorError
from comparisons.execution.options import ExecutionOptions
from comparisons.execution.slurm_job import Job
from comparisons.execution.slurm_options import concurrent_runs, parameters
from comparisons.execution.spool import Spool
from comparisons.records import Run

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
})  # fmt: skip
"""The states of SLURM in which a job does nothing more."""

PROGRAMS = ("sbatch", "srun", "squeue", "scancel")


class RefusedError(ExecutorError):
    """SLURM took no jobs; the message says why."""


@dataclass
class QueuedJob:
    """A job that was submitted.

    Attributes:
        name: Its name in the spool.
        handle: submitit's object.
        spool: Where what comes of its runs appears.
        waiting: The runs of which nothing came yet, by their ids.
        gone_since: When it was first seen to have ended, by the monotonic clock.
    """

    name: str
    handle: Any
    spool: Spool
    waiting: dict[str, Run]
    gone_since: float | None = None

    @property
    def number(self) -> str:
        """Its number in SLURM; with an underscore and its place, in an array."""
        return self.handle.job_id


class SlurmQueue:
    """The jobs of this user.

    Args:
        options: What jobs are asked for.

    Raises:
        ExecutorError: submitit or SLURM is missing, or there is no such parameter.
    """

    def __init__(self, options: ExecutionOptions) -> None:
        try:
            import submitit  # an extra that few need
        except ImportError:
            raise ExecutorError(
                "the slurm executor needs submitit, which is not installed; install the extra "
                "unitary_zoo[slurm]"
            ) from None
        self._submitit = submitit
        self._options = options
        # The other clusters are submitit's own, for tests; it must not choose one by itself.
        self.real = options.slurm.cluster == "slurm"
        for program in PROGRAMS if self.real else ():
            if shutil.which(program) is None:
                raise ExecutorError(
                    f"the slurm executor needs {program}, which is not on the PATH; start the "
                    "command on a machine that submits jobs to SLURM, or take another --executor"
                )
        self._names = map("{:05}".format, itertools.count())
        self._submitter(Spool(Path()), ())  # an unknown parameter is reported now

    def submit(self, spool: Spool, groups: Sequence[tuple[Run, ...]]) -> list[QueuedJob]:
        """Submit a job for each group, all of them as one array.

        Raises:
            RefusedError: SLURM did not take them.
        """
        if not groups:
            return []
        runs = [run for group in groups for run in group]
        executor = self._submitter(spool, runs)
        options = replace(self._options, jobs=concurrent_runs(self._options, runs))
        names = list(itertools.islice(self._names, len(groups)))
        try:
            with executor.batch():
                handles = [
                    executor.submit(Job(name, group, spool, options))
                    for name, group in zip(names, groups, strict=True)
                ]
        except self._submitit.core.utils.FailedJobError as error:
            raise RefusedError(f"sbatch refused the jobs: {_line(error)}") from None
        except OSError as error:
            raise RefusedError(
                f"no jobs can be submitted from {spool.logs} ({error}); give the folder room and "
                "write permission"
            ) from None
        jobs = [
            QueuedJob(name, handle, spool, {run.id: run for run in group})
            for name, handle, group in zip(names, handles, groups, strict=True)
        ]
        table = {job.name: (job.number, list(job.waiting)) for job in jobs}
        with contextlib.suppress(OSError):  # the jobs are in the queue all the same
            spool.save_jobs(spool.jobs() | table)
        return jobs

    def earlier_job(self, name: str, number: str, spool: Spool, runs: dict[str, Run]) -> QueuedJob:
        """A job that another process submitted."""
        handle: Any = self._submitit.SlurmJob(spool.logs, number)
        return QueuedJob(name, handle, spool, runs)

    def states(self, jobs: Iterable[QueuedJob] = ()) -> dict[str, str] | None:
        """The states of the user's jobs by number, for some minutes also of those that ended.

        None if SLURM does not answer. It is squeue that is asked: sacct needs a database, which
        not every SLURM has. Without SLURM, these are the states of ``jobs``.
        """
        if not self.real:
            return {job.number: "RUNNING" for job in jobs if not job.handle.done()}
        command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T"]
        command.append(f"--user={os.getuid()}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            return None  # the controller is restarted, say; the jobs do not depend on it
        return dict(pair for line in done.stdout.splitlines() if len(pair := line.split()) == 2)

    def cancel(self, jobs: Sequence[QueuedJob]) -> None:
        """Cancel the jobs, with one call for each array."""
        if not self.real:
            for job in jobs:
                job.handle.cancel(check=False)
            return
        for number in arrays(jobs):
            self._submitit.SlurmJob(jobs[0].spool.logs, number).cancel(check=False)

    def _submitter(self, spool: Spool, runs: Sequence[Run]) -> Any:
        """An executor of submitit with all parameters set."""
        # Ends at the time limit do not count where runs go on from their checkpoints.
        resumed = self._options.artifacts.checkpoint_every is not None
        restarts = 10**6 if resumed else self._options.retries
        python = _python()
        try:
            executor = self._submitit.AutoExecutor(
                spool.logs, cluster=self._options.slurm.cluster,
                slurm_python=python, local_python=python,
                slurm_max_num_timeout=restarts, local_max_num_timeout=restarts,
            )  # fmt: skip
            executor.update_parameters(**parameters(self._options, runs))
        except (NameError, ValueError, TypeError, AssertionError) as error:
            raise ExecutorError(f"submitit takes no such option of SLURM: {_line(error)}") from None
        return executor


def arrays(jobs: Iterable[QueuedJob]) -> list[str]:
    """The numbers of the arrays that the jobs belong to."""
    return sorted({job.number.split("_")[0] for job in jobs})


def _python() -> str:
    """The command that starts Python in a job, with this package and the data where they are."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    variables = [f"PYTHONPATH={os.pathsep.join(filter(None, paths))}"]
    if VARIABLE in os.environ:
        variables.append(f"{VARIABLE}={os.environ[VARIABLE]}")
    return shlex.join(["env", *variables, sys.executable])


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

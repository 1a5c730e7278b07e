"""How and where runs are trained, apart from what a run itself says."""

from __future__ import annotations

from dataclasses import dataclass

from comparisons.training.artifacts import NOTHING, Artifacts


@dataclass(frozen=True)
class SlurmOptions:
    """The resources that SLURM is asked for.

    Attributes:
        partition: Name of the partition; None is the cluster's default.
        minutes: Time limit of a job, after which it is submitted again from its checkpoints.
        array: Largest number of jobs of an array that run at the same time.
        runs_per_job: Runs that one job trains, one after the other.
        more: Further parameters of submitit, as pairs of name and value.
        cluster: "slurm"; "local" and "debug" are submitit's own stand-ins without SLURM.
    """

    partition: str | None = None
    minutes: int = 240
    array: int = 256
    runs_per_job: int = 1
    more: tuple[tuple[str, str], ...] = ()
    cluster: str = "slurm"


@dataclass(frozen=True)
class ExecutionOptions:
    """Options of all executors; each reads those that concern it.

    Attributes:
        jobs: Runs trained at the same time on one machine; None lets a measurement choose.
        timeout: Seconds without a finished step after which a run is ended, or at its start
            ``START_SECONDS`` if that is longer; None waits for ever.
        retries: How often a run that died is tried again, where that can help.
        gpu_slots: Runs trained at the same time on one GPU.
        plugins: Files and modules that every worker loads first.
        artifacts: What trainings leave beside their results.
        ray_address: Address of a Ray cluster; None takes the one that Ray finds, or this machine.
        slurm: What SLURM is asked for.
    """

    jobs: int | None = 1
    timeout: float | None = None
    retries: int = 0
    gpu_slots: int = 1
    plugins: tuple[str, ...] = ()
    artifacts: Artifacts = NOTHING
    ray_address: str | None = None
    slurm: SlurmOptions = SlurmOptions()


DEFAULT = ExecutionOptions()

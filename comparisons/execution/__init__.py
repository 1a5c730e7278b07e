"""Executors, which train runs: in worker processes of this machine, on Ray, or on SLURM.

An executor takes runs and yields a `Result` or a `Failure` for each, as they end. A run that
raises, crashes or is killed is a failure of its own and of no other.
"""

from __future__ import annotations

from collections.abc import Callable

from comparisons.execution.ddp import DdpExecutor
from comparisons.execution.executor import (
    Divides,
    Division,
    EndedRuns,
    Executor,
    ExecutorError,
    OnProgress,
    attempt,
)
from comparisons.execution.local import LocalExecutor
from comparisons.execution.options import ExecutionOptions, SlurmOptions
from comparisons.execution.ray import RayExecutor
from comparisons.execution.slurm import SlurmExecutor

__all__ = [
    "EXECUTORS",
    "Divides",
    "Division",
    "EndedRuns",
    "ExecutionOptions",
    "Executor",
    "ExecutorError",
    "OnProgress",
    "SlurmOptions",
    "attempt",
]

EXECUTORS: dict[str, Callable[[ExecutionOptions], Executor]] = {
    "local": LocalExecutor,
    "ddp": DdpExecutor,
    "ray": RayExecutor,
    "slurm": SlurmExecutor,
}
"""Builders by the names of ``--executor``."""

"""Train runs in worker processes of this machine, a fresh one for each run."""

from comparisons.execution.local.pool import LocalExecutor

__all__ = ["LocalExecutor"]

"""Kinds of failures that come from outside of a run, and the count of its attempts."""

from __future__ import annotations

import collections
from dataclasses import replace

from comparisons.records import Failure

DIED = "WorkerDied"
"""The process of the run ended without an answer."""
HUNG = "TimedOut"
"""The run finished no step for as long as ``--timeout`` allows."""
LOST = "NodeLost"
"""The machine of the run was lost, or took it back."""
STOPPED = "StoppedError"
"""The run was asked to end by SIGTERM, and has saved a checkpoint."""
NO_MEMORY = ("MemoryError", "OutOfMemoryError")
"""There was not enough memory, perhaps because of other runs."""

RETRIED = frozenset({DIED, HUNG, LOST, STOPPED, *NO_MEMORY})
"""The kinds of failures after which another attempt can help: an error of the run's own recurs."""


class Attempts:
    """The attempts at each run, of which ``retries`` may follow the first."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        # By ids: a run whose options hold a list cannot be hashed.
        self._failed: collections.Counter[str] = collections.Counter()

    def again(self, failure: Failure) -> bool:
        """Count a failed attempt; return whether the run is to be tried again."""
        self._failed[failure.run.id] += 1
        return failure.kind in RETRIED and self._failed[failure.run.id] <= self._retries

    def counted(self, failure: Failure) -> Failure:
        """The failure with the number of attempts that were made."""
        return replace(failure, attempts=max(1, self._failed[failure.run.id]))

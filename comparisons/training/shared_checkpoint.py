"""The checkpoint of a training that several processes take part in."""

from __future__ import annotations

from typing import Any

from comparisons.training.checkpoints import CheckpointFile
from comparisons.training.replicas import Replicas

_OWN = ("state", "random", "random_cuda")
"""What differs between the processes: states of their sequences, and their random streams."""


class SharedCheckpoint:
    """A checkpoint file of the first process, from which all go on.

    Every method has to be called by all processes at the same point of the training.

    Args:
        file: The file, which the first process alone reads and writes.
        replicas: The processes.
    """

    def __init__(self, file: CheckpointFile, replicas: Replicas) -> None:
        self._file, self._replicas = file, replicas

    def write(self, content: dict[str, Any]) -> bool:
        """Write the state of all processes; return whether that was possible."""
        if self._replicas.size == 1:
            return self._file.write(content)
        training = content["training"]
        parts = self._replicas.gathered({name: training[name] for name in _OWN})
        kept = self._replicas.is_first and self._file.write({**content, "processes": parts})
        return bool(self._replicas.totals([kept])[0])

    def read(self) -> dict[str, Any] | None:
        """The state of this process; None if there is none that can be used."""
        content = self._replicas.sent(self._file.read() if self._replicas.is_first else None)
        if content is None:
            return None
        parts = content.pop("processes", [{}])
        if len(parts) != self._replicas.size:
            self.set_aside(f"{len(parts)} processes saved it, and {self._replicas.size} read it")
            return None
        training = {**content["training"], **parts[self._replicas.rank]}
        return {**content, "training": training}

    def set_aside(self, reason: str) -> None:
        """Rename the file, so that the run begins anew, and say why."""
        if self._replicas.is_first:
            self._file.set_aside(reason)

    def delete(self) -> None:
        """Delete the file, if there is one."""
        if self._replicas.is_first:
            self._file.delete()

"""Batches of sequences, and the random streams that they are drawn from."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor


def stream(key: str) -> torch.Generator:
    """A generator on the CPU whose numbers depend on the key alone."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
    return torch.Generator().manual_seed(seed)


class Batch(NamedTuple):
    """Sequences and their targets.

    Attributes:
        inputs: (steps, size, input_size), or token numbers (steps, size).
        targets: Desired outputs, in the task's own form.
        continues: Whether its sequences go on where those of the batch before ended, so that the
            state is carried over.
    """

    inputs: Tensor
    targets: Tensor
    continues: bool = False

    def to(self, device: str) -> Batch:
        """The batch on another device."""
        return self._replace(inputs=self.inputs.to(device), targets=self.targets.to(device))

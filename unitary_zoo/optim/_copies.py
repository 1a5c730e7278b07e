"""Copies of an attached optimizer, by ``copy`` or ``pickle``, that keep its attachments."""

from __future__ import annotations

import copyreg
from typing import Any

from torch.optim import Optimizer

from unitary_zoo._torch import reduced_with_hooks
from unitary_zoo.optim._stepping import attachment_of


def keep_in_copies(optimizer: Optimizer) -> None:
    """Let optimizers of this class take their attachments along when they are copied or pickled.

    A copy of the model and the optimizer together then trains like the original.
    """
    copyreg.dispatch_table.setdefault(type(optimizer), _reduce)


def _reduce(optimizer: Optimizer) -> Any:
    return reduced_with_hooks(optimizer, lambda hook: attachment_of(hook) is not None)

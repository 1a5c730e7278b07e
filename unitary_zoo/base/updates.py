"""The decorator of methods that change a scheme."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch

from unitary_zoo._torch import without_autocast


class _OnADevice(Protocol):
    @property
    def device(self) -> torch.device: ...


M = TypeVar("M", bound=_OnADevice)
P = ParamSpec("P")
R = TypeVar("R")


def update(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Run a method that changes a scheme without gradients, and without autocast.

    A training loop may be inside autocast as a whole. A step in its low precision would end
    elsewhere, and off the group.
    """

    @functools.wraps(method)
    def run(self: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad(), without_autocast(self.device):
            return method(self, *args, **kwargs)

    return run

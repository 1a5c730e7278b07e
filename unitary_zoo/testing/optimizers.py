"""Optimizers that call the step of another one, in the ways in which public packages do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer

Parameters = list[nn.Parameter]


class Holder:
    """An object with an optimizer in an attribute; no optimizer of torch itself."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        """Call the step of the optimizer."""
        self.optimizer.step()


class Outer(Optimizer):
    """An optimizer of torch whose step calls that of another one, so that both run hooks."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.base_optimizer = optimizer
        super().__init__(optimizer.param_groups, {})
        self.param_groups = optimizer.param_groups

    # The overloads of torch promise a loss for a closure; here nothing passes one.
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Call the step of the other optimizer."""
        self.base_optimizer.step()


class Extended(SGD):
    """A subclass whose step calls that of its base class; torch runs the hooks around both."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Call the step of the base class."""
        super().step()


def descent(parameters: Parameters) -> Optimizer:
    """Gradient descent with momentum."""
    return SGD(parameters, lr=0.05, momentum=0.9)


VARIANTS: dict[str, Callable[[Parameters], Any]] = {
    "an optimizer in an attribute": lambda p: Holder(descent(p)),
    "an optimizer that steps another": lambda p: Outer(descent(p)),
    "a subclass that calls super().step()": lambda p: Extended(p, lr=0.05, momentum=0.9),
}
"""Makers of optimizers that compute what :func:`descent` does."""

"""The tasks, one file each; every file of this package is imported and registers its own.

A task makes its data from a seeded generator, measures loss and accuracy, and knows the loss of the
best predictor that remembers nothing: the line a recurrent network must get under.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from unitary_zoo.registry import Registry

TASKS: Registry[type[Task]] = Registry("task")


class Task(ABC):
    """One task at one length.

    Args:
        length: The time lag T that the papers quote; at least :attr:`shortest`.

    Attributes:
        name: The name it is registered under.
        title: For people.
        loss_name: What the loss is, with its unit.
        accuracy_name: What the accuracy counts.
        baseline_formula: The analytic baseline, written out.
        shortest: The smallest length that makes sense.
        input_size: Features per time step.
        output_size: Outputs of the read-out.
        per_step: True where every step has an output, False where only the last state is read.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    loss_name: ClassVar[str]
    accuracy_name: ClassVar[str]
    baseline_formula: ClassVar[str]
    shortest: ClassVar[int]
    input_size: ClassVar[int]
    output_size: ClassVar[int]
    per_step: ClassVar[bool]

    def __init__(self, length: int) -> None:
        if length < self.shortest:
            raise ValueError(
                f"{self.name} needs a length of at least {self.shortest}, got {length}; "
                "choose a longer one"
            )
        self.length = length

    @property
    @abstractmethod
    def baseline(self) -> float:
        """Loss of the best predictor without memory."""

    @abstractmethod
    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Fresh sequences (steps, size, input_size) and their targets, drawn on the CPU."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Scalar training loss of the read-out's outputs."""

    @abstractmethod
    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Scalar in [0, 1]."""


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

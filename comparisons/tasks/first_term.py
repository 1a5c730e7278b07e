"""First-term recall of Lin and Wang (2019)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from comparisons.tasks import TASKS, Generated

LARGEST = 100


@TASKS.register("first_term")
class FirstTerm(Generated):
    """Name the first of T integers after the last: cross-entropy of the last state's output.

    The integers are independent and uniform on 1, ..., 100, fed one-hot; number i is class i - 1.
    For T = 5 one sequence is::

        step     0   1   2   3   4
        input    5   7   9  53  99       target 5

    The authors give the task, the lengths 20, 50 and 100 and examples with such numbers. The range,
    the one-hot input and the loss are this project's choice; it fits the accuracy of 0.9 % that
    they report of a plain RNN at T = 100, which is a guess among a hundred.
    """

    name = "first_term"
    title = "First-term recall"
    loss_name = "cross-entropy (nats)"
    accuracy_name = "share of sequences whose first integer is named"
    baseline_formula = f"ln {LARGEST}, a uniform guess"
    shortest = 2  # of one integer alone, the last is the first
    input_size = LARGEST
    output_size = LARGEST
    per_step = False

    @property
    def baseline(self) -> float:
        """Loss of a uniform guess: no integer but the first says anything about the first."""
        return math.log(LARGEST)

    @property
    def memoryless(self) -> float:
        """The constant baseline: the last integer says nothing about the first."""
        return self.baseline

    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One-hot inputs (T, size, 100) and classes (size,)."""
        numbers = torch.randint(0, LARGEST, (self.length, size), generator=generator)
        return F.one_hot(numbers, LARGEST).to(torch.float32), numbers[0]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(outputs, targets)

    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Share of the sequences whose first integer has the largest output."""
        return (outputs.argmax(-1) == targets).to(torch.float32).mean()

"""The adding problem of Hochreiter and Schmidhuber, as laid out by Arjovsky et al. (2016)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from comparisons.tasks import TASKS, Generated

TOLERANCE = 0.04


@TASKS.register("adding")
class Adding(Generated):
    """Add the two marked numbers of T: squared error of the last state's output.

    The first channel is uniform on [0, 1]; the second is zero except for two ones, one in each half
    of the sequence, uniformly placed. For T = 6 one sequence is::

        step    0    1    2    3    4    5
        value  .31  .72  .05  .48  .90  .11
        mark    0    1    0    0    1    0       target .72 + .90 = 1.62
    """

    name = "adding"
    title = "Adding problem"
    loss_name = "mean squared error"
    accuracy_name = f"share of sums within {TOLERANCE:g}"
    baseline_formula = "variance of the sum of two uniform numbers, 1/6"
    memoryless_formula = "1/6 - 1/(12 ⌈T/2⌉), from the last number, if it is marked"
    shortest = 2
    input_size = 2
    output_size = 1
    per_step = False

    @property
    def baseline(self) -> float:
        """Mean squared error of always predicting 1."""
        return 1 / 6

    @property
    def memoryless(self) -> float:
        r""":math:`\frac16 - \frac{1}{12 \lceil T/2 \rceil}`, from the last number and mark.

        The second mark is on the last of the :math:`\lceil T/2 \rceil` steps of its half with
        probability :math:`1 / \lceil T/2 \rceil`. Then one summand is known and the variance of the
        other is left, 1/12. Otherwise the last number says nothing, and 1/6 is left.
        """
        return 1 / 6 - 1 / (12 * math.ceil(self.length / 2))

    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (T, size, 2) and target sums (size, 1)."""
        half = self.length // 2
        values = torch.rand(self.length, size, generator=generator)
        first = torch.randint(0, half, (1, size), generator=generator)
        second = torch.randint(half, self.length, (1, size), generator=generator)
        places = torch.cat([first, second])
        marks = torch.zeros_like(values).scatter_(0, places, 1.0)
        return torch.stack([values, marks], dim=-1), values.gather(0, places).sum(0)[:, None]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs, targets)

    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Share of the sums that are met within 0.04."""
        return ((outputs - targets).abs() < TOLERANCE).to(torch.float32).mean()

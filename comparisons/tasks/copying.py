"""The copying memory task of Hochreiter and Schmidhuber, as laid out by Arjovsky et al. (2016)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from comparisons.tasks import TASKS, Generated

SYMBOLS = 8
RECALLED = 10
BLANK = 0
DELIMITER = 9


@TASKS.register("copying")
class Copying(Generated):
    """Recall ten symbols after T + 10 steps: loss mean cross-entropy over all T + 20 steps.

    Symbols 1..8 are data, 0 is the blank, 9 the delimiter, fed one-hot. For T = 4 one sequence is::

        step    0 1 2 3 4 5 6 7 8 9  10 11 12  13  14 ......... 23
        input   3 1 4 1 5 2 6 5 3 5   0  0  0   9   0 0 0 0 0 0 0 0 0 0
        target  0 0 0 0 0 0 0 0 0 0   0  0  0   0   3 1 4 1 5 2 6 5 3 5

    The delimiter stands at index T + 9 and the recall begins at the step after it. (In the layout
    of expRNN and projUNN the delimiter comes one step later, at the first step of the recall.)
    """

    name = "copying"
    title = "Copying memory"
    loss_name = "cross-entropy (nats per step)"
    accuracy_name = "accuracy on the 10 recalled symbols"
    baseline_formula = "10 ln 8 / (T + 20)"
    shortest = 1
    input_size = 10
    output_size = 9
    per_step = True

    @property
    def baseline(self) -> float:
        """Loss of answering blanks for certain, then a uniform guess among the eight symbols."""
        return RECALLED * math.log(SYMBOLS) / (self.length + 2 * RECALLED)

    @property
    def memoryless(self) -> float:
        """The constant baseline: the inputs of the recall are blanks and say nothing.

        It knows the step. Without a clock, blanks before the delimiter look like those of the
        recall, and the loss is larger.
        """
        return self.baseline

    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One-hot inputs (T + 20, size, 10) and target symbols (T + 20, size)."""
        data = torch.randint(1, SYMBOLS + 1, (RECALLED, size), generator=generator)
        steps = self.length + 2 * RECALLED
        symbols = torch.full((steps, size), BLANK)
        symbols[:RECALLED] = data
        symbols[self.length + RECALLED - 1] = DELIMITER
        targets = torch.full((steps, size), BLANK)
        targets[-RECALLED:] = data
        return F.one_hot(symbols, self.input_size).to(torch.float32), targets

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over all steps and sequences, in nats."""
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Share of the ten recalled symbols that are right; the blanks before them do not count."""
        guesses = outputs[-RECALLED:].argmax(-1)
        return (guesses == targets[-RECALLED:]).to(torch.float32).mean()

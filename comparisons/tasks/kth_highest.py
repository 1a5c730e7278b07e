"""K-th highest integer of Lin and Wang (2019), for k = 3."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import torch
from torch.nn import functional as F

from comparisons.tasks import TASKS, Generated

K = 3


@TASKS.register("kth_highest")
class KthHighest(Generated):
    r"""Name the third largest of T integers after the last: cross-entropy of the last output.

    The integers are independent and uniform on 1, ..., T, fed one-hot; number i is class i - 1.
    Equal ones count separately: of 9, 9, 7 the third largest is 7. For T = 8 one sequence is::

        step     0   1   2   3   4   5   6   7
        input    5   7   8   1   4   8   2   5       target 7

    The authors give the task, the lengths 100, 200 and 400, and an example whose answer is the
    third largest (5, 7, 9, 53, 99, 98, 2, 100: 98). The range, the one-hot input and the loss are
    this project's choice. With a range that grows with T the distance of the answer from the top
    has nearly one distribution at all lengths, so that losses and accuracies of different lengths
    compare: always guessing the likeliest number is right in 25 to 26 % of all sequences from
    T = 50 up, and the baseline is 1.84 to 1.88 nats. (The plain RNN of the authors is right in
    15 % at T = 400, so they drew their integers otherwise.)
    """

    name = "kth_highest"
    title = "Third highest of a sequence"
    loss_name = "cross-entropy (nats)"
    accuracy_name = "share of sequences whose third largest integer is named"
    baseline_formula = "entropy of the third largest of T integers from 1 to T"
    memoryless_formula = "its entropy, given the last integer"
    shortest = K
    per_step = False

    @property
    def input_size(self) -> int:
        """Number of integers, one-hot."""
        return self.length

    @property
    def output_size(self) -> int:
        """A score for each integer."""
        return self.length

    def probabilities(self) -> list[float]:
        r""":math:`P(Y \le m) = \sum_{j<k} \binom{T}{j} (1 - m/T)^j (m/T)^{T-j}`, differenced.

        The k-th largest, Y, is at most m if fewer than k integers are larger than m.

        Returns:
            P(Y = m) for m = 1, ..., T.
        """
        return _differences(_at_most(self.length, self.length, K))

    @property
    def baseline(self) -> float:
        """Loss of answering the distribution of the answer for every sequence."""
        return _entropy(self.probabilities())

    @property
    def memoryless(self) -> float:
        r""":math:`H(Y \mid X_T)`: 0.008 nats less than the baseline at T = 100, 0.002 at T = 400.

        Of the T - 1 other integers, fewer than k may exceed m if :math:`X_T \le m`, and fewer than
        k - 1 otherwise.
        """
        t = self.length
        few, fewer = (_at_most(t - 1, t, k) for k in (K, K - 1))
        return statistics.fmean(
            _entropy(_differences([*fewer[:last], *few[last:]])) for last in range(1, t + 1)
        )

    def batch(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One-hot inputs (T, size, T) and classes (size,)."""
        numbers = torch.randint(0, self.length, (self.length, size), generator=generator)
        return F.one_hot(numbers, self.length).to(torch.float32), third_largest(numbers)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(outputs, targets)

    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Share of the sequences whose third largest integer has the largest output."""
        return (outputs.argmax(-1) == targets).to(torch.float32).mean()


def _at_most(count: int, largest: int, k: int) -> list[float]:
    """Probabilities that fewer than k of ``count`` integers exceed m = 0, ..., ``largest``."""
    return [
        sum(
            math.comb(count, j) * (1 - m / largest) ** j * (m / largest) ** (count - j)
            for j in range(k)
        )
        for m in range(largest + 1)
    ]


def _differences(at_most: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(at_most)]


def _entropy(probabilities: list[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def third_largest(numbers: torch.Tensor) -> torch.Tensor:
    """The third largest of each column of (T, size), equal numbers counted separately: (size,)."""
    return numbers.topk(K, dim=0).values[-1]

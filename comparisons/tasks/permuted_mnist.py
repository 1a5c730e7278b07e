"""Permuted pixel-by-pixel MNIST of Le, Jaitly and Hinton (2015)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from comparisons.tasks import TASKS
from comparisons.tasks._images import Pixels

SEED = 92916


@TASKS.register("permuted_mnist")
class PermutedMNIST(Pixels):
    """Name the digit after its pixels came one by one in one fixed, random order.

    The order is that of Wisdom et al. (2016), scoRNN, scuRNN, expRNN, projUNN and Emami et al.
    (2019): NumPy's ``RandomState(92916).permutation(T)``, whose entry t is the pixel of step t. So
    neighbours in the image are far apart in time. Arjovsky et al. (2016), EUNN and nnRNN have other
    orders.
    """

    name = "permuted_mnist"
    title = "Permuted pixel-by-pixel MNIST"

    @cached_property
    def order(self) -> torch.Tensor:
        """The permutation of one seed, the same for all runs."""
        return torch.from_numpy(np.random.RandomState(SEED).permutation(self.length))

"""Pixel-by-pixel MNIST of Le, Jaitly and Hinton (2015)."""

from __future__ import annotations

from functools import cached_property

import torch

from comparisons.tasks import TASKS
from comparisons.tasks._images import Pixels


@TASKS.register("pixel_mnist")
class PixelMNIST(Pixels):
    """Name the digit after its pixels came one by one, row by row from the top left.

    For the 64 pixels of an 8 x 8 image one sequence is::

        step    0    1    2    3  ...   62   63
        pixel   0    0   .31  .81      .06   0        target 0
    """

    name = "pixel_mnist"
    title = "Pixel-by-pixel MNIST"

    @cached_property
    def order(self) -> torch.Tensor:
        """The pixels in their own order."""
        return torch.arange(self.length)

"""The base of the tasks of images: an image is read as a sequence of pixels and classified."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from comparisons.data import images
from comparisons.data.images import CLASSES, Images
from comparisons.tasks import Batch, Task, split_off


class Pixels(Task):
    """Classify images that are read pixel by pixel: cross-entropy of the last state's output.

    A pixel is one number in [0, 1]. Training shuffles all training images anew in every epoch; the
    last batch of an epoch holds the images that are left (469 iterations an epoch of MNIST at 128).
    There is no validation set unless ``validation_size`` of a setting holds some images back: all
    60,000 images train, and the test set is measured at every evaluation. A paper that holds some
    images back to choose a model (Wisdom et al. 5,000, nnRNN 10,000, projUNN a tenth) trains on
    fewer; one that reports the best test accuracy over the epochs (Lezcano-Casado and
    Martínez-Rubio, 2019) reports more than the last evaluation gives.
    """

    loss_name = "cross-entropy (nats)"
    accuracy_name = "share of images classified right"
    baseline_formula = "entropy of the classes in the test set, of ten about equal ones ln 10"
    memoryless_formula = "cross-entropy of the classes, given the last pixel"
    shortest = 64
    variants: ClassVar[dict[str, str]] = {
        "digits": "scikit-learn's digits, 8 x 8",
        "mnist": "MNIST, 28 x 28",
    }
    fixed_lengths: ClassVar[dict[str, int]] = {"digits": 64, "mnist": 784}
    real = "mnist"
    dataset = images.MNIST
    input_size = 1
    output_size = CLASSES
    per_step = False

    @classmethod
    def prepare(cls, variant: str, download: bool) -> None:
        """Check that the images are there, and import the package that brings the digits."""
        super().prepare(variant, download)
        if variant == "digits":
            images.digits()

    @cached_property
    def _parts(self) -> tuple[Images, Images]:
        """Training and test images; read when first needed."""
        return images.mnist() if self.variant == "mnist" else images.digits()

    @cached_property
    def _kept(self) -> Tensor:
        """The numbers of the images that train."""
        return torch.arange(len(self._parts[0].labels))

    @cached_property
    @abstractmethod
    def order(self) -> Tensor:
        """(T,): the pixel that is read at each step."""

    @property
    def data(self) -> str:
        """The images' name and numbers."""
        train, test = map(len, (part.labels for part in self._parts))
        return f"{self.variants[self.variant]}: {train:,} training and {test:,} test images"

    @property
    def baseline(self) -> float:
        """Loss of a predictor that answers the classes' shares in the test set for every image."""
        return self._parts[1].entropy()

    @property
    def memoryless(self) -> float:
        r"""Mean of :math:`-\ln p(k | x)` over the test set, x the last pixel, k the class.

        p(k | x) = (number of training images + 1) / (those with this x + 10). Where that gives more
        than the constant baseline, as if the last pixel is black in every image, it is that one.
        """
        train, test = self._parts
        counts = torch.ones(train.white + 1, CLASSES, dtype=torch.float64)
        last = self.order[-1]
        index = (train.pixels[:, last].long(), train.labels)
        counts.index_put_(index, torch.ones(len(train.labels)).double(), accumulate=True)
        p = (counts / counts.sum(1, keepdim=True))[test.pixels[:, last].long(), test.labels]
        return min(self.baseline, -p.log().mean().item())

    def train_batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches without end, in a new order in every epoch."""
        train, kept = self._parts[0], self._kept
        while True:
            for chosen in torch.randperm(len(kept), generator=generator).split(size):
                yield self._batch(train, kept[chosen])

    def test_batches(self, size: int, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """All test images, or ``count`` drawn from them: MNIST's first ones are easier."""
        test = self._parts[1]
        drawn = torch.randperm(len(test.labels), generator=generator)[:count]
        for chosen in drawn.split(size):
            yield self._batch(test, chosen)

    def hold_out(self, count: int, generator: torch.Generator) -> None:
        """Draw ``count`` training images that do not train.

        Raises:
            ValueError: None would be left.
        """
        total = len(self._parts[0].labels)
        self._held_out, self._kept = split_off(self.name, total, count, generator)

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """These images."""
        for chosen in self._held_out.split(size):
            yield self._batch(self._parts[0], chosen)

    def _batch(self, images: Images, chosen: Tensor) -> Batch:
        """Sequences (T, size, 1) and classes (size,)."""
        pixels = images.pixels[chosen][:, self.order].to(torch.float32) / images.white
        return Batch(pixels.T[..., None].contiguous(), images.labels[chosen])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(outputs, targets)

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of the images whose class has the largest output."""
        return (outputs.argmax(-1) == targets).to(torch.float32).mean()

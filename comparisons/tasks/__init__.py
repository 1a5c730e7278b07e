"""The tasks, one file each; every file of this package is imported and registers its own.

A task makes its batches from a seeded generator, measures loss and accuracy, and knows two losses
that need no memory: that of the best answer that is the same for every sequence, and that of the
best predictor that sees the input of the present step as well. A recurrent network that remembers
must get below both.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from comparisons.data import files
from comparisons.data.files import DataSet
from comparisons.records import Setting
from comparisons.tasks._batch import Batch, stream
from comparisons.tasks._constant import constant_loss
from unitary_zoo import UnitaryRNN
from unitary_zoo.registry import Registry

__all__ = ["TASKS", "Batch", "Generated", "Task", "UnknownTaskError", "stream"]


class UnknownTaskError(LookupError):
    """There is no such task here; a plug-in may bring it."""


def _check_class(name: str, task: type[Task]) -> None:
    """Raise an error if it is no task, or lacks something that every task has."""
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise TypeError(
            f"task {name!r} is {task!r}; register a class derived from Generated or Task"
        )
    needed = ("name", "loss_name", "accuracy_name", "per_step")
    lacking = [attribute for attribute in needed if not hasattr(task, attribute)]
    lacking += sorted(getattr(task, "__abstractmethods__", ()))
    if lacking:
        raise TypeError(f"{task.__name__} lacks {', '.join(lacking)}; define what is missing")
    if task.name != name:
        raise ValueError(
            f"{task.__name__} is to be registered as {name!r}, but its name is {task.name!r}; "
            "use one name"
        )


TASKS: Registry[type[Task]] = Registry(
    "task", error=UnknownTaskError, entry_points="unitary_zoo.tasks", validate=_check_class
)


class Task(ABC):
    """One task at one length.

    Args:
        length: The time lag T that the papers quote; at least :attr:`shortest`.
        variant: A key of :attr:`variants`; "" is the first.
        seed: Seed of what is fixed for a whole run, such as a system to be identified.

    Attributes:
        name: The name it is registered under.
        title: Name for people; that of the registry, if it is not given.
        loss_name: Name of the loss, with its unit.
        accuracy_name: What the accuracy counts.
        metric_name: Name of what tables show beside the loss, with its unit.
        baseline_formula: The constant baseline as a formula or in words, where the task knows it.
        memoryless_formula: The memoryless baseline likewise; "" where it is the constant one.
        shortest: The smallest length that makes sense.
        variants: Data sets or forms of the task by name, with a title; the first is the default.
        fixed_lengths: The length of each variant whose data fix it.
        real: The variant that reads files of a data folder; "" if there is none.
        dataset: The files that it reads.
        tokens: True where inputs are token numbers instead of features.
        per_step: True where every step has an output, False where only the last state is read.
        halve_unitary_units: Whether figures over the size also show unitary models at half their
            units: a ReLU RNN of n units equals a unitary one of 2n (Emami et al., 2019).
        restarts: Whether seeds are starts on one problem, of which papers report the best; it is
            shown beside the mean.
        independent_batches: Whether a training batch depends on the state of the generator alone,
            and not on the batches before. A training that was interrupted then goes on from that
            state; elsewhere it draws the batches again up to the one where it was.
        quick: Length and setting of the preset ``quick``, for a state of as many real numbers as
            the setting has units; the preset leaves the task out where there are none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    loss_name: ClassVar[str]
    accuracy_name: ClassVar[str]
    metric_name: ClassVar[str] = "accuracy %"
    baseline_formula: ClassVar[str] = "measured on generated sequences"
    memoryless_formula: ClassVar[str] = ""
    shortest: ClassVar[int] = 1
    variants: ClassVar[dict[str, str]] = {}
    fixed_lengths: ClassVar[dict[str, int]] = {}
    real: ClassVar[str] = ""
    dataset: ClassVar[DataSet | None] = None
    tokens: ClassVar[bool] = False
    per_step: ClassVar[bool]
    halve_unitary_units: ClassVar[bool] = False
    restarts: ClassVar[bool] = False
    independent_batches: ClassVar[bool] = False
    quick: ClassVar[tuple[int, Setting] | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "title") and hasattr(cls, "name"):
            cls.title = cls.name.replace("_", " ").capitalize()

    def __init__(self, length: int, variant: str = "", seed: int = 0) -> None:
        self.variant = self.check_variant(variant)
        self.length = self.check_length(length, self.variant)
        self.seed = seed

    @classmethod
    def check_length(cls, length: int, variant: str = "") -> int:
        """``length`` itself.

        Raises:
            ValueError: It is too short for the task, or not that of the variant's data.
        """
        if length < cls.shortest:
            raise ValueError(
                f"{cls.name} needs a length of at least {cls.shortest}, got {length}; "
                "choose a longer one"
            )
        variant = cls.check_variant(variant)
        fixed = cls.fixed_lengths.get(variant, length)
        if length != fixed:
            raise ValueError(
                f"{cls.name} has {fixed} steps with the data of {variant!r}, got {length}; choose "
                f"{fixed}, or another of its variants: {', '.join(cls.variants)}"
            )
        return length

    @classmethod
    def check_variant(cls, variant: str) -> str:
        """``variant`` itself, or the default one for "".

        Raises:
            ValueError: There is no such variant.
        """
        if variant and variant not in cls.variants:
            known = ", ".join(cls.variants) or "none"
            raise ValueError(f"{cls.name} has no variant {variant!r}; its variants: {known}")
        return variant or next(iter(cls.variants), "")

    @classmethod
    def prepare(cls, variant: str, download: bool) -> None:
        """Check that the variant's data are there, before anything is trained.

        Args:
            variant: Name of the variant.
            download: Whether to fetch missing files.

        Raises:
            DataError: A file is missing or damaged; the message says where to get it.
        """
        if cls.dataset is not None and variant == cls.real:
            files.find(cls.dataset, download)

    @property
    @abstractmethod
    def input_size(self) -> int:
        """Features per time step; of tokens, the size of the vocabulary."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """Outputs of the read-out."""

    @property
    def data(self) -> str:
        """A phrase that names the training and test data."""
        return "generated sequences"

    @property
    def baseline(self) -> float:
        """The constant baseline: loss of the best answer that is the same for every sequence.

        It is measured, unless the task has a formula for it.
        """
        return constant_loss(self)

    @property
    def memoryless(self) -> float | None:
        """The memoryless baseline: loss of the best predictor from the step and its input alone.

        A network without memory can learn that predictor, so only a loss below this one shows that
        something was remembered. It is at most :attr:`baseline`. None where it is not known.
        """
        return None

    @property
    def optimum(self) -> float | None:
        """Least loss that any predictor can reach; None if that is zero or unknown."""
        return None

    @abstractmethod
    def train_batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches of ``size`` sequences without end, drawn on the CPU."""

    @abstractmethod
    def test_batches(self, size: int, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """The test set, ``count`` sequences or as many as there are, in batches of ``size``."""

    def valid_batches(self, size: int, count: int) -> Iterator[Batch] | None:
        """At most ``count`` sequences of the validation set, in batches; None if there is none."""
        return None

    def hold_out(self, count: int, generator: torch.Generator) -> None:
        """Take ``count`` sequences out of the training data, as the validation set of a task.

        It is called once, before any batch is drawn, and only for a task without a validation set.

        Raises:
            ValueError: The task has no way to do so, or too few training sequences.
        """
        raise ValueError(
            f"{self.name} has no way to hold out {count} sequences; leave validation_size at 0"
        )

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """The sequences that :meth:`hold_out` has taken, in batches of ``size``."""
        raise ValueError(f"{self.name} has held out no sequences; call hold_out first")

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar training loss of the read-out's outputs, a mean over the targets."""

    @abstractmethod
    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar accuracy of the read-out's outputs, a mean over the targets."""

    def part(self, batch: Batch, index: int, parts: int) -> Batch:
        """The sequences of one of ``parts`` consecutive shares of a batch, of nearly equal sizes.

        Sequences are along the second dimension of the inputs, and of the targets too where every
        step has an output; else along the first of the targets. A share may be empty.
        """
        inputs = batch.inputs.tensor_split(parts, dim=1)[index]
        targets = batch.targets.tensor_split(parts, dim=1 if self.per_step else 0)[index]
        return batch._replace(inputs=inputs.contiguous(), targets=targets.contiguous())

    def metric(self, loss: float, accuracy: float) -> float:
        """The value that tables show, from the mean loss and accuracy over the test set."""
        return 100 * accuracy

    def identify(self, rnn: UnitaryRNN) -> nn.Module:
        """Set everything of the layer but W to the system's and freeze it; returns the read-out.

        Raises:
            TypeError: There is no system behind this task.
        """
        raise TypeError(f"{self.name} identifies no system; leave only_recurrent_weight at False")


def split_off(
    name: str, total: int, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The numbers of ``count`` of ``total`` sequences, drawn at random, and of all others.

    Raises:
        ValueError: No other would be left.
    """
    if count >= total:
        raise ValueError(
            f"{name} has {total:,} training sequences and cannot hold out {count:,}; choose a "
            "smaller validation_size"
        )
    drawn = torch.randperm(total, generator=generator)
    return drawn[:count], drawn[count:].sort().values


class Generated(Task):
    """A task with fresh sequences in every batch."""

    independent_batches = True

    @abstractmethod
    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fresh sequences (steps, size, input_size) and their targets, drawn on the CPU."""

    def train_batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches of fresh sequences without end."""
        while True:
            yield Batch(*self.batch(size, generator))

    def test_batches(self, size: int, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """Test sequences, drawn anew from the generator rather than kept in memory."""
        for start in range(0, count, size):
            yield Batch(*self.batch(min(size, count - start), generator))

    def hold_out(self, count: int, generator: torch.Generator) -> None:
        """Note where to draw sequences: fresh ones are apart from all others by themselves."""
        self._held_out = count, generator.get_state()

    def held_out_batches(self, size: int) -> Iterator[Batch]:
        """The same sequences every time, drawn anew rather than kept in memory."""
        count, state = self._held_out
        return self.test_batches(size, count, torch.Generator().set_state(state))


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

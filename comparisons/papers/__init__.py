"""The papers, one file each: how they trained, and what they reported, as data.

Every file of this package defines ``PAPER`` and is found by itself. A number carries the tag of
where it was read, and only an exact :class:`Source` may be shown as exact.
"""

from __future__ import annotations

import enum
import importlib
import math
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from comparisons.names import unknown_name
from comparisons.records import Setting


class Source(str, enum.Enum):
    """Where a published number was read; the value is the tag that tables print."""

    PRINTED = "V"
    SECOND_HAND = "V2"
    FIGURE = "F"
    PARTLY_FIGURE = "F,V"
    RECALLED_HIGH = "M-H"
    RECALLED_MEDIUM = "M-M"
    RECALLED_LOW = "M-L"

    def __str__(self) -> str:
        return self.value

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]

    @property
    def exact(self) -> bool:
        """Whether a number of this source may be shown as the paper's own."""
        return self in (Source.PRINTED, Source.SECOND_HAND)


_MEANINGS = {
    Source.PRINTED: "read in the paper or its authors' code",
    Source.SECOND_HAND: "read in another paper's table or README",
    Source.FIGURE: "read off a published figure by eye",
    Source.PARTLY_FIGURE: "partly read off a figure, partly printed; taken as read off the figure",
    Source.RECALLED_HIGH: "from memory, not confirmed; confidence high",
    Source.RECALLED_MEDIUM: "from memory, not confirmed; confidence medium",
    Source.RECALLED_LOW: "from memory, not confirmed; confidence low",
}

TAGS = _MEANINGS  # old name: remove at integration
EXACT = frozenset(source for source in Source if source.exact)  # old name: remove at integration


@dataclass(frozen=True)
class Training:
    """How a paper trained some models on one task.

    Attributes:
        task: Registered name.
        lengths: Every length T it used.
        models: Our names for its models: schemes or baselines.
        setting: Sizes and optimizers; its ``source`` says what departs from the paper.
        variants: Names of variants of the task; "" is the default one.
        seeds: Its repetitions, a run for each.
        paper: Name of the paper, entered when it is loaded; "" for settings of this project.
    """

    task: str
    lengths: tuple[int, ...]
    models: tuple[str, ...]
    setting: Setting
    variants: tuple[str, ...] = ("",)
    seeds: tuple[int, ...] = (0,)
    paper: str = ""


@dataclass(frozen=True)
class PublishedResult:
    """One published result.

    Attributes:
        task: Registered name.
        lengths: The lengths T it holds for.
        model: The paper's name for its model, with the size.
        ours: Our names for the same model, or for the nearest there is.
        text: What was reported.
        tag: Where it was read.
        size: Hidden units; None where it is not known or does not matter.
        variant: Of the task; "" is its default.
        value: The number in the task's metric, for plots and tables; None where the text says
            more than a number can.
        setting: What tells its training from others of the same model and size, as pairs of name
            and value: fields of a :class:`Setting`, or the scheme's options.
    """

    task: str
    lengths: tuple[int, ...]
    model: str
    ours: tuple[str, ...]
    text: str
    tag: Source
    size: int | None = None
    variant: str = ""
    value: float | None = None
    setting: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", Source(self.tag))  # old name: remove at integration

    @property
    def exact(self) -> bool:
        """Whether the words may be shown as the paper's own numbers."""
        return self.tag.exact

    @property
    def series(self) -> str:
        """The paper's name for its model, without the size: what a line over the sizes is of."""
        return self.model.replace(f" {self.size}", "", 1).rstrip(",")


Outcome = PublishedResult  # old name: remove at integration


@dataclass(frozen=True)
class Reading:
    """One point of a curve in a published figure.

    Attributes:
        panel: Of the figure; the script that draws ours has the same names.
        model: Our name for the model.
        step: t, counted from 0.
        value: At that step.
        text: What is seen there.
        tag: Where it was read.
    """

    panel: str
    model: str
    step: int
    value: float
    text: str
    tag: Source


@dataclass(frozen=True)
class Paper:
    """One paper, or one published re-implementation.

    Attributes:
        cite: Authors and year, for tables.
        title: Its title.
        code: The repository the settings were read in.
        trainings: How it trained.
        outcomes: What it reported.
        remarks: What a reader who compares our numbers with its should know.
        remarks_on: Likewise, of one task.
        readings: Points of its figures on gradients and states.
    """

    cite: str
    title: str
    code: str
    trainings: tuple[Training, ...] = ()
    outcomes: tuple[PublishedResult, ...] = ()
    remarks: tuple[str, ...] = ()
    remarks_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()


PIXELS = 784  # steps of an image of MNIST


def mnist_iterations(epochs: int, batch: int) -> int:
    """Optimizer steps in so many epochs of all 60,000 images, the last batch of each smaller."""
    return epochs * math.ceil(60_000 / batch)


def text_iterations(epochs: int, tokens: int, batch: int, length: int) -> int:
    """Optimizer steps in so many epochs of a text: ``batch`` streams, read ``length`` at a time."""
    return epochs * math.ceil((tokens // batch - 1) / length)


def mnist_training(
    models: tuple[str, ...],
    setting: Setting,
    tasks: tuple[str, ...] = ("pixel_mnist", "permuted_mnist"),
    seeds: tuple[int, ...] = (0,),
) -> tuple[Training, ...]:
    """The same setting on MNIST read by the pixel, in order and permuted."""
    return tuple(
        Training(task, (PIXELS,), models, setting, variants=("mnist",), seeds=seeds)
        for task in tasks
    )


def mnist_accuracy(
    model: str,
    ours: tuple[str, ...],
    size: int,
    pixel: float | None,
    permuted: float | None,
    tag: Source,
    setting: tuple[tuple[str, Any], ...] = (),
) -> tuple[PublishedResult, ...]:
    """Test accuracies in per cent on MNIST read by the pixel, in order and permuted."""
    return tuple(
        PublishedResult(
            task, (PIXELS,), f"{model} {size}", ours, f"{'' if tag.exact else '≈ '}{value:g} %",
            tag, size, "mnist", value, setting,
        )
        for task, value in (("pixel_mnist", pixel), ("permuted_mnist", permuted))
        if value is not None
    )  # fmt: skip


class Papers(Mapping[str, Paper]):
    """All papers by the name of their file; a file is read when its paper is asked for."""

    def __init__(self) -> None:
        self._names = tuple(module.name for module in pkgutil.iter_modules(__path__))
        self._loaded: dict[str, Paper] = {}

    def __getitem__(self, name: str) -> Paper:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            paper: Paper = importlib.import_module(f"{__name__}.{name}").PAPER
            trainings = tuple(replace(training, paper=name) for training in paper.trainings)
            self._loaded[name] = replace(paper, trainings=trainings)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


PAPERS = Papers()


def find_paper(name: str) -> Paper:
    """The paper of that name.

    Raises:
        LookupError: There is none; the message suggests the nearest names.
    """
    if name not in tuple(PAPERS):
        raise LookupError(unknown_name("paper", name, PAPERS))
    return PAPERS[name]

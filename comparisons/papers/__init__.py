"""The papers: how they trained, and what they reported, as data.

Every module of this package without a leading underscore defines ``PAPER``: title, trainings and
remarks. The CSV file of the same name holds what the paper reported, and ``NAME.readings.csv``
holds points of its figures. A paper is loaded when it is asked for. Plug-ins register theirs.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from comparisons.papers._numbers import (
    PublishedResult,
    Reading,
    Source,
    read_readings,
    read_results,
)
from comparisons.records import Setting
from comparisons.studies import Dimension
from unitary_zoo.registry import Registry, unknown_name

__all__ = [
    "PAPERS",
    "PIXELS",
    "Paper",
    "Papers",
    "PublishedResult",
    "Reading",
    "SearchGrid",
    "Source",
    "Training",
    "find_paper",
    "mnist_iterations",
    "mnist_training",
    "paper_titles",
    "read_results",
    "text_iterations",
]


@dataclass(frozen=True)
class Training:
    """A training of some models on one task, as a paper describes it or this project sets it.

    Attributes:
        task: Registered name.
        lengths: Every length T that it used.
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
class SearchGrid:
    """The settings among which a paper says that it chose.

    Attributes:
        models: Our names for its models.
        space: What it tried.
        source: Where it says so, and what is left to assume.
        tasks: Tasks that it did this for; empty is all.
    """

    models: tuple[str, ...]
    space: tuple[Dimension, ...]
    source: str
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """One paper, or one published re-implementation.

    Attributes:
        cite: Authors and year, for tables.
        title: Its title.
        code: The repository in which the settings were read.
        trainings: How it trained.
        published: What it reported; read from the CSV file.
        remarks: Remarks for a reader who compares our numbers with its own.
        remarks_on: Such remarks on one task each, by its name.
        readings: Points of its figures on gradients and states; read from the other CSV file.
        search: What it searched, if it says so; the first that names a model and task is taken.
    """

    cite: str
    title: str
    code: str
    trainings: tuple[Training, ...] = ()
    published: tuple[PublishedResult, ...] = ()
    remarks: tuple[str, ...] = ()
    remarks_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()
    search: tuple[SearchGrid, ...] = ()


PIXELS = 784  # of an image of MNIST, one at each step


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
    """Trainings by one setting on MNIST read by the pixel, in order and permuted."""
    return tuple(
        Training(task, (PIXELS,), models, setting, variants=("mnist",), seeds=seeds)
        for task in tasks
    )


class Papers(Mapping[str, Paper]):
    """All papers by name, here that of their file; a file is read when its paper is asked for."""

    def __init__(self) -> None:
        names = (module.name for module in pkgutil.iter_modules(__path__))
        self._names = tuple(name for name in names if not name.startswith("_"))
        self._loaded: dict[str, Paper] = {}
        self._more: Registry[Paper] = Registry(
            "paper", entry_points="unitary_zoo.papers", validate=self._check
        )

    def register(self, name: str) -> Callable[[Paper], Paper]:
        """Return a function that enters a `Paper` under ``name``.

        Raises:
            ValueError: The name is taken.
            TypeError: It is called with something else.
        """
        return self._more.register(name)

    def __getitem__(self, name: str) -> Paper:
        if name not in tuple(self):
            raise KeyError(name)
        if name not in self._loaded:
            paper = self._read(name) if name in self._names else self._more.get(name)
            trainings = tuple(replace(training, paper=name) for training in paper.trainings)
            self._loaded[name] = replace(paper, trainings=trainings)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._names
        yield from self._more.names()

    def __len__(self) -> int:
        return len(self._names) + len(self._more.names())

    def _read(self, name: str) -> Paper:
        """The paper in a file of this package, with its published numbers."""
        paper: Paper = importlib.import_module(f"{__name__}.{name}").PAPER
        beside = Path(__file__).parent
        return replace(
            paper,
            published=read_results(beside / f"{name}.csv"),
            readings=read_readings(beside / f"{name}.readings.csv"),
        )

    def _check(self, name: str, paper: Paper) -> None:
        """Raise an error if it is no paper, or if a file of this package has its name."""
        if not isinstance(paper, Paper):
            raise TypeError(f"paper {name!r} is {paper!r}; register a comparisons.papers.Paper")
        if name in self._names:
            owner = f"{__name__}.{name}"
            raise ValueError(f"paper name {name!r} is already taken by {owner}; choose another")


PAPERS = Papers()


def find_paper(name: str) -> Paper:
    """The paper of that name.

    Raises:
        LookupError: There is none; the message suggests the nearest names.
    """
    if name not in tuple(PAPERS):
        raise LookupError(unknown_name("paper", name, PAPERS))
    return PAPERS[name]


def paper_titles() -> dict[str, str]:
    """Authors, year and title of every paper; where its file cannot be read, the error."""
    titles = {}
    for name in PAPERS:
        try:
            titles[name] = f"{PAPERS[name].cite}: {PAPERS[name].title}"
        except Exception as error:
            # One broken file must not hide the other papers.
            titles[name] = f"cannot be read ({type(error).__name__}: {error})"
    return titles

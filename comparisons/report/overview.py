"""Who solves what: for each task the models that solve it, and for each model the tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from comparisons.results.intervals import Estimate

Kind = Literal["scheme", "baseline"]
"""A scheme or a plug-in's model, or a usual network."""


@dataclass(frozen=True)
class Standing:
    """The best configuration of a model on a task at one length.

    Attributes:
        model: Name of the model (and its layer, as ``Summary.name``).
        kind: A scheme or a baseline.
        place: Index of its summary in the section's ``summaries``.
        seeds: Number of seeds.
        solved: Number of them that solve the task.
        parameters: Trainable parameters of the whole model.
        iterations: Mean first evaluated iteration that solves the task, over the seeds that do;
            None if none does.
        seconds: Mean training seconds up to there.
        total_seconds: Mean training seconds of a run.
        metric: The task's metric over the seeds.
        score: Share of the way from the memoryless baseline (0) to the best that is known (1: the
            optimum, or the least mean loss of the section), of the mean loss and its interval.
        best: Whether it is the best or the seeds cannot tell it from the best; False for everyone
            where single seeds have no order.
    """

    model: str
    kind: Kind
    place: int
    seeds: int
    solved: int
    parameters: int
    iterations: float | None
    seconds: float | None
    total_seconds: float
    metric: Estimate
    score: Estimate
    best: bool


@dataclass(frozen=True)
class TaskLine:
    """A task at one length, with the standings of all models.

    Attributes:
        section: Name of the section.
        task: Title of the task.
        form: Variant and length.
        length: T.
        metric_name: What the metric counts.
        solvable: Whether "solved" means something there (it does not for a text, whose entropy is
            unknown).
        standings: In the order of the overview: those that solve it with all their seeds first, by
            the seconds to there; then the others by score.
    """

    section: str
    task: str
    form: str
    length: int
    metric_name: str
    solvable: bool
    standings: tuple[Standing, ...]

    @property
    def solvers(self) -> tuple[Standing, ...]:
        """Those of which every seed solves the task."""
        return tuple(s for s in self.standings if s.seeds and s.solved == s.seeds)

    @property
    def smallest(self) -> Standing | None:
        """The solver with the fewest parameters."""
        return min(self.solvers, key=lambda s: s.parameters, default=None)

    @property
    def fastest(self) -> Standing | None:
        """The solver with the fewest seconds to there."""
        return min(self.solvers, key=lambda s: s.seconds or 0.0, default=None)


@dataclass(frozen=True)
class ModelLine:
    """A model over all tasks.

    Attributes:
        model: Its name.
        kind: A scheme or a baseline.
        solved: Names of the sections that all of its seeds solve.
        tried: Number of sections where "solved" means something and it was trained.
        best_in: Names of the sections where it is among the best.
        mean_score: Mean of its scores over all sections.
        parameters: Fewest and most parameters.
        ms_per_step: Median over its runs of the milliseconds a step takes.
        seconds: Training seconds of all its runs, mean over seeds.
    """

    model: str
    kind: Kind
    solved: tuple[str, ...]
    tried: int
    best_in: tuple[str, ...]
    mean_score: float
    parameters: tuple[int, int]
    ms_per_step: float
    seconds: float


@dataclass(frozen=True)
class Overview:
    """Who solves what.

    Attributes:
        sentences: What a reader takes away: how many models and tasks, who solves most, and what
            no model solves.
        tasks: A line for each task and length.
        models: A line for each model, those that solve most first.
    """

    sentences: tuple[str, ...]
    tasks: tuple[TaskLine, ...]
    models: tuple[ModelLine, ...]

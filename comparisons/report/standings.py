"""How the models stand on one task: which solve it, at what cost, and which may be the best."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from comparisons.models import is_baseline
from comparisons.records import Result
from comparisons.report.task_section import Section
from comparisons.results.intervals import Estimate, among_best, estimate
from comparisons.results.summary import Summary, solvable

Kind = Literal["scheme", "baseline"]
"""A scheme or a plug-in's model, or a usual network."""


@dataclass(frozen=True)
class Standing:
    """One configuration of a model on a task at one length.

    Where a model has several, such as sizes, it is the one of which most seeds solve the task, and
    of these the one with the least mean loss.

    Attributes:
        model: Name of the model (and its layer, as ``Summary.name``).
        kind: A scheme or a baseline.
        place: Index of its summary in the section's ``summaries``.
        others: Number of the model's other configurations.
        seeds: Number of seeds.
        solved: Number of them that solve the task.
        parameters: Trainable parameters of the whole model.
        iterations: Mean first evaluated iteration that solves the task, over the seeds that do;
            None if none does.
        seconds: Mean training seconds up to there.
        total_seconds: Mean training seconds of a run.
        metric: The task's metric over the seeds.
        loss: The test loss over the seeds, as a geometric mean.
        score: Share of the way from the memoryless baseline (0) to the best that is known (1): the
            optimum, 0 where none is known; where the task is not solvable, the least mean loss of
            the section, or 0 if that is above the baseline. It is the mean over the seeds, and nan
            where there is no way, since a model without memory reaches the optimum.
        best: Whether its loss may be the least: the seeds show no model with a smaller one. False
            for everyone if one model has a single seed, or if there is one model only.
    """

    model: str
    kind: Kind
    place: int
    others: int
    seeds: int
    solved: int
    parameters: int
    iterations: float | None
    seconds: float | None
    total_seconds: float
    metric: Estimate
    loss: Estimate
    score: Estimate
    best: bool

    @property
    def solves(self) -> bool:
        """Whether every seed solves the task."""
        return self.solved == self.seeds


@dataclass(frozen=True)
class TaskLine:
    """A task at one length, with the standings of all models.

    Attributes:
        section: Name of the section.
        task: Title of the task.
        form: Variant and length.
        length: T.
        metric_name: Name of the metric, with its unit.
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
        return tuple(standing for standing in self.standings if standing.solves)

    @property
    def marked(self) -> tuple[Standing, ...]:
        """Those that may be the best, by mean loss."""
        best = [standing for standing in self.standings if standing.best]
        return tuple(sorted(best, key=lambda s: s.loss.mean))

    @property
    def smallest(self) -> Standing | None:
        """The solver with the fewest parameters."""
        return min(self.solvers, key=lambda s: s.parameters, default=None)

    @property
    def fastest(self) -> Standing | None:
        """The solver with the fewest seconds to there."""
        return min(self.solvers, key=_seconds, default=None)


def task_line(section: Section) -> TaskLine:
    """The standings of the models of a section."""
    groups: dict[str, list[Summary]] = defaultdict(list)
    for summary in section.summaries:
        groups[summary.name].append(summary)
    chosen = [min(group, key=_preference) for group in groups.values()]
    best = among_best([summary.losses for summary in chosen])
    target = _target(section, chosen)
    standings = [
        _standing(summary, section, len(groups[summary.name]) - 1, target, is_best)
        for summary, is_best in zip(chosen, best, strict=True)
    ]
    return TaskLine(
        section=section.name,
        task=section.task.title,
        form=section.form,
        length=section.task.length,
        metric_name=section.task.metric_name,
        solvable=solvable(section.task),
        standings=tuple(sorted(standings, key=_place)),
    )


def _preference(summary: Summary) -> tuple[float, float]:
    loss = math.inf if math.isnan(summary.loss) else summary.loss
    return -len(summary.solutions) / len(summary.results), loss


def _target(section: Section, summaries: Sequence[Summary]) -> float:
    """The loss of score 1."""
    if solvable(section.task):
        return section.task.optimum or 0.0
    least = min((s.loss for s in summaries if math.isfinite(s.loss)), default=0.0)
    baselines = (result.without_memory for summary in summaries for result in summary.results)
    return least if least < min(baselines) else 0.0


def _standing(
    summary: Summary, section: Section, others: int, target: float, best: bool
) -> Standing:
    def score(result: Result) -> float:
        way = result.without_memory - target
        return (result.without_memory - result.chosen.test_loss) / way if way else math.nan

    results, solutions, task = summary.results, summary.solutions, section.task
    # Of a metric that needs both loss and accuracy, no limit is known: it is nan.
    reach = [task.metric(math.nan, accuracy) for accuracy in (0.0, 1.0)]
    reach += [task.metric(loss, math.nan) for loss in (0.0, math.inf)]
    limits = [limit for limit in reach if not math.isnan(limit)] or [math.nan]
    return Standing(
        model=summary.name,
        kind="baseline" if is_baseline(summary.model) else "scheme",
        place=section.summaries.index(summary),
        others=others,
        seeds=len(results),
        solved=len(solutions),
        parameters=results[0].parameters,
        iterations=_mean([float(point.iteration) for point in solutions]),
        seconds=_mean([point.seconds for point in solutions]),
        total_seconds=statistics.fmean(result.final.seconds for result in results),
        metric=estimate([summary.metric(r) for r in results]).within(min(limits), max(limits)),
        loss=estimate(summary.losses, positive=True),
        score=estimate([score(result) for result in results]).within(
            math.nan, 1.0 if solvable(task) else math.nan
        ),
        best=best,
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _seconds(standing: Standing) -> float:
    return math.inf if standing.seconds is None else standing.seconds


def _place(standing: Standing) -> tuple[bool, float, str]:
    if standing.solves:
        return False, _seconds(standing), standing.model
    score = standing.score.mean
    return True, math.inf if math.isnan(score) else -score, standing.model

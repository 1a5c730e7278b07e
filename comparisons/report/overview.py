"""Who solves what: for each task the models that solve it, and for each model the tasks."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
            the section, or 0 if that is above the baseline. It is the mean over the seeds.
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
        return tuple(standing for standing in self.standings if _solves(standing))

    @property
    def smallest(self) -> Standing | None:
        """The solver with the fewest parameters."""
        return min(self.solvers, key=lambda s: s.parameters, default=None)

    @property
    def fastest(self) -> Standing | None:
        """The solver with the fewest seconds to there."""
        return min(self.solvers, key=_seconds, default=None)


@dataclass(frozen=True)
class ModelLine:
    """A model over all tasks.

    Attributes:
        model: Its name.
        kind: A scheme or a baseline.
        solved: Names of the sections that all of its seeds solve.
        tried: Number of sections where "solved" means something and it was trained.
        best_in: Names of the sections where it is among the best.
        mean_score: Mean over all its sections of its scores, of which those below 0 count as 0.
        parameters: Fewest and most parameters of the configurations in the overview.
        ms_per_step: Median over their runs of the milliseconds that a step takes.
        seconds: Training seconds over all its sections, of the mean run.
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
            no model solves; none if nothing has finished.
        tasks: A line for each task and length.
        models: A line for each model, those that solve most first.
    """

    title = "Who solves what"
    models_title = "All models over all tasks, those that solve the most first:"
    matrix_title = "The metric of all models on all tasks, as mean [interval of 95 %]:"
    sentences: tuple[str, ...]
    tasks: tuple[TaskLine, ...]
    models: tuple[ModelLine, ...]


NAMED = 4
"""Number of models that a sentence names."""


def build_overview(sections: Sequence[Section]) -> Overview:
    """Who solves what in some sections."""
    tasks = tuple(_task_line(section) for section in sections)
    return Overview(tuple(_sentences(tasks, models := _models(tasks, sections))), tasks, models)


def _task_line(section: Section) -> TaskLine:
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
        return (result.without_memory - result.chosen.test_loss) / (result.without_memory - target)

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


def _solves(standing: Standing) -> bool:
    return standing.solved == standing.seeds


def _seconds(standing: Standing) -> float:
    return math.inf if standing.seconds is None else standing.seconds


def _place(standing: Standing) -> tuple[bool, float, str]:
    if _solves(standing):
        return False, _seconds(standing), standing.model
    score = standing.score.mean
    return True, math.inf if math.isnan(score) else -score, standing.model


def _models(tasks: Sequence[TaskLine], sections: Sequence[Section]) -> tuple[ModelLine, ...]:
    found: dict[str, list[tuple[TaskLine, Standing, Summary]]] = defaultdict(list)
    for task, section in zip(tasks, sections, strict=True):
        for standing in task.standings:
            summary = section.summaries[standing.place]
            found[standing.model].append((task, standing, summary))
    lines = [_model_line(name, entries) for name, entries in found.items()]
    return tuple(sorted(lines, key=lambda m: (-len(m.solved), -m.mean_score, m.model)))


def _model_line(name: str, entries: Sequence[tuple[TaskLine, Standing, Summary]]) -> ModelLine:
    standings = [standing for _, standing, _ in entries]
    scores = [standing.score.mean for standing in standings]
    parameters = [standing.parameters for standing in standings]
    steps = [result.ms_per_step for _, _, summary in entries for result in summary.results]
    return ModelLine(
        model=name,
        kind=standings[0].kind,
        solved=tuple(task.section for task, standing, _ in entries if _solves(standing)),
        tried=sum(task.solvable for task, _, _ in entries),
        best_in=tuple(task.section for task, standing, _ in entries if standing.best),
        # Comparisons with nan are false, so that it counts as 0, too.
        mean_score=statistics.fmean(score if score > 0 else 0.0 for score in scores),
        parameters=(min(parameters), max(parameters)),
        ms_per_step=statistics.median(steps),
        seconds=math.fsum(standing.total_seconds for standing in standings),
    )


def _sentences(tasks: Sequence[TaskLine], models: Sequence[ModelLine]) -> Iterator[str]:
    if not models:
        return
    seeds = {standing.seeds for task in tasks for standing in task.standings}
    schemes = sum(model.kind == "scheme" for model in models)
    yield (
        f"{_count(schemes, 'scheme')} and {_count(len(models) - schemes, 'baseline')} on "
        f"{_count(len(tasks), 'task')}, with {_range(seeds)} each."
    )
    solvable_tasks = [task for task in tasks if task.solvable]
    if solvable_tasks:
        yield from _solving(solvable_tasks, models)
    if min(seeds) == 1:
        yield (
            "Single seeds have no order: on a task where a model has only one, no model is marked "
            "as best."
        )


def _solving(tasks: Sequence[TaskLine], models: Sequence[ModelLine]) -> Iterator[str]:
    most = max(len(model.solved) for model in models)
    if not most:
        yield "No model solves a task with all of its seeds."
        return
    first = [model.model for model in models if len(model.solved) == most]
    verb = "solves" if len(first) == 1 else "solve"
    yield (
        f"{in_words(first)} {verb} the most, with all seeds: {most} of the "
        f"{_count(len(tasks), 'task')} that can be solved."
    )
    unsolved = [f"{task.task} ({task.form})" for task in tasks if not task.solvers]
    if unsolved:
        yield f"No model solves {in_words(unsolved, len(unsolved), 'or')} with all of its seeds."


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _range(seeds: set[int]) -> str:
    least, most = min(seeds), max(seeds)
    return _count(most, "seed") if least == most else f"{least} to {most} seeds"


def in_words(names: Sequence[str], limit: int = NAMED, word: str = "and") -> str:
    """The names as an enumeration; if there are more than the limit, the last are counted."""
    if len(names) > limit:
        names = [*names[: limit - 1], f"{len(names) - limit + 1} others"]
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1])))

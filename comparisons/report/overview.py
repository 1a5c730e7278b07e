"""Who solves what: for each task the models that solve it, and for each model the tasks."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comparisons.report.standings import Kind, Standing, TaskLine, task_line
from comparisons.report.task_section import Section
from comparisons.results.summary import Summary
from comparisons.results.text import enumerated


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
        deviation: Why its weight is not unitary; "" if it is, or if the model is a baseline.
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
    deviation: str = ""


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


def build_overview(sections: Sequence[Section]) -> Overview:
    """Who solves what in some sections."""
    tasks = tuple(task_line(section) for section in sections)
    return Overview(tuple(_sentences(tasks, models := _models(tasks, sections))), tasks, models)


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
        solved=tuple(task.section for task, standing, _ in entries if standing.solves),
        tried=sum(task.solvable for task, _, _ in entries),
        best_in=tuple(task.section for task, standing, _ in entries if standing.best),
        # Comparisons with nan are false, so that it counts as 0, too.
        mean_score=statistics.fmean(score if score > 0 else 0.0 for score in scores),
        parameters=(min(parameters), max(parameters)),
        ms_per_step=statistics.median(steps),
        seconds=math.fsum(standing.total_seconds for standing in standings),
        deviation=next((s.deviation for _, _, s in entries if s.deviation), ""),
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
        f"{enumerated(first)} {verb} the most, with all seeds: {most} of the "
        f"{_count(len(tasks), 'task')} that can be solved."
    )
    for model in models:
        if model.model in first and model.deviation:
            yield f"{model.model} is {model.deviation}."
    unsolved = [f"{task.task} ({task.form})" for task in tasks if not task.solvers]
    if unsolved:
        yield f"No model solves {enumerated(unsolved, len(unsolved), 'or')} with all of its seeds."


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _range(seeds: set[int]) -> str:
    least, most = min(seeds), max(seeds)
    return _count(most, "seed") if least == most else f"{least} to {most} seeds"

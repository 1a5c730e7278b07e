"""The overview as tables: of the tasks, of the models, and of all models on all tasks."""

from __future__ import annotations

from comparisons.report.overview import ModelLine, Overview
from comparisons.report.standings import Standing, TaskLine
from comparisons.report.tables import Line, Table
from comparisons.results.intervals import Estimate
from comparisons.results.text import NONE, enumerated, format_cell, format_seconds

BEST = "★"
"""Marks models that may have the least loss: the seeds show no smaller one."""


def task_table(overview: Overview) -> Table:
    """Who solves each task, who needs the least for it, and who has the least loss."""
    columns = ("task", "solved by", "fastest solver", "smallest solver", BEST)
    lines = tuple(Line(_task_cells(task), "scheme") for task in overview.tasks)
    return Table(columns, lines, texts=tuple(column for column in columns if column != "solved by"))


def model_table(overview: Overview) -> Table:
    """What each model solves, and what it costs."""
    columns = (
        "model", "solved", f"{BEST} on", "mean score", "parameters", "ms / step", "training time",
    )  # fmt: skip
    return Table(columns, tuple(Line(_model_cells(line), line.kind) for line in overview.models))


def matrix_table(overview: Overview) -> Table:
    """The metric of all models on all tasks, with intervals, in the order of the models."""
    columns = [f"{task.task}, {task.form}: {task.metric_name}" for task in overview.tasks]
    places = [{s.model: s for s in task.standings} for task in overview.tasks]
    lines = [
        Line((line.model, *(_matrix_cell(place.get(line.model)) for place in places)), line.kind)
        for line in overview.models
    ]
    return Table(("model", *columns), tuple(lines))


def with_interval(value: Estimate) -> str:
    """The mean and its interval; the mean alone where there is none."""
    if value.low is None or value.high is None:
        return format_cell(value.mean)
    return f"{format_cell(value.mean)} [{format_cell(value.low)}, {format_cell(value.high)}]"


def _task_cells(task: TaskLine) -> tuple[str, ...]:
    best = [standing.model for standing in task.marked]
    solvers, fastest, smallest = task.solvers, task.fastest, task.smallest
    return (
        f"{task.task}, {task.form}",
        f"{len(solvers)} of {len(task.standings)}" if task.solvable else NONE,
        f"{fastest.model}: {_time(fastest)}" if fastest else NONE,
        f"{smallest.model}: {smallest.parameters:,}" if smallest else NONE,
        enumerated(best) if best else NONE,
    )


def _time(standing: Standing) -> str:
    return NONE if standing.seconds is None else format_seconds(standing.seconds)


def _model_cells(line: ModelLine) -> tuple[str, ...]:
    return (
        line.model,
        f"{len(line.solved)} of {line.tried}" if line.tried else NONE,
        str(len(line.best_in)),
        f"{line.mean_score:.2f}",
        " – ".join(f"{count:,}" for count in dict.fromkeys(line.parameters)),
        format_cell(line.ms_per_step),
        format_seconds(line.seconds),
    )


def _matrix_cell(standing: Standing | None) -> str:
    if standing is None:
        return ""
    text = with_interval(standing.metric)
    return f"{text} {BEST}" if standing.best else text

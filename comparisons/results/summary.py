"""Summaries of the runs of one configuration over its seeds."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from comparisons.models import is_baseline, relevant_setting
from comparisons.records import Point, Result, Setting
from comparisons.results.text import NONE, format_cell
from comparisons.tasks import TASKS, Task

SOLVED = 0.1
"""A task is solved below this share of the way from the optimum to the loss without memory."""
LABEL_WIDTH = 40  # characters of a line in a legend, beside which a figure has room for its axes
NOT_UNITARY = "†"
"""Marks models that are not unitary by construction."""
STOPPED = "‡"
"""Marks models of which a seed ended before its last iteration."""
_STOPS = {"plateau": "ended on a plateau", "diverged": "diverged"}


@dataclass(frozen=True)
class Summary:
    """Results of one model in one configuration, by seed.

    Attributes:
        results: A result for each seed.
        task: The task in the runs' variant and length.
    """

    results: tuple[Result, ...]
    task: Task

    @property
    def model(self) -> str:
        """Name of the scheme or baseline."""
        return self.results[0].run.model

    @property
    def setting(self) -> Setting:
        """The setting, which all seeds share."""
        return self.results[0].run.setting

    @property
    def name(self) -> str:
        """The model, and its layer where it is not the usual one."""
        usual = self.setting.model.layer == "rnn" or is_baseline(self.model)
        return self.model if usual else f"{self.model} {self.setting.model.layer.upper()}"

    @property
    def label(self) -> str:
        """The model and its size, for figures and remarks."""
        return f"{self.name}, n = {self.setting.model.hidden_size}"

    @property
    def particulars(self) -> tuple[str, ...]:
        """Properties in which two summaries of one model and size may differ."""
        training, device = self.setting.training, self.results[0].run.device
        parts = relevant_setting(self.model, self.setting).particulars
        return f"{training.iterations:,} × {training.batch_size}", *parts, device

    @property
    def training(self) -> str:
        """Optimizers, and the other parts of the setting that are not at their default."""
        return relevant_setting(self.model, self.setting).summary

    @property
    def deviation(self) -> str:
        """Reason why the weight is not unitary; "" if it is, or if the model is a baseline."""
        return self.results[0].deviation

    @property
    def losses(self) -> tuple[float, ...]:
        """Test loss of the evaluation that is reported, for each seed."""
        return tuple(result.chosen.test_loss for result in self.results)

    @property
    def loss(self) -> float:
        """Mean of the losses."""
        return statistics.fmean(self.losses)

    @property
    def validated(self) -> bool:
        """Whether a validation set chose the evaluation."""
        return self.results[0].chosen.valid_loss is not None

    @property
    def selected(self) -> bool:
        """Whether the evaluation that is reported is selected, and not just the last one."""
        return self.validated or self.setting.evaluation.report_best_test

    @property
    def solutions(self) -> tuple[Point, ...]:
        """The first evaluation that solves the task (see :data:`SOLVED`), of the seeds that do."""
        if not solvable(self.task):
            return ()
        firsts = (_first_solved(result, self.task.optimum or 0.0) for result in self.results)
        return tuple(first for first in firsts if first is not None)

    def metric(self, result: Result) -> float:
        """The task's metric on the test set, from the evaluation that is reported."""
        return self.task.metric(result.chosen.test_loss, result.chosen.test_accuracy)

    def validation(self, result: Result) -> float | None:
        """The task's metric on the validation set, or the loss if it does not give the metric."""
        loss = result.chosen.valid_loss
        if loss is None:
            return None
        metric = self.task.metric(loss, math.nan)  # only the loss is measured there
        return loss if math.isnan(metric) else metric

    def mean(self, value: Callable[[Result], float | None], digits: int = 3) -> str:
        """Mean and, for several seeds, standard deviation; a dash if a seed has no value."""
        values = [value(result) for result in self.results]
        known = [v for v in values if v is not None]
        if len(known) < len(values):
            return NONE
        mean = format_cell(statistics.fmean(known), digits)
        return f"{mean} ± {format_cell(statistics.stdev(known), 2)}" if len(known) > 1 else mean

    def measured(self) -> str:
        """The mean metric and, where seeds are restarts of one problem, the best one's too."""
        mean, count = self.mean(self.metric), len(self.results)
        if not self.task.restarts or count == 1:
            return mean
        best = min(self.results, key=lambda result: result.chosen.test_loss)
        return f"{mean}, best of {count}: {format_cell(self.metric(best))}"

    def solved_at(self) -> str:
        """Mean of the first evaluated iterations that solve the task (see :data:`SOLVED`)."""
        known, seeds = [point.iteration for point in self.solutions], len(self.results)
        if not known:
            return NONE
        text = f"{statistics.fmean(known):,.0f}"
        return text if len(known) == seeds else f"{text} ({len(known)}/{seeds} seeds)"

    def stops(self) -> str:
        """A sentence on the seeds that ended before their last iteration; "" without any."""
        seeds = [
            f"seed {result.run.seed} {_STOPS.get(result.stopped, result.stopped)} after the "
            f"evaluation at {result.final.iteration:,}"
            for result in self.results
            if result.stopped
        ]
        return f"{self.label}: {', '.join(seeds)}." if seeds else ""

    def cells(self, note: str) -> dict[str, str]:
        """The cells of a line of a table by column; ``note`` refers to the setting's source."""
        first, model, training = self.results[0], self.setting.model, self.setting.training
        marks = (NOT_UNITARY, self.deviation), (STOPPED, self.stops())
        name = " ".join([self.name, *(mark for mark, reason in marks if reason)])
        return {
            "model": name if first.run.device == "cpu" else f"{name} ({first.run.device})",
            "n": str(model.hidden_size),
            "parameters (of W)": f"{first.parameters:,} ({first.recurrent_parameters:,})",
            "iterations × batch": f"{training.iterations:,} × {training.batch_size}",
            "test loss": self.mean(lambda result: result.chosen.test_loss),
            self.task.metric_name: self.measured(),
            "validation": self.mean(self.validation),
            "best at": self.mean(lambda result: result.chosen.iteration, 4),
            "solved at": self.solved_at(),
            "ms / step": self.mean(lambda result: result.ms_per_step),
            "peak MB": self.mean(lambda result: result.peak_memory_mb),
            "defect start": self.mean(lambda result: result.defect_start, 2),
            "defect end": self.mean(lambda result: result.defect_end, 2),
            "training": self.training,
            "settings": note,
        }


def labels(summaries: Sequence[Summary]) -> list[str]:
    """Labels for figures: model and size and, where these are equal, what differs."""
    found = []
    for summary in summaries:
        alike = [set(other.particulars) for other in summaries if other.label == summary.label]
        shared = set.intersection(*alike)
        own = [part for part in summary.particulars if part not in shared]
        found.append(textwrap.fill(", ".join([summary.label, *own]), LABEL_WIDTH))
    return found


def summarize(results: Iterable[Result]) -> dict[tuple[str, str, int], list[Summary]]:
    """Summaries by task, variant and length, each group in the order of :func:`in_order`."""
    seeds: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        seeds[replace(result.run, seed=0).id].append(result)
    found: dict[tuple[str, str, int], list[Summary]] = defaultdict(list)
    tasks: dict[tuple[str, str, int], Task] = {}
    for group in seeds.values():
        run = group[0].run
        key = (run.task, run.variant, run.length)
        if key not in tasks:
            tasks[key] = TASKS.get(run.task)(run.length, run.variant)
        ordered = tuple(sorted(group, key=lambda result: result.run.seed))
        found[key].append(Summary(ordered, tasks[key]))
    return {key: in_order(group) for key, group in found.items()}


def solvable(task: Task) -> bool:
    """Whether "solved" means something: not on a text, whose entropy, the optimum, is unknown."""
    return not (task.tokens and task.per_step)


def ranked(summaries: Iterable[Summary]) -> bool:
    """Whether every summary has several seeds; the losses of single seeds have no order."""
    return all(len(summary.results) > 1 for summary in summaries)


def in_order(summaries: Sequence[Summary]) -> list[Summary]:
    """The least loss first if all have several seeds; otherwise by name, schemes first."""
    if ranked(summaries):
        return sorted(summaries, key=lambda summary: summary.loss)
    return sorted(
        summaries,
        key=lambda summary: (
            is_baseline(summary.model),
            summary.name,
            summary.setting.model.hidden_size,
            summary.training,
        ),
    )


def points_by_iteration(results: Iterable[Result]) -> list[tuple[Point, ...]]:
    """The evaluations of several seeds at each iteration, of those that came so far."""
    points: dict[int, list[Point]] = defaultdict(list)
    for result in results:
        for point in result.curve:
            points[point.iteration].append(point)
    return [tuple(points[iteration]) for iteration in sorted(points)]


def _first_solved(result: Result, optimum: float) -> Point | None:
    def solved(point: Point) -> bool:
        return point.test_loss - optimum <= SOLVED * (result.without_memory - optimum)

    return next((point for point in result.curve if solved(point)), None)

"""A row of a table: one model in one configuration, over its seeds."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from comparisons.models import is_baseline, training_of
from comparisons.records import Point, Result, Setting
from comparisons.tasks import Task

SOLVED = 0.1  # a model has solved a task below this share of the way from optimum to baseline
LABEL_WIDTH = 40  # characters of a line in a legend, beside which a figure has room for its axes
NONE = "–"
NOT_UNITARY = "†"


@dataclass(frozen=True)
class Row:
    """One model in one configuration, over its seeds."""

    results: tuple[Result, ...]
    task: Task

    @property
    def model(self) -> str:
        """The scheme or baseline."""
        return self.results[0].run.model

    @property
    def setting(self) -> Setting:
        """What all its seeds share."""
        return self.results[0].run.setting

    @property
    def name(self) -> str:
        """The model, and its layer where it is not the usual one."""
        usual = self.setting.layer == "rnn" or is_baseline(self.model)
        return self.model if usual else f"{self.model} {self.setting.layer.upper()}"

    @property
    def label(self) -> str:
        """For figures and remarks."""
        return f"{self.name}, n = {self.setting.hidden_size}"

    @property
    def particulars(self) -> tuple[str, ...]:
        """Everything beside model and size that can tell two rows apart."""
        s, device = self.setting, self.results[0].run.device
        return f"{s.iterations:,} × {s.batch_size}", *self.training.split(", "), device

    @property
    def training(self) -> str:
        """Optimizers, and all else in the setting that is not usual and goes for this model."""
        return training_of(self.model, self.setting)

    @property
    def deviation(self) -> str:
        """Why the weight is not unitary, if the scheme says so."""
        return self.results[0].deviation

    @property
    def loss(self) -> float:
        """Mean test loss, of the evaluation that validation chose where there is validation."""
        return statistics.fmean(result.chosen.test_loss for result in self.results)

    @property
    def validated(self) -> bool:
        """Whether a validation set chose the evaluation."""
        return self.results[0].chosen.valid_loss is not None

    @property
    def chosen(self) -> bool:
        """Whether the evaluation that is reported need not be the last one."""
        return self.validated or self.setting.best_test

    def metric(self, result: Result) -> float:
        """The task's metric on the test set, of the same evaluation as :attr:`loss`."""
        return self.task.metric(result.chosen.test_loss, result.chosen.test_accuracy)

    def validation(self, result: Result) -> float | None:
        """The task's metric on the validation set, or the loss if it needs more than that."""
        loss = result.chosen.valid_loss
        if loss is None:
            return None
        metric = self.task.metric(loss, math.nan)  # only the loss is measured there
        return loss if math.isnan(metric) else metric

    def mean(self, value: Callable[[Result], float | None], digits: int = 3) -> str:
        """Mean and, of several seeds, standard deviation; a dash if a seed has no value."""
        values = [value(result) for result in self.results]
        known = [v for v in values if v is not None]
        if len(known) < len(values):
            return NONE
        mean = number(statistics.fmean(known), digits)
        return f"{mean} ± {number(statistics.stdev(known), 2)}" if len(known) > 1 else mean

    def measured(self) -> str:
        """The mean metric and, where seeds are restarts, that of the least test loss."""
        mean, count = self.mean(self.metric), len(self.results)
        if not self.task.restarts or count == 1:
            return mean
        best = min(self.results, key=lambda result: result.chosen.test_loss)
        return f"{mean}, best of {count}: {number(self.metric(best), 3)}"

    def solved_at(self) -> str:
        """The first evaluated iteration within a tenth of the way from optimum to baseline."""
        optimum = self.task.optimum or 0.0
        firsts = [_first_solved(result, optimum) for result in self.results]
        known = [first for first in firsts if first is not None]
        if not known:
            return NONE
        text = f"{statistics.fmean(known):,.0f}"
        return text if len(known) == len(firsts) else f"{text} ({len(known)}/{len(firsts)} seeds)"

    def cells(self, note: str) -> dict[str, str]:
        """Texts by column; ``note`` refers to the source of the settings."""
        first, setting = self.results[0], self.setting
        name = self.name + (f" {NOT_UNITARY}" if self.deviation else "")
        return {
            "model": name if first.run.device == "cpu" else f"{name} ({first.run.device})",
            "n": str(setting.hidden_size),
            "parameters (of W)": f"{first.parameters:,} ({first.recurrent_parameters:,})",
            "iterations × batch": f"{setting.iterations:,} × {setting.batch_size}",
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


def labels(rows: Sequence[Row]) -> list[str]:
    """For figures: model and size, and where rows share these, that in which they differ."""
    found = []
    for row in rows:
        alike = [set(other.particulars) for other in rows if other.label == row.label]
        shared = set.intersection(*alike)
        own = [part for part in row.particulars if part not in shared]
        found.append(textwrap.fill(", ".join([row.label, *own]), LABEL_WIDTH))
    return found


def rows(
    results: Iterable[Result], task_of: Callable[[str, int, str], Task]
) -> dict[tuple[str, str, int], list[Row]]:
    """Rows by task, variant and length, seeds of one configuration together, best first."""
    seeds: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        seeds[replace(result.run, seed=0).id].append(result)
    found: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    tasks: dict[tuple[str, str, int], Task] = {}
    for group in seeds.values():
        run = group[0].run
        key = (run.task, run.variant, run.length)
        if key not in tasks:
            tasks[key] = task_of(run.task, run.length, run.variant)
        ordered = tuple(sorted(group, key=lambda result: result.run.seed))
        found[key].append(Row(ordered, tasks[key]))
    return {key: sorted(group, key=lambda row: row.loss) for key, group in found.items()}


def _first_solved(result: Result, optimum: float) -> int | None:
    def solved(point: Point) -> bool:
        return point.test_loss - optimum <= SOLVED * (result.baseline - optimum)

    return next((point.iteration for point in result.curve if solved(point)), None)


def number(value: float, digits: int) -> str:
    """With so many significant digits, large ones whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"

"""The cells of the page's tables: what they show, and the number by which a column is sorted."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from comparisons.records import Result
from comparisons.report.sections import Report
from comparisons.report.standings import Standing
from comparisons.report.tables import TEXT_COLUMNS
from comparisons.report.task_section import Section
from comparisons.results.intervals import Estimate
from comparisons.results.summary import Summary
from comparisons.results.text import NONE, format_cell

LAST = 1e300
"""Sorts values that are not known after all others."""
Order = float | str
"""Sorts a cell; "" sorts it by its text."""


@dataclass(frozen=True)
class ResultsLine:
    """A line of a results table.

    Attributes:
        kind: "scheme", "baseline" or "bound".
        place: Index of the summary in the section; None for a loss known without training.
        cells: Text and order of each cell.
    """

    kind: str
    place: int | None
    cells: tuple[tuple[str, Order], ...]


@dataclass(frozen=True)
class MatrixCell:
    """A model on a task.

    Attributes:
        standing: Its standing.
        section: Name of the section.
        shown: Text, note below it and order of each value that the matrix can show, by its name.
    """

    standing: Standing
    section: str
    shown: dict[str, tuple[str, str, float]]


@dataclass(frozen=True)
class SpeedLine:
    """A model's cost over all of its runs: medians, and the least and the largest size.

    ``memory`` is the peak in MB; None where no run told it.
    """

    model: str
    kind: str
    ms_per_step: float
    memory: float | None
    parameters: tuple[int, int]
    seconds: float
    score: float


def main_columns(section: Section) -> tuple[str, ...]:
    """The columns that have room beside a figure; defects have a figure of their own, too."""
    return tuple(column for column in section.main_columns if column != "defect end")


def results_lines(section: Section) -> list[ResultsLine]:
    """The lines of a section's table, with the numbers behind their texts."""
    columns, lines, place = section.table.columns, [], 0
    for line in section.table.lines:
        if line.kind == "bound":
            loss = dict(section.levels.baselines()).get(line.cells[0], section.levels.optimum)
            orders: dict[str, float] = {"test loss": LAST if loss is None else loss}
            own = None
        else:  # they are in the order of the summaries
            orders, own, place = _orders(section.summaries[place]), place, place + 1
        cells = tuple(
            (text, "" if column in TEXT_COLUMNS else _short(orders.get(column, LAST)))
            for column, text in zip(columns, line.cells, strict=True)
        )
        lines.append(ResultsLine(line.kind, own, cells))
    return lines


def _orders(summary: Summary) -> dict[str, float]:
    model, training = summary.setting.model, summary.setting.training

    def mean(value: Callable[[Result], float | None]) -> float:
        return _mean([v for result in summary.results if (v := value(result)) is not None])

    return {
        "n": model.hidden_size,
        "parameters (of W)": summary.results[0].parameters,
        "iterations × batch": training.iterations * training.batch_size,
        "test loss": summary.loss,
        summary.task.metric_name: mean(summary.metric),
        "validation": mean(summary.validation),
        "best at": mean(lambda result: result.chosen.iteration),
        "solved at": _mean([point.iteration for point in summary.solutions]),
        "ms / step": mean(lambda result: result.ms_per_step),
        "peak MB": mean(lambda result: result.peak_memory_mb),
        "defect start": mean(lambda result: result.defect_start),
        "defect end": mean(lambda result: result.defect_end),
    }


def _short(order: float) -> float:
    """The number to as many digits as sorting needs; more would make the page larger."""
    return float(f"{order:.6g}")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return statistics.fmean(known) if known else LAST


def matrix_lines(report: Report) -> list[tuple[str, str, list[MatrixCell | None]]]:
    """Name, kind and cells of each model, in the order of the overview."""
    by_model: dict[str, dict[str, Standing]] = defaultdict(dict)
    for line in report.overview.tasks:
        for standing in line.standings:
            by_model[standing.model][line.section] = standing
    return [
        (
            line.model,
            line.kind,
            [
                _matrix_cell(by_model[line.model].get(task.section), task.section)
                for task in report.overview.tasks
            ],
        )
        for line in report.overview.models
    ]


def _matrix_cell(standing: Standing | None, section: str) -> MatrixCell | None:
    if standing is None:
        return None
    score, metric, loss = standing.score, standing.metric, standing.loss
    seeds = f"{standing.seeds} seed{'s' * (standing.seeds > 1)}"
    return MatrixCell(
        standing,
        section,
        {
            "score": (
                format_score(score.mean),
                interval(score, "{:.2f}") or seeds,
                -LAST if math.isnan(score.mean) else _short(score.mean),
            ),
            "metric": (format_cell(metric.mean), interval(metric) or seeds, _short(metric.mean)),
            "loss": (format_cell(loss.mean), interval(loss) or seeds, _short(loss.mean)),
        },
    )


def format_score(score: float) -> str:
    """A score to two places; a dash where it is not defined."""
    return NONE if math.isnan(score) else f"{score:.2f}"


def interval(estimate: Estimate, form: str = "{:.3g}") -> str:
    """The interval in words; "" for a single seed, which has none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{form.format(estimate.low)} – {form.format(estimate.high)}"


def speed_lines(report: Report) -> list[SpeedLine]:
    """The cost of each model, in the order of the overview."""
    results: dict[str, list[Result]] = defaultdict(list)
    for section in report.sections:
        for summary in section.summaries:
            results[summary.name].extend(summary.results)
    return [
        SpeedLine(
            line.model,
            line.kind,
            line.ms_per_step,
            _median([result.peak_memory_mb for result in results[line.model]]),
            line.parameters,
            line.seconds,
            line.mean_score,
        )
        for line in report.overview.models
    ]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None

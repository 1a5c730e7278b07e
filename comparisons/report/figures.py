"""Figures of the report: draw the lines of a section, and write SVG and PNG."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from comparisons.models import is_baseline
from comparisons.output import write_file
from comparisons.records import Point
from comparisons.report.highlights import highlighted, others
from comparisons.report.levels import Levels
from comparisons.report.size_figure import metric_against_size
from comparisons.report.style import (
    COLUMN,
    COLUMN_WIDTH,
    OTHERS,
    PALETTE,
    RC,
    count_of_others,
)
from comparisons.report.task_section import Section, Series
from comparisons.results.summary import points_by_iteration


@dataclass(frozen=True)
class Drawing:
    """A figure with its title and the stem of its file name."""

    name: str
    title: str
    figure: Figure


def drawings(section: Section) -> tuple[Drawing, ...]:
    """Draw the figures of a section."""
    task, name = section.task, section.name
    if section.size_curves:
        # A line for each model and size in the other figures would be more than an eye can follow.
        # If the metric needs more than the loss, its best value is not known.
        best = math.nan if task.optimum is None else task.metric(task.optimum, math.nan)
        figure = metric_against_size(
            section.size_curves,
            task.metric_name,
            None if math.isnan(best) else best,
            task.halve_unitary_units,
            {line.model for line in highlighted(section.series)},
        )
        return (Drawing(f"{name}-sizes", f"{task.metric_name} by size", figure),)
    arguments = (section.series, section.levels, task.loss_name)
    found = [
        Drawing(f"{name}-curves", "Learning curves", learning_curves(*arguments)),
        Drawing(f"{name}-time", "Loss against time", loss_against_time(*arguments)),
        Drawing(
            f"{name}-parameters", "Loss against parameters", loss_against_parameters(*arguments)
        ),
    ]
    # A plug-in's model may have no unitary weight; a baseline's defect alone says little.
    if any(
        not is_baseline(summary.model) and summary.results[0].defect_end is not None
        for summary in section.summaries
    ):
        found.append(Drawing(f"{name}-defect", "Unitarity defect", defects(section.series)))
    return tuple(found)


def learning_curves(series: Sequence[Series], levels: Levels, loss_name: str) -> Figure:
    """Draw the test loss against the number of iterations."""
    return _curves(series, levels, loss_name, "iterations", lambda point: point.iteration)


def loss_against_time(series: Sequence[Series], levels: Levels, loss_name: str) -> Figure:
    """Draw the test loss against the time spent in training steps."""
    return _curves(series, levels, loss_name, "training time (s)", lambda point: point.seconds)


def loss_against_parameters(series: Sequence[Series], levels: Levels, loss_name: str) -> Figure:
    """Draw the reported test loss against the number of trainable parameters."""
    with mpl.rc_context(COLUMN):
        figure, axes = _axes(loss_name, "trainable parameters")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for line in others(series):
            places = [line.results[0].parameters]
            axes.plot(places, [_mean_loss(line)], ".", markersize=3, **OTHERS)
        for line in highlighted(series):
            losses = [result.chosen.test_loss for result in line.results]
            place, color = line.results[0].parameters, line.style.color
            look: dict[str, Any] = {"color": color, "marker": line.style.marker, "ls": "none"}
            axes.plot(place, _mean_loss(line), label=line.label, **look)
            axes.plot([place, place], [min(losses), max(losses)], color=color, lw=1)
        title = _name_others(axes, series, marker=".", ls="none", markersize=3)
        return _finish(figure, axes, levels, title)


def defects(series: Sequence[Series]) -> Figure:
    """Draw the unitarity defect of each scheme's recurrent matrix before and after training."""
    lines = [line for line in series if line.results[0].defect_end is not None]
    with mpl.rc_context(COLUMN):
        size = COLUMN_WIDTH, 0.7 + 0.15 * len(lines)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        for row, line in enumerate(lines):
            # An exactly zero defect, such as that of the identity, has no place on a log scale.
            start = max(max(r.defect_start or 0.0 for r in line.results), 1e-17)
            end = max(max(r.defect_end or 0.0 for r in line.results), 1e-17)
            axes.plot([start, end], [row, row], color="#bbbbbb", zorder=1)
            marker: dict[str, Any] = {"color": PALETTE[0], "marker": "o", "linestyle": "none"}
            axes.plot(start, row, fillstyle="none", label="start" if row == 0 else None, **marker)
            axes.plot(end, row, label="end" if row == 0 else None, **marker)
        axes.set_yticks(range(len(lines)), [" ".join(line.label.split()) for line in lines])
        axes.set_xlabel("defect  ‖WᴴW − I‖₂  (worst seed)", loc="right")
        axes.invert_yaxis()
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def _curves(
    series: Sequence[Series],
    levels: Levels,
    loss_name: str,
    x_name: str,
    x: Callable[[Point], float],
) -> Figure:
    with mpl.rc_context(COLUMN):
        figure, axes = _axes(loss_name, x_name)
        for line in others(series):
            places, losses = _curve(line, x)
            axes.plot(places, list(map(statistics.fmean, losses)), **OTHERS)
        for line in highlighted(series):
            places, losses = _curve(line, x)
            color, means = line.style.color, list(map(statistics.fmean, losses))
            axes.plot(places, means, color=color, linestyle=line.style.dash, label=line.label)
            if len(line.results) > 1:
                low, high = map(min, losses), map(max, losses)
                axes.fill_between(places, list(low), list(high), color=color, alpha=0.15, lw=0)
        title = _name_others(axes, series)
        # The first losses can be a hundred times the baseline; what matters lies below it.
        shown = [result for line in highlighted(series) for result in line.results]
        worst = max(result.final.test_loss for result in shown)
        axes.set_ylim(top=min(axes.get_ylim()[1], max(5 * levels.constant, 1.5 * worst)))
        return _finish(figure, axes, levels, title)


def _curve(line: Series, x: Callable[[Point], float]) -> tuple[list[float], list[list[float]]]:
    """Places of the evaluations, and the test losses of the seeds at each."""
    # Seeds of one configuration are evaluated at the same iterations; some may end early.
    columns = points_by_iteration(line.results)
    places = [statistics.median(map(x, points)) for points in columns]
    return places, [[point.test_loss for point in points] for points in columns]


def _mean_loss(line: Series) -> float:
    return statistics.fmean(result.chosen.test_loss for result in line.results)


def _name_others(axes: Axes, series: Sequence[Series], **look: Any) -> str:
    """Give all lines without a look of their own one entry of the legend; return its title."""
    count = len(others(series))
    if not count:
        return ""
    axes.add_line(Line2D([], [], label=count_of_others(count), **{**OTHERS, **look}))
    seeds = max(len(line.results) for line in series)
    loss = "loss of one seed" if seeds == 1 else f"mean loss of {seeds} seeds"
    return f"In colour: best schemes and baseline ({loss})"


def _axes(loss_name: str, x_name: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(COLUMN_WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_xlabel(x_name)
    axes.set_ylabel(f"test {loss_name}")
    return figure, axes


def _finish(figure: Figure, axes: Axes, levels: Levels, title: str) -> Figure:
    # The last baseline is the one to get below.
    for (name, loss), color in zip(
        reversed(levels.baselines()), ("#c00000", "#e0a0a0"), strict=False
    ):
        axes.axhline(loss, color=color, lw=1, ls=(0, (2, 2)), label=name)
    optimum = levels.optimum
    if optimum is not None:
        axes.axhline(optimum, color="#007000", lw=1, ls=(0, (1, 1)), label="optimum")
        axes.set_ylim(bottom=min(axes.get_ylim()[0], 0.8 * optimum))
    figure.legend(
        loc="outside lower center", ncols=2, fontsize=6.5, handlelength=2.5, title=title or None,
        title_fontsize=6.5,
    )  # fmt: skip
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG that is sharp on a dense screen."""
    buffer = io.BytesIO()
    # A narrow figure is for print, or is enlarged by a page.
    dpi = 160 if figure.get_figwidth() > COLUMN_WIDTH else 300
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    figure.set_layout_engine("none")  # placed once, and not again for another format
    write_file(path, buffer.getvalue())


def save_figure(figure: Figure, stem: Path) -> None:
    """Write a figure as PNG, for pages, and as SVG, for print, beside each other.

    Args:
        figure: The figure.
        stem: The files without their endings.
    """
    save_png(figure, stem.with_name(f"{stem.name}.png"))
    buffer = io.BytesIO()
    with mpl.rc_context(RC):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    write_file(stem.with_name(f"{stem.name}.svg"), buffer.getvalue())

"""Figures of the report: draw the lines of a section, and write SVG and PNG."""

from __future__ import annotations

import io
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from comparisons.models import is_baseline
from comparisons.output import write_file
from comparisons.records import Point
from comparisons.report.levels import Levels
from comparisons.report.size_curves import SizeCurve
from comparisons.report.style import LINE_MARKERS, MARKERS, RC
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
    with mpl.rc_context(RC):
        figure, axes = _axes(loss_name, "trainable parameters", _lines(series))
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for line in series:
            losses = [result.chosen.test_loss for result in line.results]
            mean = statistics.fmean(losses)
            place, color = line.results[0].parameters, line.style.color
            marker = line.style.marker
            axes.plot(place, mean, color=color, marker=marker, ls="none", label=line.label)
            axes.plot([place, place], [min(losses), max(losses)], color=color, lw=1)
        return _finish(figure, axes, levels)


def metric_against_size(
    curves: Sequence[SizeCurve], metric_name: str, optimum: float | None, halve_unitary_units: bool
) -> Figure:
    """Draw the metric against the number of hidden units: mean over the seeds ± standard error.

    Args:
        curves: Each is a line, or hollow markers where it is published.
        metric_name: Name of the metric, with its unit.
        optimum: The best possible value, drawn as a line; None draws none.
        halve_unitary_units: Whether a second panel places unitary models at half their
            number of units.
    """
    with mpl.rc_context(RC):
        height = max(3.6, 0.18 * (len(curves) + 2))  # room for the legend beside the axes
        width = 10.4 if halve_unitary_units else 7.2
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(1, 2 if halve_unitary_units else 1, sharey=True, squeeze=False)[0]
        for axes, halved in zip(panels, (False, True), strict=False):
            axes.set_xlabel("hidden units n" + ", of unitary models n / 2" * halved)
            for curve in curves:
                _size_curve(axes, curve, 0.5 if halved and curve.unitary else 1.0, not halved)
            if optimum is not None:
                label = None if halved else "optimum"
                axes.axhline(optimum, color="#c00000", lw=1, ls=(0, (2, 2)), label=label)
        panels[0].set_ylabel(f"test {metric_name}")
        figure.legend(loc="outside right upper", fontsize=8)
        return figure


def _size_curve(axes: Axes, curve: SizeCurve, unit: float, labelled: bool) -> None:
    places = [unit * size for size in curve.values]
    means = [statistics.fmean(values) for values in curve.values.values()]
    style: dict[str, Any] = {"color": curve.style.color, "marker": curve.style.marker}
    if labelled:
        style["label"] = curve.label
    if curve.published:
        if curve.style.marker in LINE_MARKERS:
            style["marker"] = MARKERS[LINE_MARKERS.index(curve.style.marker)]
        axes.plot(places, means, ls="none", fillstyle="none", **style)
        return
    axes.plot(places, means, ls=curve.style.dash, markersize=4, **style)
    errors = [
        statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        for values in curve.values.values()
    ]
    low = [mean - error for mean, error in zip(means, errors, strict=True)]
    high = [mean + error for mean, error in zip(means, errors, strict=True)]
    axes.fill_between(places, low, high, color=curve.style.color, alpha=0.15, lw=0)


def defects(series: Sequence[Series]) -> Figure:
    """Draw the unitarity defect of each scheme's recurrent matrix before and after training."""
    lines = [line for line in series if line.results[0].defect_end is not None]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(7.2, 1.1 + 0.26 * _lines(lines)), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        for row, line in enumerate(lines):
            # An exactly zero defect, such as that of the identity, has no place on a log scale.
            start = max(max(r.defect_start or 0.0 for r in line.results), 1e-17)
            end = max(max(r.defect_end or 0.0 for r in line.results), 1e-17)
            axes.plot([start, end], [row, row], color="#bbbbbb", zorder=1)
            marker: dict[str, Any] = {"color": line.style.color, "marker": "o", "linestyle": "none"}
            axes.plot(start, row, fillstyle="none", label="start" if row == 0 else None, **marker)
            axes.plot(end, row, label="end" if row == 0 else None, **marker)
        axes.set_yticks(range(len(lines)), [line.label for line in lines])
        axes.set_xlabel("unitarity defect  ‖WᴴW − I‖₂  (worst seed)")
        axes.invert_yaxis()
        figure.legend(loc="outside right upper")
        return figure


def _curves(
    series: Sequence[Series],
    levels: Levels,
    loss_name: str,
    x_name: str,
    x: Callable[[Point], float],
) -> Figure:
    with mpl.rc_context(RC):
        figure, axes = _axes(loss_name, x_name, _lines(series))
        for line in series:
            # Seeds of one configuration are evaluated at the same iterations; some may end early.
            columns = points_by_iteration(line.results)
            places = [statistics.fmean(map(x, points)) for points in columns]
            losses = [[point.test_loss for point in points] for points in columns]
            color = line.style.color
            axes.plot(
                places,
                [statistics.fmean(values) for values in losses],
                color=color,
                linestyle=line.style.dash,
                label=line.label,
            )
            if len(line.results) > 1:
                low, high = map(min, losses), map(max, losses)
                axes.fill_between(places, list(low), list(high), color=color, alpha=0.15, lw=0)
        # The first losses can be a hundred times the baseline; what matters lies below it.
        worst = max(result.final.test_loss for line in series for result in line.results)
        axes.set_ylim(top=min(axes.get_ylim()[1], max(5 * levels.constant, 1.5 * worst)))
        return _finish(figure, axes, levels)


def _lines(series: Sequence[Series]) -> int:
    """Lines of text in the legend."""
    return sum(line.label.count("\n") + 1 for line in series)


def _axes(loss_name: str, x_name: str, lines: int) -> tuple[Figure, Axes]:
    height = max(3.6, 0.18 * (lines + 2))  # room for the legend beside the axes
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_xlabel(x_name)
    axes.set_ylabel(f"test {loss_name}")
    return figure, axes


def _finish(figure: Figure, axes: Axes, levels: Levels) -> Figure:
    # The last baseline is the one to get below.
    for (name, loss), color in zip(
        reversed(levels.baselines()), ("#c00000", "#e0a0a0"), strict=False
    ):
        axes.axhline(loss, color=color, lw=1, ls=(0, (2, 2)), label=name)
    optimum = levels.optimum
    if optimum is not None:
        axes.axhline(optimum, color="#007000", lw=1, ls=(0, (1, 1)), label="optimum")
        axes.set_ylim(bottom=min(axes.get_ylim()[0], 0.8 * optimum))
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG that is sharp on a dense screen."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    figure.set_layout_engine("none")  # placed once, and not again for another format
    write_file(path, buffer.getvalue())


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Return the figure as an ``<svg>`` element for a page.

    Args:
        figure: The figure.
        name: Prefix of every id inside, so that several figures can share the page.
        description: Text for readers who cannot see it.
    """
    buffer = io.StringIO()
    with mpl.rc_context(RC):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)

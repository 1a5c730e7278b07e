"""The figure of the metric over the number of hidden units."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from comparisons.report.size_curves import SizeCurve
from comparisons.report.style import (
    COLUMN,
    COLUMN_WIDTH,
    LINE_MARKERS,
    MARKERS,
    OTHERS,
    count_of_others,
)


def metric_against_size(
    curves: Sequence[SizeCurve],
    metric_name: str,
    optimum: float | None,
    halve_unitary_units: bool,
    models: Collection[str] | None = None,
) -> Figure:
    """Draw the metric against the number of hidden units: mean over the seeds ± standard error.

    Args:
        curves: Each is a line, or hollow markers where it is published.
        metric_name: Name of the metric, with its unit.
        optimum: The best possible value, drawn as a line; None draws none.
        halve_unitary_units: Whether a second panel places unitary models at half their
            number of units.
        models: Models with a look of their own; None is all. Of the others, what is published is
            not drawn.
    """
    panels = 2 if halve_unitary_units else 1
    shown = [curve for curve in curves if models is None or curve.model in models]
    rest = [curve for curve in curves if curve not in shown and not curve.published]
    with mpl.rc_context(COLUMN):
        rows = -(-(len(shown) + 2) // (2 * panels))  # of the legend
        size = panels * COLUMN_WIDTH, 2.6 + 0.14 * rows
        figure = Figure(figsize=size, layout="constrained")
        row = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        for axes, halved in zip(row, (False, True), strict=False):
            axes.set_xlabel("hidden units n" + ", of unitary models n / 2" * halved)
            for curve in rest:
                unit = 0.5 if halved and curve.unitary else 1.0
                label = count_of_others(len(rest)) if curve is rest[0] and not halved else None
                axes.plot(*_means(curve, unit), label=label, **OTHERS)
            for curve in shown:
                _draw(axes, curve, 0.5 if halved and curve.unitary else 1.0, not halved)
            if optimum is not None:
                label = None if halved else "optimum"
                axes.axhline(optimum, color="#c00000", lw=1, ls=(0, (2, 2)), label=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        row[0].set_ylabel(f"test {metric_name}")
        figure.legend(loc="outside lower center", ncols=2 * panels, fontsize=6.5, handlelength=2.5)
        return figure


def _draw(axes: Axes, curve: SizeCurve, unit: float, labelled: bool) -> None:
    places, means = _means(curve, unit)
    style: dict[str, Any] = {"color": curve.style.color, "marker": curve.style.marker}
    if labelled:
        style["label"] = curve.label
    if curve.published:
        if curve.style.marker in LINE_MARKERS:
            style["marker"] = MARKERS[LINE_MARKERS.index(curve.style.marker)]
        axes.plot(places, means, ls="none", fillstyle="none", **style)
        return
    axes.plot(places, means, ls=curve.style.dash, **style)
    errors = [
        statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        for values in curve.values.values()
    ]
    low = [mean - error for mean, error in zip(means, errors, strict=True)]
    high = [mean + error for mean, error in zip(means, errors, strict=True)]
    axes.fill_between(places, low, high, color=curve.style.color, alpha=0.15, lw=0)


def _means(curve: SizeCurve, unit: float) -> tuple[list[float], list[float]]:
    """Places of the sizes, and the mean at each."""
    places = [unit * size for size in curve.values]
    return places, [statistics.fmean(values) for values in curve.values.values()]

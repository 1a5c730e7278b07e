"""Figures of what happened inside a model: one figure a model, one row a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from comparisons.report.figures import Drawing
from comparisons.report.model_sections import Inside, ModelSection
from comparisons.report.style import COLUMN, COLUMN_WIDTH, PALETTE

_ABOVE, _ROW, _BELOW = 0.5, 0.95, 0.35  # inches: of the titles, of a row, of the labels
_BEFORE, _AFTER = "#8a8a8a", PALETTE[0]


def model_drawings(sections: Sequence[ModelSection]) -> Iterator[Drawing]:
    """Draw what was recorded inside each model of which anything was."""
    for section in sections:
        rows = [inside for inside in section.inside if _has_something(inside)]
        if rows:
            name = f"model-{section.model.replace(' ', '-')}"
            yield Drawing(name, f"Inside {section.model}", inside_model(rows))


def _has_something(inside: Inside) -> bool:
    probes = inside.probes
    return bool(_has_phases(inside) or probes.gradient_norms or inside.defects)


def _has_phases(inside: Inside) -> bool:
    return bool(inside.probes.eigenphases_start or inside.probes.eigenphases_end)


def inside_model(rows: Sequence[Inside]) -> Figure:
    """Draw eigenphases before and after training, defect over training, gradients through time.

    What no row has, such as the eigenphases of an LSTM, gets no column.
    """
    kinds = (
        ("eigenphases", "phase", _eigenphases, any(map(_has_phases, rows))),
        ("defect  ‖WᴴW − I‖₂", "iterations", _defects, any(row.defects for row in rows)),
        ("‖∂L/∂hₜ‖", "step t", _gradients, any(row.probes.gradient_norms for row in rows)),
    )
    columns = [(title, place, draw) for title, place, draw, known in kinds if known]
    with mpl.rc_context(COLUMN):
        height = _ABOVE + _ROW * len(rows)
        figure = Figure(figsize=(2 * COLUMN_WIDTH, height))
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        # Placed by hand: a solver takes seconds for thirty axes.
        figure.subplots_adjust(
            left=0.055, right=0.985, bottom=_BELOW / height, top=1 - _ABOVE / height,
            hspace=0.62, wspace=0.24,
        )  # fmt: skip
        for line, inside in zip(grid, rows, strict=True):
            for axes, (_, _, draw) in zip(line, columns, strict=True):
                axes.tick_params(length=2, pad=2, labelsize=6.5)
                draw(axes, inside)
            line[0].set_title(f"{inside.title}: {inside.label}", loc="left", fontsize=7, pad=3)
        for axes, (title, _, _) in zip(grid[0], columns, strict=True):
            place = axes.get_position()
            figure.text((place.x0 + place.x1) / 2, 1 - 0.18 / height, title, ha="center")
        for axes, (_, place_name, _) in zip(grid[-1], columns, strict=True):
            axes.set_xlabel(place_name)
        return figure


def _eigenphases(axes: Axes, inside: Inside) -> None:
    axes.set_yticks([])
    axes.set_xlim(-math.pi, math.pi)
    axes.set_ylim(-0.6, 1.6)
    axes.set_xticks([-math.pi, 0, math.pi], ["−π", "0", "π"])
    axes.grid(False)
    for place, phases, color, name in (
        (1, inside.probes.eigenphases_start, _BEFORE, "before"),
        (0, inside.probes.eigenphases_end, _AFTER, "after"),
    ):
        if phases:
            axes.eventplot(phases, lineoffsets=place, linelengths=0.8, linewidths=0.6, color=color)
            axes.text(
                -math.pi, place, f"{name} ", color=color, fontsize=6, ha="right", va="center",
                rotation=90,
            )  # fmt: skip
    if not _has_phases(inside):
        _say_nothing(axes)


def _defects(axes: Axes, inside: Inside) -> None:
    # An exactly zero defect, such as that of the identity, has no place on a log scale.
    values = [max(defect, 1e-17) for defect in inside.defects]
    _on_log_scale(axes, inside.iterations, values)


def _gradients(axes: Axes, inside: Inside) -> None:
    probes = inside.probes
    found = zip(probes.gradient_steps, probes.gradient_norms, strict=True)
    kept = [(step, norm) for step, norm in found if norm > 0]  # a zero vanished in float32
    _on_log_scale(axes, [step for step, _ in kept], [norm for _, norm in kept])


def _on_log_scale(axes: Axes, places: Sequence[float], values: Sequence[float]) -> None:
    if not values:
        _say_nothing(axes)
        return
    axes.plot(places, values, color=_AFTER)
    axes.set_yscale("log")
    low, high = math.log10(min(values)), math.log10(max(values))
    middle, half = (low + high) / 2, max(1.05, 0.55 * (high - low))  # two decades
    axes.set_ylim(10 ** (middle - half), 10 ** (middle + half))
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _say_nothing(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "none recorded", transform=axes.transAxes, ha="center", va="center")

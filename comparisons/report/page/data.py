"""The data of the page's scripts.

Scripts and tests find the elements of the page by these hooks:

- ``#theme`` switches between light and dark; ``html[data-theme]`` says what was chosen.
- ``#overview-tasks``, ``#overview-models``, ``#matrix-table``, ``#speed-table`` and
  ``table[data-results=SECTION]`` are the tables; ``th[data-column]`` names a column.
- A row with ``data-section`` and ``data-place``, or a cell with both, belongs to one configuration.
  Its numbers become ``button.number``, which open ``dialog#setting``.
- ``input[name=matrix-value]`` (score, metric or loss), ``#matrix-search``, ``#matrix-kind`` and
  ``#matrix-task`` switch and filter the matrix.
- ``section#TASK.task`` holds a task, ``section#SECTION.panel`` one variant and length of it. With
  several of these, ``[role=tab][aria-controls=SECTION]`` shows one.
- ``figure[data-figure]`` is "curves", "sizes", "model" or "speed"; ``data-drawn`` appears when it
  is drawn, and its ``.plot`` is Plotly's element. ``[data-control]`` inside are its switches: "x",
  "log-x", "log-y" or "section".
- ``button[data-all-columns=SECTION]`` shows the columns of a results table that are hidden before.
- ``#picked`` lists the models that have a look; ``#choose`` opens ``dialog#picker`` with an
  ``input[name=picked]`` for each model.
- ``details.model[data-model=NAME]`` is the section of a model.
- ``html[data-ready]`` appears when the scripts have started.

A page that a server on this machine shows asks for ``version.json`` beside it, which holds
``{"version": TEXT}``, and loads again when the version changes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.records import Point, Result
from comparisons.report.highlights import LOOKS
from comparisons.report.model_sections import Inside
from comparisons.report.overview import Overview
from comparisons.report.provenance import machine_of
from comparisons.report.sections import Report
from comparisons.report.size_curves import SizeCurve
from comparisons.report.standings import Standing
from comparisons.report.task_section import Section
from comparisons.results.intervals import Estimate
from comparisons.results.summary import Summary, labels, points_by_iteration

POINTS = 60
"""Points of a curve, at most."""


def page_data(report: Report) -> dict[str, Any]:
    """What the scripts draw and show, as JSON; numbers have four digits."""
    texts = _Texts()
    return {
        "models": [line.model for line in report.overview.models],
        "picked": picked_first(report.overview),
        "sections": {section.name: _section(section, texts) for section in report.sections},
        "standings": {
            line.section: [_standing(standing) for standing in line.standings]
            for line in report.overview.tasks
        },
        "inside": {model.model: list(map(_inside, model.inside)) for model in report.models},
        "texts": texts.known,
    }


def picked_first(overview: Overview) -> list[str]:
    """The models that have a look when the page opens: the best ones, one baseline among them."""
    models = [line.model for line in overview.models]
    picked = models[:LOOKS]
    baselines = [line.model for line in overview.models if line.kind == "baseline"]
    if baselines and not set(baselines) & set(picked):
        picked[-1:] = baselines[:1]
    return picked


class _Texts:
    """Numbers texts that many runs share, such as commands and machines."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self.known)
            self.known.append(text)
        return self._numbers[text]


def _section(section: Section, texts: _Texts) -> dict[str, Any]:
    levels = section.levels
    lines = list(levels.baselines())
    if levels.optimum is not None:
        lines.append(("optimum", levels.optimum))
    finals = [result.final.test_loss for s in section.summaries for result in s.results]
    names = labels(section.summaries)
    return {
        "title": section.title,
        "loss": section.task.loss_name,
        "metric": section.task.metric_name,
        "levels": [[name, _digits(loss)] for name, loss in lines],
        # The first losses, and those of runs that diverged, can be far above the baseline; what
        # matters lies below it.
        "top": _digits(max(5 * levels.constant, 1.5 * statistics.median(finals))),
        "curves": [
            {"model": summary.name, "label": label, **_curve(summary.results)}
            for summary, label in zip(section.summaries, names, strict=True)
        ],
        "sizes": list(map(_size_curve, section.size_curves)),
        "settings": [
            _setting(summary, label, texts)
            for summary, label in zip(section.summaries, names, strict=True)
        ],
    }


def _curve(results: Sequence[Result]) -> dict[str, Any]:
    """Mean, least and largest test loss over the seeds."""
    columns = _thinned(points_by_iteration(results))
    losses = [[point.test_loss for point in points] for points in columns]
    found = {
        "iterations": [points[0].iteration for points in columns],
        "seconds": [_digits(statistics.fmean(p.seconds for p in points)) for points in columns],
        "mean": [_digits(statistics.fmean(values)) for values in losses],
    }
    if len(results) > 1:
        found["low"] = [_digits(min(values)) for values in losses]
        found["high"] = [_digits(max(values)) for values in losses]
    return {**found, "seeds": len(results)}


def _thinned(points: Sequence[tuple[Point, ...]]) -> list[tuple[Point, ...]]:
    """At most :data:`POINTS`, evenly spaced, with the first and the last one."""
    count = min(POINTS, len(points))
    kept = {round(i * (len(points) - 1) / max(1, count - 1)) for i in range(count)}
    return [points[i] for i in sorted(kept)]


def _size_curve(curve: SizeCurve) -> dict[str, Any]:
    values = list(curve.values.values())
    return {
        "model": curve.model,
        "label": curve.label,
        "published": curve.published,
        "sizes": list(curve.values),
        "mean": [_digits(statistics.fmean(v)) for v in values],
        "low": [_digits(min(v)) for v in values],
        "high": [_digits(max(v)) for v in values],
        "seeds": max(map(len, values)),
    }


def _setting(summary: Summary, label: str, texts: _Texts) -> dict[str, Any]:
    first = summary.results[0]
    values = {**summary.setting.values(), "device": first.run.device, "data": first.data}
    return {
        "label": label,
        "training": summary.training,
        "iterations": summary.setting.training.iterations,
        "batch": summary.setting.training.batch_size,
        "source": texts.number(summary.setting.source),
        "deviation": summary.deviation,
        "parameters": [first.parameters, first.recurrent_parameters],
        "values": [[name.replace("_", " "), _plain(v)] for name, v in values.items()],
        "runs": [_run(summary, result, texts) for result in summary.results],
    }


def _plain(value: Any) -> str:
    """A value of a setting in words."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(" = ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return str(value)


def _run(summary: Summary, result: Result, texts: _Texts) -> dict[str, Any]:
    chosen = result.chosen
    return {
        "id": result.run.id,
        "seed": result.run.seed,
        "loss": _digits(chosen.test_loss),
        "metric": _digits(summary.metric(result)),
        "iteration": chosen.iteration,
        "ms": _digits(result.ms_per_step),
        "seconds": _digits(result.final.seconds),
        "memory": _digits(result.peak_memory_mb),
        "defect": _digits(result.defect_end),
        "stopped": result.stopped,
        "day": texts.number(result.date[:10]),
        "command": texts.number(result.command),
        "machine": texts.number(machine_of(result)),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "model": standing.model,
        "place": standing.place,
        "seconds": _digits(standing.total_seconds),
        "parameters": standing.parameters,
        "seeds": standing.seeds,
        **_estimate("score", standing.score),
    }


def _estimate(name: str, estimate: Estimate) -> Mapping[str, float | None]:
    return {
        name: _digits(estimate.mean),
        f"{name}_low": _digits(estimate.low),
        f"{name}_high": _digits(estimate.high),
    }


def _inside(inside: Inside) -> dict[str, Any]:
    probes = inside.probes
    return {
        "section": inside.section,
        "title": inside.title,
        "label": inside.label,
        "seed": inside.seed,
        "start": _list(probes.eigenphases_start),
        "end": _list(probes.eigenphases_end),
        "steps": list(probes.gradient_steps),
        "norms": _list(probes.gradient_norms),
        "iterations": list(inside.iterations),
        "defects": _list(inside.defects),
    }


def _list(values: Sequence[float] | None) -> list[float | None] | None:
    return None if values is None else list(map(_digits, values))


def _digits(value: float | None) -> float | None:
    """Four significant digits; None where there is no finite number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")

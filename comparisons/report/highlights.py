"""The lines of a figure that have a look of their own: as many as an eye can tell apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from comparisons.models import is_baseline, is_scheme
from comparisons.report.style import distinct
from comparisons.report.task_section import Series
from unitary_zoo import Parametrization

LOOKS = 8
"""Lines of a figure with a look of their own, at most."""


def highlighted(series: Sequence[Series]) -> tuple[Series, ...]:
    """At most :data:`LOOKS` of the series, in their order, in styles that differ.

    Where there are more, they are the best of each model: models of plug-ins, then the schemes with
    the least mean loss, and the best baseline. If that leaves room, the next baselines, and then
    further series of these models.
    """
    chosen = list(series)
    if len(series) > LOOKS:
        ordered = sorted(series, key=lambda line: (not _is_own(line), _loss(line)))
        firsts: dict[str, Series] = {}
        for line in ordered:
            firsts.setdefault(line.model, line)
        schemes = [line for model, line in firsts.items() if not is_baseline(model)]
        baselines = [line for model, line in firsts.items() if is_baseline(model)]
        kept = [*schemes[: LOOKS - min(1, len(baselines))], *baselines][:LOOKS]
        kept += [line for line in ordered if line not in kept][: LOOKS - len(kept)]
        chosen = [line for line in series if line in kept]
    looks = distinct([line.style for line in chosen])
    return tuple(replace(line, style=look) for line, look in zip(chosen, looks, strict=True))


def others(series: Sequence[Series]) -> tuple[Series, ...]:
    """The series that are not highlighted."""
    labels = {line.label for line in highlighted(series)}
    return tuple(line for line in series if line.label not in labels)


def _loss(line: Series) -> float:
    return statistics.fmean(result.chosen.test_loss for result in line.results)


def _is_own(line: Series) -> bool:
    """Whether the model is the user's, whose place among the others is what the figure is for."""
    model = line.model
    if is_scheme(model):
        return Parametrization.get(model).__module__.partition(".")[0] != "unitary_zoo"
    return not is_baseline(model)

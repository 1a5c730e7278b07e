"""Curves of the metric over the number of hidden units, ours and published ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from comparisons.models import is_baseline
from comparisons.papers import PAPERS, Paper
from comparisons.records import Result, Setting
from comparisons.report.style import Style, line_styles
from comparisons.tasks import Task

ENOUGH = 3
"""Least number of sizes of one model that make a curve."""


@dataclass(frozen=True)
class SizeCurve:
    """The metric of a model at several sizes.

    Attributes:
        model: Our name of the model.
        label: Name in the legend.
        style: Style of the line and the markers.
        values: Values of the metric, one for each seed, by the number of hidden units.
        unitary: Whether the recurrent matrix is unitary by construction.
        published: Whether the values are published ones; they are drawn as hollow markers.
    """

    model: str
    label: str
    style: Style
    values: Mapping[int, tuple[float, ...]]
    unitary: bool
    published: bool = False


def size_curves(
    task: Task, results: Sequence[Result], styles: Mapping[str, Style], papers: Iterable[str] = ()
) -> tuple[SizeCurve, ...]:
    """One curve for each model and setting, then the published ones.

    Args:
        task: The task in one length and variant.
        results: Results on that task, length and variant.
        styles: Styles by model.
        papers: Names of the papers whose published values are shown, for models that were run.

    Returns:
        The curves; none unless some model was trained with several sizes.
    """
    groups: dict[tuple[str, Setting], dict[int, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for result in results:
        setting = result.run.setting.changed(hidden_size=0, source="")
        value = task.metric(result.chosen.test_loss, result.chosen.test_accuracy)
        groups[result.run.model, setting][result.run.setting.model.hidden_size].append(value)
    if all(len(values) < ENOUGH for values in groups.values()):
        return ()
    unitary = {
        result.run.model: not is_baseline(result.run.model)
        and not result.deviation
        and result.defect_end is not None
        for result in results
    }
    models = [model for model, _ in groups]
    ordered = sorted(groups, key=lambda group: (group[0], group[1].summary))
    ours = [
        SizeCurve(
            model,
            model if models.count(model) == 1 else f"{model}, {setting.summary}",
            style,
            {size: tuple(values) for size, values in sorted(groups[model, setting].items())},
            unitary[model],
        )
        for (model, setting), style in zip(
            ordered, line_styles([model for model, _ in ordered], styles), strict=True
        )
    ]
    return (*ours, *_published_curves(task, papers, styles, unitary))


def _published_curves(
    task: Task, papers: Iterable[str], styles: Mapping[str, Style], unitary: Mapping[str, bool]
) -> Iterator[SizeCurve]:
    named = set(papers)
    for paper in (PAPERS[name] for name in PAPERS if name in named):
        found = {key: values for key, values in _values(task, paper).items() if key[0] in unitary}
        ordered = sorted(found)  # as our curves are, so that the same place has the same style
        lines = line_styles([model for model, _ in ordered], styles)
        for (model, name), style in zip(ordered, lines, strict=True):
            points = {size: (value,) for size, value in sorted(found[model, name].items())}
            label = f"{name}: {paper.cite}"
            yield SizeCurve(model, label, style, points, unitary[model], published=True)


def _values(task: Task, paper: Paper) -> dict[tuple[str, str], dict[int, float]]:
    """The paper's values of the metric by size, for each of our models and its name for them."""
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for published in paper.published:
        if (
            published.task == task.name
            and task.length in published.lengths
            and task.check_variant(published.variant) == task.variant
            and published.size is not None
            and published.value is not None
        ):
            for model in published.ours:
                found[model, published.model][published.size] = published.value
    return found

"""Results over the number of hidden units, as curves, and the published ones beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from comparisons.models import is_baseline
from comparisons.papers import PAPERS, Paper
from comparisons.records import Result, Setting
from comparisons.report.figures import SizeCurve, Style, looks
from comparisons.tasks import Task

ENOUGH = 3  # sizes of one model that make a curve


def size_curves(
    task: Task, results: Sequence[Result], styles: Mapping[str, Style]
) -> tuple[SizeCurve, ...]:
    """One curve for each model and setting, then the published ones.

    Args:
        task: Of one length and variant.
        results: Of that task, length and variant.
        styles: By model.

    Returns:
        Nothing unless some model was trained with several sizes. Published are those of the papers
        whose settings were run, of the same data, and of models that were run.
    """
    groups: dict[tuple[str, Setting], dict[int, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for result in results:
        setting = replace(result.run.setting, hidden_size=0, source="")
        value = task.metric(result.chosen.test_loss, result.chosen.test_accuracy)
        groups[result.run.model, setting][result.run.setting.hidden_size].append(value)
    if all(len(values) < ENOUGH for values in groups.values()):
        return ()
    unitary = {
        result.run.model: not is_baseline(result.run.model) and not result.deviation
        for result in results
    }
    models = [model for model, _ in groups]
    ordered = sorted(groups, key=lambda group: (group[0], group[1].summary))
    ours = [
        SizeCurve(
            model if models.count(model) == 1 else f"{model}, {setting.summary}",
            look,
            {size: tuple(values) for size, values in sorted(groups[model, setting].items())},
            unitary[model],
        )
        for (model, setting), look in zip(
            ordered, looks([model for model, _ in ordered], styles), strict=True
        )
    ]
    sources = {result.run.setting.source for result in results}
    return (*ours, *_published(task, sources, styles, unitary))


def _published(
    task: Task, sources: set[str], styles: Mapping[str, Style], unitary: Mapping[str, bool]
) -> Iterable[SizeCurve]:
    for paper in PAPERS.values():
        if not any(
            # What a command changes is said at the end of the source.
            training.task == task.name and source.startswith(training.setting.source)
            for training in paper.trainings
            for source in sources
        ):
            continue
        found = {key: values for key, values in _values(task, paper).items() if key[0] in unitary}
        ordered = sorted(found)  # as ours are: the same place has the same look
        lines = looks([model for model, _ in ordered], styles)
        for (model, name), look in zip(ordered, lines, strict=True):
            points = {size: (value,) for size, value in sorted(found[model, name].items())}
            label = f"{name}: {paper.cite}"
            yield SizeCurve(label, look, points, unitary[model], published=True)


def _values(task: Task, paper: Paper) -> dict[tuple[str, str], dict[int, float]]:
    """Its values of the task's metric by size, for each of our models and its own names."""
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for outcome in paper.outcomes:
        if (
            outcome.task == task.name
            and task.length in outcome.lengths
            and task.check_variant(outcome.variant) == task.variant
            and outcome.size is not None
            and outcome.value is not None
        ):
            for model in outcome.ours:
                found[model, outcome.series][outcome.size] = outcome.value
    return found

"""What happened inside each model: eigenphases, unitarity defect and gradients through time."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comparisons.models import BASELINES, MODELS, builder_of, is_baseline
from comparisons.records import Probes
from comparisons.report.standings import Kind
from comparisons.report.task_section import Section
from comparisons.results.summary import Summary, labels
from unitary_zoo import Parametrization


@dataclass(frozen=True)
class Inside:
    """What one configuration of a model recorded on a task.

    Attributes:
        section: Name of the section.
        title: Task, variant and length.
        label: The configuration, as in the figures of the section.
        seed: Seed of the run that is shown: the smallest that recorded anything.
        probes: Its probes; empty if it recorded defects alone.
        iterations: Iterations of the evaluations.
        defects: Unitarity defects at these, of that run; empty where none was recorded.
    """

    section: str
    title: str
    label: str
    seed: int
    probes: Probes
    iterations: tuple[int, ...]
    defects: tuple[float, ...]


@dataclass(frozen=True)
class ModelSection:
    """One model of the report.

    Attributes:
        model: Its name (and its layer, as ``Summary.name``).
        kind: A scheme or a baseline.
        formula: W as a formula, of a registered scheme; the first line of a builder's docstring for
            the others; "" for a model of a plug-in that is not loaded.
        deviation: Why it is not unitary; "" if it is, or if it is a baseline.
        inside: What was recorded, by section; empty for results that were kept without probes.
    """

    model: str
    kind: Kind
    formula: str
    deviation: str
    inside: tuple[Inside, ...]


def build_models(sections: Sequence[Section]) -> tuple[ModelSection, ...]:
    """A section for each model of some sections of tasks: schemes first, then by name."""
    summaries: dict[str, list[Summary]] = defaultdict(list)
    inside: dict[str, list[Inside]] = defaultdict(list)
    for section in sections:
        for label, summary in zip(labels(section.summaries), section.summaries, strict=True):
            summaries[summary.name].append(summary)
            inside[summary.name].extend(_inside(section, label, summary))
    return tuple(
        ModelSection(
            model=name,
            kind="baseline" if is_baseline(own[0].model) else "scheme",
            formula=_formula(own[0].model),
            deviation=next((summary.deviation for summary in own if summary.deviation), ""),
            inside=tuple(inside[name]),
        )
        for name, own in sorted(
            summaries.items(), key=lambda item: (is_baseline(item[1][0].model), item[0])
        )
    )


def _inside(section: Section, label: str, summary: Summary) -> Iterator[Inside]:
    """What the first seed that recorded anything recorded; nothing if none did."""
    for result in summary.results:  # by seed
        measured = [(point.iteration, point.defect) for point in result.curve]
        known = [(iteration, defect) for iteration, defect in measured if defect is not None]
        if result.probes is None and not known:
            continue
        yield Inside(
            section=section.name,
            title=section.title,
            label=label,
            seed=result.run.seed,
            probes=result.probes or Probes(),
            iterations=tuple(iteration for iteration, _ in known),
            defects=tuple(defect for _, defect in known),
        )
        return


def _formula(model: str) -> str:
    if model in Parametrization.names():
        return Parametrization.get(model).info.title
    if model in BASELINES.names() + MODELS.names():
        return (inspect.getdoc(builder_of(model)) or "").partition("\n")[0]
    return ""

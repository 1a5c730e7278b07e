"""One task in one variant at one length, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comparisons.records import Result
from comparisons.report.levels import Levels
from comparisons.report.provenance import Provenance, provenance_of
from comparisons.report.size_curves import SizeCurve, size_curves
from comparisons.report.style import Style, line_styles
from comparisons.report.tables import MAIN_COLUMNS, Table, results_table
from comparisons.results.summary import NOT_UNITARY, STOPPED, Summary, labels
from comparisons.tasks import Task


@dataclass(frozen=True)
class Series:
    """The seeds of one model in one configuration: one line, or one point, of a figure."""

    label: str
    style: Style
    results: tuple[Result, ...]

    @property
    def model(self) -> str:
        """Name of the scheme or baseline."""
        return self.results[0].run.model


@dataclass(frozen=True)
class Section:
    """One task in one variant at one length.

    Attributes:
        name: Name in file names and anchors.
        title: Heading.
        form: Variant and length.
        task: The task.
        summaries: Summaries of the runs, in the order of ``results.summary.in_order``.
        levels: Losses that are known without training.
        description: Sentences on the levels, the data and the choice of the evaluation.
        table: The results.
        main_columns: Columns of the table for a terminal, the most important ones first.
        deviations: Models that are not unitary by construction, each with its reason.
        stops: Models of which a seed ended before its last iteration.
        sources: Sources of the settings; the table refers to them by number.
        provenance: Origin of the numbers.
        series: Lines of the figures.
        size_curves: Lines of the figure over the sizes; if there are any, it is the only figure.
    """

    name: str
    title: str
    form: str
    task: Task
    summaries: tuple[Summary, ...]
    levels: Levels
    description: str
    table: Table
    main_columns: tuple[str, ...]
    deviations: tuple[str, ...]
    stops: tuple[str, ...]
    sources: tuple[str, ...]
    provenance: Provenance
    series: tuple[Series, ...]
    size_curves: tuple[SizeCurve, ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the marks in the table mean."""
        return self.deviations + self.stops


def build_section(
    summaries: Sequence[Summary], model_styles: Mapping[str, Style], paper_name: str
) -> Section:
    """The section of some summaries of one task in one variant at one length.

    Args:
        summaries: The summaries, in order.
        model_styles: Styles by model.
        paper_name: The paper of the command; "" without one.
    """
    task = summaries[0].task
    results = [result for summary in summaries for result in summary.results]
    variant = task.variants.get(task.variant, task.variant)
    form = ", ".join(part for part in (variant, f"T = {task.length}") if part)
    levels = Levels.of(task, results)
    sources = tuple(dict.fromkeys(summary.setting.source for summary in summaries))
    numbers = {source: number for number, source in enumerate(sources, start=1)}
    deviations = {summary.model: summary.deviation for summary in summaries if summary.deviation}
    lines = line_styles([summary.name for summary in summaries], model_styles)
    return Section(
        name="-".join(part for part in (task.name, task.variant, f"T{task.length}") if part),
        title=", ".join(part for part in (task.title, form) if part),
        form=form,
        task=task,
        summaries=tuple(summaries),
        levels=levels,
        description=_description(task, summaries, levels),
        table=results_table(task, summaries, levels, numbers),
        main_columns=("model", "test loss", task.metric_name, *MAIN_COLUMNS),
        deviations=tuple(
            f"{NOT_UNITARY} {model}: {why}" for model, why in sorted(deviations.items())
        ),
        stops=tuple(f"{STOPPED} {s}" for summary in summaries if (s := summary.stops())),
        sources=sources,
        provenance=provenance_of(results),
        series=tuple(
            Series(label, style, summary.results)
            for label, style, summary in zip(labels(summaries), lines, summaries, strict=True)
        ),
        # Files written before runs named their paper have that of the command alone.
        size_curves=size_curves(
            task, results, model_styles, {result.run.paper or paper_name for result in results}
        ),
    )


def _description(task: Task, summaries: Sequence[Summary], levels: Levels) -> str:
    data = dict.fromkeys(r.data for summary in summaries for r in summary.results)
    sentences = [*levels.sentences(task), f"Data: {'; '.join(data)}."]
    if any(summary.validated for summary in summaries):
        sentences.append("Test values are those at the least validation loss.")
    if best := sorted(
        {summary.name for summary in summaries if summary.setting.evaluation.report_best_test}
    ):
        sentences.append(
            f"As in the paper, test values are the least of all evaluations: {', '.join(best)}."
        )
    return " ".join(sentences)

"""A report as plain data: built once from the results, then read by pages, figures and console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comparisons.models import is_baseline
from comparisons.papers import PAPERS, Paper
from comparisons.records import Result
from comparisons.report.legend import LEGEND, LEGEND_END
from comparisons.report.levels import Levels
from comparisons.report.provenance import Provenance, provenance_of
from comparisons.report.published_table import PublishedTable, published_table
from comparisons.report.search_table import SearchTable, search_table
from comparisons.report.size_curves import SizeCurve, size_curves
from comparisons.report.style import Style, line_styles, styles
from comparisons.report.tables import MAIN_COLUMNS, Table, results_table
from comparisons.results.published import compare
from comparisons.results.store import Contents
from comparisons.results.summary import NOT_UNITARY, STOPPED, Summary, labels, ranked, summarize
from comparisons.tasks import TASKS, Task


@dataclass(frozen=True)
class Series:
    """The seeds of one model in one configuration: one line, or one point, of a figure."""

    label: str
    style: Style
    results: tuple[Result, ...]


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
        main_columns: Columns of the table that a terminal shows.
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


@dataclass(frozen=True)
class Chapter:
    """One task: its sections by variant and length, and what was published on it.

    Attributes:
        name: Registered name of the task.
        title: Heading.
        measures: Sentences on loss and accuracy.
        sections: Sections by variant and length.
        published: Published results beside ours; None without any.
        provenance: Origin of our side of that table; None if nothing was run.
        left_out: A sentence on the published results that are not shown; "" if all are.
        search: How settings were searched; None if they were not.
    """

    name: str
    title: str
    measures: str
    sections: tuple[Section, ...]
    published: PublishedTable | None
    provenance: Provenance | None
    left_out: str
    search: SearchTable | None = None


@dataclass(frozen=True)
class Cell:
    """A place of the matrix."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Matrix:
    """The metric of every model's best configuration in every section; schemes come first."""

    title = "All models on all tasks"
    caption = (
        "The metric of each model's best configuration. In a column where all have several seeds, "
        "the model with the least mean loss is marked, and every other unless all of its seeds end "
        "above all of the first one's. Single seeds have no order."
    )
    sections: tuple[Section, ...]
    lines: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Report:
    """All that the pages show.

    Attributes:
        paper: The paper that was trained again, if it is a report of one.
        counts: A sentence on the runs that finished, failed and are missing.
        resume: Command that trains the missing runs; "" if none is missing.
        failures: Run and error of each failure.
        problems: A line for each file that cannot be read or holds a run for the second time, and
            lines on plug-ins.
        legend: Columns of the tables and what they mean.
        legend_end: Sentences after the legend.
        matrix: All models in all sections; None if there is one section only.
        chapters: One for each task.
    """

    paper: Paper | None
    counts: str
    resume: str
    failures: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]
    legend_end: str
    matrix: Matrix | None
    chapters: tuple[Chapter, ...]

    @property
    def title(self) -> str:
        return self.paper.cite if self.paper else "Unitary recurrent weights compared"

    @property
    def sections(self) -> tuple[Section, ...]:
        return tuple(section for chapter in self.chapters for section in chapter.sections)


def build_report(contents: Contents, notes: Sequence[str] = ()) -> Report:
    """The report of a results folder; a partial folder makes a report that says what is missing.

    Args:
        contents: What the folder holds.
        notes: Further lines for a reader to know.
    """
    plan = contents.plan
    paper = PAPERS.get(plan.paper) if plan else None
    chapters = _chapters(contents, paper, plan.paper if plan else "")
    sections = tuple(section for chapter in chapters for section in chapter.sections)
    missing = contents.missing
    return Report(
        paper=paper,
        counts=f"{len(contents.results)} runs finished, {len(contents.failures)} failed, "
        f"{missing} of the last command not run yet.",
        resume=plan.command if plan and missing else "",
        failures=tuple((str(failure.run), failure.error) for failure in contents.failures),
        problems=(*contents.problems, *contents.notices, *notes),
        legend=LEGEND,
        legend_end=LEGEND_END,
        matrix=_matrix(sections) if len(sections) > 1 else None,
        chapters=chapters,
    )


def _chapters(contents: Contents, paper: Paper | None, paper_name: str) -> tuple[Chapter, ...]:
    groups = summarize(contents.results)
    shown = [summary for group in groups.values() for summary in group]
    # The curves over sizes go by the model alone.
    names = {name: summary.model for summary in shown for name in (summary.name, summary.model)}
    model_styles = styles(
        sorted(name for name in names if not is_baseline(names[name])),
        sorted(name for name in names if is_baseline(names[name])),
    )
    tasks = {name for name, _, _ in groups} | {study.task for study in contents.searches}
    if paper is not None:
        tasks |= {published.task for published in paper.published} & set(TASKS.names())
    chapters = []
    for name in sorted(tasks):
        own = [group for (task, _, _), group in sorted(groups.items()) if task == name]
        sections = tuple(_section(group, model_styles, paper_name) for group in own)
        summaries = [summary for group in own for summary in group]
        compared, left_out = compare(name, summaries, paper)
        results_of_task = [result for summary in summaries for result in summary.results]
        task = TASKS.get(name)
        studies = [study for study in contents.searches if study.task == name]
        chapters.append(
            Chapter(
                name=name,
                title=task.title,
                measures=f"Loss: {task.loss_name}. Accuracy: {task.accuracy_name}.",
                sections=sections,
                published=published_table(name, compared) if compared else None,
                provenance=provenance_of(results_of_task) if results_of_task else None,
                left_out=f"{left_out} more published results on this task are of other data, of "
                "other sizes or of models that were not run here; run_all.py --paper NAME sets a "
                "paper's own runs beside them."
                if left_out
                else "",
                search=search_table(studies) if studies else None,
            )
        )
    return tuple(chapters)


def _section(
    summaries: Sequence[Summary], model_styles: Mapping[str, Style], paper_name: str
) -> Section:
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
        main_columns=(*MAIN_COLUMNS, task.metric_name),
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


def _matrix(sections: tuple[Section, ...]) -> Matrix:
    names = {summary.name: summary.model for section in sections for summary in section.summaries}
    ordered = sorted(names, key=lambda name: (is_baseline(names[name]), name))
    return Matrix(
        sections,
        tuple((name, tuple(_cell(section, name) for section in sections)) for name in ordered),
    )


def _cell(section: Section, name: str) -> Cell:
    """The configuration of that name with the least loss."""
    own = [summary for summary in section.summaries if summary.name == name]
    if not own:
        return Cell("")
    chosen = min(own, key=lambda summary: summary.loss)
    leader = section.summaries[0]  # the best one, if the losses have an order
    best = ranked(section.summaries) and min(chosen.losses) <= max(leader.losses)
    return Cell(chosen.mean(chosen.metric), best)

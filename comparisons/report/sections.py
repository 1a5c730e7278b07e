"""A report as plain data: built once from the results, then read by pages, figures and console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.models import is_baseline
from comparisons.papers import PAPERS, Paper
from comparisons.report.legend import LEGEND, LEGEND_END
from comparisons.report.model_sections import ModelSection, build_models
from comparisons.report.overview import Overview, build_overview
from comparisons.report.provenance import Provenance, provenance_of
from comparisons.report.published_table import PublishedTable, published_table
from comparisons.report.search_table import SearchTable, search_table
from comparisons.report.style import styles
from comparisons.report.task_section import Section, build_section
from comparisons.results.published import compare
from comparisons.results.store import Contents
from comparisons.results.summary import summarize
from comparisons.tasks import TASKS


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
        overview: Who solves what.
        chapters: One for each task.
        models: One for each model.
    """

    paper: Paper | None
    counts: str
    resume: str
    failures: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]
    legend_end: str
    overview: Overview
    chapters: tuple[Chapter, ...]
    models: tuple[ModelSection, ...]

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
        overview=build_overview(sections),
        chapters=chapters,
        models=build_models(sections),
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
        sections = tuple(build_section(group, model_styles, paper_name) for group in own)
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

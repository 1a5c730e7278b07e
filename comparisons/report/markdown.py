"""The Markdown page of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from comparisons.report.figures import Drawing
from comparisons.report.overview import Overview
from comparisons.report.overview_tables import matrix_table, model_table, task_table
from comparisons.report.provenance import Provenance
from comparisons.report.published_table import PublishedLine, PublishedTable
from comparisons.report.search_table import SearchTable
from comparisons.report.sections import Chapter, Report
from comparisons.report.tables import Table
from comparisons.report.task_section import Section
from comparisons.results.text import markdown_table


def markdown_page(report: Report, drawings: Mapping[str, Sequence[Drawing]]) -> str:
    """The page; its figures are PNG files in the folder ``figures`` beside it.

    Args:
        report: What the page shows.
        drawings: Figures by the name of their section.
    """
    return "\n\n".join(block for block in _blocks(report, drawings) if block) + "\n"


def _blocks(report: Report, drawings: Mapping[str, Sequence[Drawing]]) -> Iterator[str]:
    """The blocks of the page: paragraphs, tables and lists."""
    yield f"# {report.title}"
    if paper := report.paper:
        yield f"*{paper.title}*, trained again by its own settings (code: {paper.code})."
    yield report.counts
    if report.resume:
        yield f"**This report is partial.** The same command resumes: `{report.resume}`"
    failed = [f"{run} failed: {error}" for run, error in report.failures]
    yield _list([*failed, *report.problems])
    yield from _overview(report.overview)
    yield _list(_contents(chapter) for chapter in report.chapters)
    yield "## How to read the tables"
    yield _list(f"*{term}*: {text}" for term, text in report.legend)
    yield report.legend_end
    for chapter in report.chapters:
        yield f'<a id="{chapter.name}"></a>'
        yield f"## {chapter.title}"
        yield chapter.measures
        for section in chapter.sections:
            yield from _section(section, drawings[section.name])
        if chapter.search:
            yield from _search(chapter, chapter.search)
        if chapter.published:
            yield from _published(chapter, chapter.published)
        yield chapter.left_out


def _contents(chapter: Chapter) -> str:
    links = [(chapter.title, chapter.name), *((s.form, s.name) for s in chapter.sections)]
    return ", ".join(f"[{title}](#{name})" for title, name in links)


def _overview(overview: Overview) -> Iterator[str]:
    if not overview.tasks:
        return
    yield f"## {overview.title}"
    yield " ".join(overview.sentences)
    yield _table(task_table(overview))
    yield overview.models_title
    yield _table(model_table(overview))
    if len(overview.tasks) > 1:
        yield overview.matrix_title
        yield _table(matrix_table(overview))


def _section(section: Section, drawings: Sequence[Drawing]) -> Iterator[str]:
    yield f'<a id="{section.name}"></a>'
    yield f"### {section.title}"
    yield section.description
    yield _table(section.table)
    yield from section.remarks
    yield _made(section.provenance)
    yield "Where the settings come from:"
    yield _numbered(section.sources)
    for drawing in drawings:
        yield f"![{drawing.title}, {section.title}](figures/{drawing.name}.png)"


def _search(chapter: Chapter, search: SearchTable) -> Iterator[str]:
    yield f"### {chapter.title}: {search.title}"
    yield search.caption
    yield _table(search.table)
    yield "Where the ranges come from:"
    yield _numbered(search.sources)


def _published(chapter: Chapter, published: PublishedTable) -> Iterator[str]:
    yield f"### {chapter.title}: {published.title}"
    yield markdown_table(published.columns, map(_published_cells, published.lines))
    yield published.caption
    if chapter.provenance:
        yield _made(chapter.provenance)
    if published.sources:
        yield published.sources_title
        yield _numbered(published.sources)
    yield _list(published.remarks)


def _published_cells(line: PublishedLine) -> list[str]:
    text = line.text if line.exact else f"*{line.text}*"
    cells = [line.where, line.cite, line.model, text, line.standing]
    if not line.ours:
        return [*cells, "not run", "", ""]
    columns = zip(*((own.text, own.differences, own.note) for own in line.ours), strict=True)
    return [*cells, *map("<br>".join, columns)]


def _made(provenance: Provenance) -> str:
    commands = ", ".join(f"`{command}`" for command in provenance.commands)
    return f"Made {provenance.days} by {commands} on {'; '.join(provenance.machines)}."


def _table(table: Table) -> str:
    return markdown_table(table.columns, [line.cells for line in table.lines])


def _list(items: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(f"- {_line(item)}" for item in items)


def _numbered(items: Sequence[str]) -> str:
    return "\n".join(f"{i}. {_line(item)}" for i, item in enumerate(items, start=1))


def _line(text: str) -> str:
    """The text in one line."""
    return text.replace("\n", " ")

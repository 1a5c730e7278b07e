"""The report of a comparison: plain data, built once, then read by pages and figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comparisons import plugins
from comparisons.output import write_file
from comparisons.papers import PAPERS
from comparisons.report.figures import drawings, save_figure
from comparisons.report.markdown import markdown_page
from comparisons.report.model_figures import model_drawings
from comparisons.report.overview import Overview
from comparisons.report.page import html_page
from comparisons.report.sections import build_report
from comparisons.report.task_section import Section
from comparisons.results.conformance import read_conformance
from comparisons.results.store import Contents, Store


@dataclass(frozen=True)
class WrittenReport:
    """The files of a report, and what a terminal shows of it: remarks are on the folder."""

    pages: tuple[Path, ...]
    overview: Overview
    sections: tuple[Section, ...]
    remarks: tuple[str, ...]


def write_report(folder: Path, figures: bool = True) -> WrittenReport:
    """Write ``report.html``, ``report.md`` and ``figures`` from what the folder holds.

    A partial folder makes a partial report, which says what is missing. The report of a paper is
    headed by it and lists all that it published.

    Args:
        folder: The results folder.
        figures: Whether to draw the figures, which takes most of the time, and to write
            ``report.md``, which shows them. ``report.html`` draws its own in the browser.

    Raises:
        ResultsError: There is no such folder, or it holds no comparison; nothing is created.
        OSError: A file cannot be written.
    """
    store = Store(folder)
    store.require()
    contents = store.load()
    report = build_report(contents, tuple(_notes(folder, contents)))
    pages = [folder / "report.html"]
    write_file(pages[0], html_page(report))  # first: it is there if the rest is interrupted
    if figures:
        drawn = {section.name: drawings(section) for section in report.sections}
        of_sections = (drawing for found in drawn.values() for drawing in found)
        for drawing in (*of_sections, *model_drawings(report.models)):
            save_figure(drawing.figure, folder / "figures" / drawing.name)
        pages.append(folder / "report.md")
        write_file(pages[1], markdown_page(report, drawn))
    return WrittenReport(tuple(pages), report.overview, report.sections, report.problems)


def _notes(folder: Path, contents: Contents) -> Iterator[str]:
    """Lines on plug-ins: what they bring and is not here, and schemes that were not checked."""
    if contents.plan and contents.plan.paper and contents.plan.paper not in tuple(PAPERS):
        yield f"unknown paper {contents.plan.paper!r}; name the plug-in that brings it by --plugin"
    here = {plugin.name for plugin in plugins.loaded()}
    for name in contents.plan.plugins if contents.plan else ():
        if name not in here:
            yield f"the last command loaded {name}; this report shows what it brings by --plugin"
    trained = {result.run.model for result in contents.results}
    for name in read_conformance(folder).unchecked:
        if name in trained:
            yield f"{name} was trained without the conformance kit (--skip-conformance)"

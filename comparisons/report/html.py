"""The HTML page of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from comparisons.report.figures import Drawing, to_svg
from comparisons.report.sections import Report
from comparisons.report.tables import TEXT_COLUMNS


def html_page(report: Report, drawings: Mapping[str, Sequence[Drawing]]) -> str:
    """The page, which loads no other file.

    Args:
        report: What the page shows.
        drawings: Figures by the name of their section.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(svg=to_svg, text_columns=TEXT_COLUMNS)
    template = environment.get_template("report.html.j2")
    return template.render(report=report, drawings=drawings)

"""The HTML page of a report."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2

from comparisons.report.page.cells import (
    format_score,
    main_columns,
    matrix_lines,
    results_lines,
    speed_lines,
)
from comparisons.report.page.data import page_data
from comparisons.report.page.packing import import_map, packed, packed_library, style_sheet
from comparisons.report.sections import Report
from comparisons.report.tables import TEXT_COLUMNS
from comparisons.results.text import format_cell

LIBRARIES = {
    "plotly": ("plotly", "package_data/plotly.min.js"),
    "datatables": ("itables", "html/dt_bundle.js"),
}
"""Package and file of each library that the scripts use, by its name in ``unpack.js``."""


def html_page(report: Report) -> str:
    """The page, which loads no other file and links to the raw files beside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        format_cell=format_cell,
        format_score=format_score,
        main_columns=main_columns,
        matrix_lines=matrix_lines,
        results_lines=results_lines,
        speed_lines=speed_lines,
        text_columns=TEXT_COLUMNS,
    )
    data = json.dumps(page_data(report), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return environment.get_template("page.html.j2").render(
        report=report,
        sections={section.name: section for section in report.sections},
        model_sections={model.model: model for model in report.models},
        style=style_sheet(),
        modules=import_map(),
        data=packed(data.encode("utf-8")),
        libraries={name: packed_library(*place) for name, place in LIBRARIES.items()},
    )

"""Print the end of a comparison: who solves what, and then the results on each task."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from comparisons.cli.console import get_console, say
from comparisons.cli.terminal_table import Column, print_table

if TYPE_CHECKING:  # drawing is slow to import, and every worker process imports this file
    from comparisons.report.overview import Overview
    from comparisons.report.tables import Table
    from comparisons.report.task_section import Section

_STYLES = {"bound": "red", "baseline": "dim", "scheme": ""}
_FEWEST = 10
"""Least number of lines of a table that is shown of each task."""
_AROUND = 6
"""Lines of a screen that are kept for what stands around a table."""


def print_summary(overview: Overview, sections: Collection[Section], page: Path) -> None:
    """Print the overview, and of each section what fits.

    Args:
        overview: Who solves what.
        sections: The results on each task.
        page: The page that shows all.
    """
    from comparisons.report.overview_tables import model_table, task_table

    if not overview.tasks:
        return
    get_console().print(Text(" ".join(overview.sentences)))
    say("")
    _print(overview.title, task_table(overview))
    say("")
    if len(overview.tasks) > 1:
        _print(overview.models_title, model_table(overview))
        say("")
    for section in sections:
        _print(section.title, section.table.part(section.main_columns), _lines())
        for remark in section.remarks:
            get_console().print(Text(remark))
        say("")
    say(f"all columns and lines, and what they mean: {page}")


def _print(title: str, table: Table, limit: int | None = None) -> None:
    lines = table.lines[:limit]
    columns = [
        Column(name, tuple(line.cells[place] for line in lines), name not in table.texts)
        for place, name in enumerate(table.columns)
    ]
    console = get_console()
    print_table(console, title, columns, [_STYLES[line.kind] for line in lines])
    if len(lines) < len(table.lines):
        say(f"and {len(table.lines) - len(lines)} more lines")


def _lines() -> int | None:
    """Number of lines of a table that a screen shows; None where there is no screen."""
    console = get_console()
    return max(_FEWEST, console.height - _AROUND) if console.is_terminal else None

"""The results table of a section: one line for each summary, and the analytic bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from comparisons.models import is_baseline
from comparisons.report.levels import Levels
from comparisons.results.summary import Summary, ranked, solvable
from comparisons.results.text import format_cell
from comparisons.tasks import Task

TEXT_COLUMNS = ("model", "training", "settings")
"""Columns that hold no numbers."""
MAIN_COLUMNS = ("solved at", "n", "ms / step", "validation", "defect end", "parameters (of W)")
"""Columns for a terminal after model, loss and metric, the most important ones first."""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        cells: A text for each column.
        kind: "baseline" for a usual network, "bound" for a loss known without training, "scheme"
            for a scheme or a plug-in's model.
    """

    cells: tuple[str, ...]
    kind: Literal["scheme", "baseline", "bound"]


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        columns: Names of the columns.
        lines: Its lines.
        texts: Names of the columns that hold no numbers.
    """

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    texts: tuple[str, ...] = TEXT_COLUMNS

    def part(self, columns: Sequence[str]) -> Table:
        """The table with those of its columns that are named, in the order of the names."""
        places = [self.columns.index(column) for column in columns if column in self.columns]
        lines = (Line(tuple(line.cells[i] for i in places), line.kind) for line in self.lines)
        return Table(tuple(self.columns[i] for i in places), tuple(lines), self.texts)


def results_table(
    task: Task, summaries: Sequence[Summary], levels: Levels, notes: Mapping[str, int]
) -> Table:
    """The table of a section in the order of the summaries.

    If that is the order of the losses, the bounds stand where they fall, and otherwise on top.

    Args:
        task: The task in one variant and length.
        summaries: All of that task, in order.
        levels: The losses that are known without training.
        notes: Number of the note for each source of a setting.
    """
    columns = _columns(task, summaries)
    bounds = list(levels.baselines())
    if levels.optimum is not None:
        bounds.append(("optimum", levels.optimum))
    entries = [(loss, _bound(name, loss, columns)) for name, loss in bounds]
    for summary in summaries:
        cells = summary.cells(f"[{notes[summary.setting.source]}]")
        line = tuple(cells[column] for column in columns)
        kind: Literal["baseline", "scheme"]
        kind = "baseline" if is_baseline(summary.model) else "scheme"
        entries.append((summary.loss, Line(line, kind)))
    if ranked(summaries):
        entries.sort(key=lambda entry: entry[0])
    return Table(columns, tuple(line for _, line in entries))


def _columns(task: Task, summaries: Sequence[Summary]) -> tuple[str, ...]:
    """The columns, without those that would be empty."""
    left_out = set()
    if not solvable(task):
        left_out.add("solved at")
    if not any(summary.validated for summary in summaries):
        left_out.add("validation")
    if not any(summary.selected for summary in summaries):
        left_out.add("best at")
    return tuple(column for column in summaries[0].cells("") if column not in left_out)


def _bound(name: str, loss: float, columns: Sequence[str]) -> Line:
    known = {"model": name, "test loss": format_cell(loss, 4)}
    return Line(tuple(known.get(column, "") for column in columns), "bound")

"""The table of how settings were searched: the range, the best value, and whether it is an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comparisons.models import is_baseline
from comparisons.report.tables import Line, Table
from comparisons.results.text import NONE, format_cell
from comparisons.studies import Study, in_words

COLUMNS = ("where", "model", "n", "trials", "searched", "range", "best", "edge", "validation loss")
"""Columns of the table; keys of the rows in an export."""


@dataclass(frozen=True)
class SearchTable:
    """The searches on one task.

    Attributes:
        title: Heading, after the name of the task.
        caption: What the columns mean, and how values were chosen.
        table: A line for each dimension of each search.
        sources: Where the ranges come from.
    """

    title = "search for settings"
    caption: str
    table: Table
    sources: tuple[str, ...]


def search_table(studies: Sequence[Study]) -> SearchTable:
    """The table of some searches on one task."""
    lines = []
    for row in search_rows(studies):
        cells = tuple(format_cell(row[column]) for column in COLUMNS)
        lines.append(Line(cells, "baseline" if is_baseline(row["model"]) else "scheme"))
    return SearchTable(
        caption=caption(studies),
        table=Table(COLUMNS, tuple(lines)),
        sources=tuple(dict.fromkeys(f"{s.model}: {s.space_source}" for s in studies)),
    )


def caption(studies: Sequence[Study]) -> str:
    """Sentences on the budget and the choice."""
    budgets = sorted({study.budget for study in studies})
    samplers = sorted({study.sampler for study in studies})
    seeds = sorted({study.seed for study in studies})
    same = "the same budget for every model" if len(budgets) == 1 else "budgets differ"
    return (
        f"Each model had {_either(budgets)} trials on each task: {same}. They were chosen by "
        f"{_either(samplers)} and trained with seed {_either(seeds)}, which no run in the tables "
        "has. The best one has the least loss on a validation set; no test set had a part in the "
        "choice. Trials that failed count. A best value at an edge, in the outer tenth of a range "
        "(of its logarithm) or the outermost of several numbers, suggests a wider range."
    )


def search_rows(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """A row for each dimension of each study."""
    return [row for study in studies for row in _rows(study)]


def _rows(study: Study) -> list[dict[str, Any]]:
    best, failed = study.best, sum(trial.loss is None for trial in study.trials)
    trials = str(len(study.trials))
    if len(study.trials) < study.budget:
        trials += f" of {study.budget}"
    if failed:
        trials += f" ({failed} failed)"
    where = ", ".join(part for part in (study.variant, f"T = {study.length}") if part)
    return [
        {
            "where": where,
            "model": study.model,
            "n": study.hidden_size,
            "trials": trials,
            "searched": dimension.name,
            "range": str(dimension),
            "best": NONE if best is None else in_words(best.values[dimension.name]),
            "edge": study.edges.get(dimension.name, ""),
            "validation loss": None if best is None else best.loss,
        }
        for dimension in study.space
    ]


def _either(values: Sequence[Any]) -> str:
    return " or ".join(map(str, values))

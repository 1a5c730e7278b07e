"""Published results beside ours: which of our rows speak of the same thing, and what differs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from comparisons.papers import PAPERS, TAGS, Outcome, Paper
from comparisons.records import Setting
from comparisons.results.summary import Row
from comparisons.tasks import TASKS

SIZE = "other size"
SHOWN = 3
"""Rows beside one published result, at most."""


@dataclass(frozen=True)
class Ours:
    """A row of ours, and in what it is not what was published."""

    text: str
    differs: str
    source: str
    size: int


@dataclass(frozen=True)
class Comparison:
    """A published outcome beside ours."""

    cite: str
    outcome: Outcome
    ours: tuple[Ours, ...]

    @property
    def where(self) -> str:
        """The data and lengths it holds for."""
        lengths = ", ".join(map(str, self.outcome.lengths))
        parts = [self.outcome.variant, f"T = {lengths}" if lengths else ""]
        return ", ".join(part for part in parts if part)

    @property
    def standing(self) -> str:
        """The tag, and what it means."""
        return f"[{self.outcome.tag}] {TAGS[self.outcome.tag]}"


def comparisons_on(
    task: str, rows: Sequence[Row], paper: Paper | None
) -> tuple[tuple[Comparison, ...], int]:
    """What was published on a task, and how many results more have nothing of ours beside them.

    Of one paper everything is listed; else only what is on data and of a model that were run, and
    of a model that was published in several sizes only the one nearest to ours.
    """
    listed, left_out = [], 0
    for source in PAPERS.values() if paper is None else [paper]:
        for outcome in source.outcomes:
            if outcome.task != task:
                continue
            ours = _ours(outcome, rows, any_data=paper is not None)
            if ours or paper is not None:
                listed.append(Comparison(source.cite, outcome, ours))
            else:
                left_out += 1
    near = listed if paper is not None else _nearest(listed)
    return tuple(near), left_out + len(listed) - len(near)


def _nearest(compared: Sequence[Comparison]) -> list[Comparison]:
    """Without those whose model was also published in a size nearer to ours."""
    groups: dict[tuple[Any, ...], dict[Comparison, float]] = defaultdict(dict)
    for item in compared:
        told = item.outcome
        key = (item.cite, told.series, told.lengths, told.variant, told.setting)
        sizes = [ours.size for ours in item.ours]
        groups[key][item] = min(abs(math.log((told.size or size) / size)) for size in sizes)
    return [
        item
        for group in groups.values()
        for item, distance in group.items()
        if distance == min(group.values())
    ]


def published_for(row: Row, paper: Paper) -> str:
    """What the paper reported of a row's model on its data: at its size or, named, the nearest."""
    same: list[str] = []
    others: dict[int, list[str]] = {}
    n = row.setting.hidden_size
    for outcome in paper.outcomes:
        if outcome.task != row.task.name or row.model not in outcome.ours:
            continue
        # Words mark what was not read in print; a number alone would pass for exact.
        text = outcome.text if outcome.exact else f"{outcome.text} [{outcome.tag}]"
        differs = _differences(outcome, row)
        if not differs:
            same.append(text)
        elif outcome.size is not None and all(part.startswith(SIZE) for part in differs):
            words = f"{text} (n = {outcome.size})"
            others.setdefault(abs(outcome.size - n), []).append(words)
    return "; ".join(same or others.get(min(others, default=0), []))


def remarks_on(task: str, compared: Iterable[Comparison]) -> tuple[str, ...]:
    """What the papers that are compared with say a reader should know."""
    cites = {item.cite for item in compared}
    return tuple(
        f"{paper.cite}: {remark}"
        for paper in PAPERS.values()
        if paper.cite in cites
        for remark in (*paper.remarks, *paper.remarks_on.get(task, ()))
    )


def _ours(outcome: Outcome, rows: Sequence[Row], any_data: bool) -> tuple[Ours, ...]:
    """The rows of the same model that differ least from what was published."""
    found = [
        (len(differs), row, differs)
        for row in rows
        if row.model in outcome.ours
        for differs in [_differences(outcome, row)]
        if any_data or not any(part.startswith("other data") for part in differs)
    ]
    least = min((count for count, _, _ in found), default=0)
    return tuple(
        Ours(_text(row), ", ".join(differs), row.setting.source, row.setting.hidden_size)
        for count, row, differs in found
        if count == least
    )[:SHOWN]


def _differences(outcome: Outcome, row: Row) -> list[str]:
    run, setting = row.results[0].run, row.setting
    task = TASKS.get(outcome.task)
    differs = []
    if run.variant != task.check_variant(outcome.variant):
        differs.append(f"other data: {run.variant}")
    if outcome.lengths and run.length not in outcome.lengths:
        differs.append(f"other length: {run.length}")
    if outcome.size not in (None, setting.hidden_size):
        differs.append(f"{SIZE}: {setting.hidden_size}")
    for name, value in outcome.setting:
        if (own := _value(setting, name)) != value:
            differs.append(f"other {name.replace('_', ' ')}: {own}")
    return differs


def _value(setting: Setting, name: str) -> Any:
    """A field of a setting, or an option of its scheme where one is given."""
    return dict(setting.options).get(name, getattr(setting, name, "its default"))


def _text(row: Row) -> str:
    loss = row.mean(lambda result: result.chosen.test_loss)
    return (
        f"{row.task.metric_name} {row.measured()}, loss {loss} ({row.label}, "
        f"T = {row.task.length}, {row.setting.iterations:,} iterations)"
    )

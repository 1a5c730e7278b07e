"""Published results and the summaries of ours that belong beside them, with their differences."""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from comparisons.papers import PAPERS, Paper, PublishedResult
from comparisons.records import Setting
from comparisons.results.summary import Summary
from comparisons.tasks import TASKS

SHOWN = 3
"""Summaries beside one published result, at most."""


class Kind(enum.Enum):
    """The kind of a difference between a published result and a summary of ours."""

    DATA = "data"
    LENGTH = "length"
    SIZE = "size"
    SETTING = "setting"


@dataclass(frozen=True)
class Difference:
    """One thing in which a summary differs from what was published.

    Attributes:
        kind: What differs.
        own: The summary's value of it.
        name: The field or option, for a difference in the setting.
    """

    kind: Kind
    own: Any
    name: str = ""

    def __str__(self) -> str:
        return f"other {(self.name or self.kind.value).replace('_', ' ')}: {self.own}"


@dataclass(frozen=True)
class Counterpart:
    """A summary of ours that stands beside a published result."""

    summary: Summary
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Comparison:
    """A published result and the summaries of ours that differ least from it."""

    cite: str
    published: PublishedResult
    ours: tuple[Counterpart, ...]


def compare(
    task: str, summaries: Sequence[Summary], paper: Paper | None
) -> tuple[tuple[Comparison, ...], int]:
    """Compare the summaries of a task with what was published on it.

    Args:
        task: Registered name.
        summaries: All of that task.
        paper: If given, all its results are listed, with or without ours. Otherwise a result of any
            paper is listed if its data and model were run; of a model that was published in several
            sizes, only the size nearest to ours.

    Returns:
        The comparisons, and the number of published results that are left out.
    """
    listed, left_out = [], 0
    for source in PAPERS.values() if paper is None else [paper]:
        for published in source.published:
            if published.task != task:
                continue
            ours = _counterparts(published, summaries, any_data=paper is not None)
            if ours or paper is not None:
                listed.append(Comparison(source.cite, published, ours))
            else:
                left_out += 1
    near = listed if paper is not None else _nearest(listed)
    return tuple(near), left_out + len(listed) - len(near)


def published_for(summary: Summary, paper: Paper) -> str:
    """The paper's results for a summary's model and data, at its size or else the nearest one."""
    same: list[str] = []
    others: dict[int, list[str]] = {}
    n = summary.setting.model.hidden_size
    for published in paper.published:
        if published.task != summary.task.name or summary.model not in published.ours:
            continue
        # Without its tag, the number would seem exact.
        text = published.text if published.exact else f"{published.text} [{published.tag}]"
        differences = _differences(published, summary)
        if not differences:
            same.append(text)
        elif published.size is not None and all(d.kind is Kind.SIZE for d in differences):
            words = f"{text} (n = {published.size})"
            others.setdefault(abs(published.size - n), []).append(words)
    return "; ".join(same or others.get(min(others, default=0), []))


def remarks_on(task: str, comparisons: Iterable[Comparison]) -> tuple[str, ...]:
    """Remarks of the papers in the comparisons that a reader should know."""
    cites = {item.cite for item in comparisons}
    return tuple(
        f"{paper.cite}: {remark}"
        for paper in PAPERS.values()
        if paper.cite in cites
        for remark in (*paper.remarks, *paper.remarks_on.get(task, ()))
    )


def _nearest(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons without those whose model was also published in a size nearer to ours."""
    groups: dict[tuple[Any, ...], list[tuple[Comparison, float]]] = defaultdict(list)
    for item in comparisons:
        theirs = item.published
        key = (item.cite, theirs.model, theirs.lengths, theirs.variant, theirs.setting)
        sizes = [own.summary.setting.model.hidden_size for own in item.ours]
        distance = min(abs(math.log((theirs.size or size) / size)) for size in sizes)
        groups[key].append((item, distance))
    return [
        item
        for group in groups.values()
        for item, distance in group
        if distance == min(other for _, other in group)
    ]


def _counterparts(
    published: PublishedResult, summaries: Sequence[Summary], any_data: bool
) -> tuple[Counterpart, ...]:
    """The summaries of the same model that differ least from what was published."""
    found = [
        Counterpart(summary, differences)
        for summary in summaries
        if summary.model in published.ours
        for differences in [_differences(published, summary)]
        if any_data or all(difference.kind is not Kind.DATA for difference in differences)
    ]
    least = min((len(item.differences) for item in found), default=0)
    return tuple(item for item in found if len(item.differences) == least)[:SHOWN]


def _differences(published: PublishedResult, summary: Summary) -> tuple[Difference, ...]:
    run, setting = summary.results[0].run, summary.setting
    differences = []
    if run.variant != TASKS.get(published.task).check_variant(published.variant):
        differences.append(Difference(Kind.DATA, run.variant))
    if published.lengths and run.length not in published.lengths:
        differences.append(Difference(Kind.LENGTH, run.length))
    if published.size not in (None, setting.model.hidden_size):
        differences.append(Difference(Kind.SIZE, setting.model.hidden_size))
    for name, value in published.setting:
        if (own := _value(setting, name)) != value:
            differences.append(Difference(Kind.SETTING, own, name))
    return tuple(differences)


def _value(setting: Setting, name: str) -> Any:
    """A field of a setting, or an option of its scheme where one is given."""
    return {**setting.values(), **dict(setting.model.options)}.get(name, "its default")

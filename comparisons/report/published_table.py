"""The table that sets published results beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.papers import PublishedResult
from comparisons.results.published import Comparison, remarks_on
from comparisons.results.summary import Summary

COLUMNS = (
    "data, T", "source", "model", "published", "how it is known", "ours", "not as published",
    "settings",
)  # fmt: skip


@dataclass(frozen=True)
class Own:
    """A result of ours beside a published one.

    Attributes:
        text: Metric and loss, and the model, length and iterations behind them.
        differences: How it differs from the published result.
        note: Reference to the source of its setting.
    """

    text: str
    differences: str
    note: str


@dataclass(frozen=True)
class PublishedLine:
    """A published result and ours beside it.

    Attributes:
        where: Data and lengths.
        cite: The paper.
        model: The paper's name for its model, with the size.
        text: The result.
        exact: Whether the text may be shown as the paper's own.
        standing: How the result is known.
        ours: Results of ours; none if the model was not run.
    """

    where: str
    cite: str
    model: str
    text: str
    exact: bool
    standing: str
    ours: tuple[Own, ...]


@dataclass(frozen=True)
class PublishedTable:
    """Published results on a task beside ours.

    Attributes:
        columns: Headings.
        lines: A line for each published result.
        sources: Sources of our settings; the lines refer to them by number.
        remarks: The papers' remarks, which a reader should know.
    """

    title = "published results beside ours"
    caption = "Values in italics are not exact."
    sources_title = "How ours were trained, and what departs from the papers:"
    columns: tuple[str, ...]
    lines: tuple[PublishedLine, ...]
    sources: tuple[str, ...]
    remarks: tuple[str, ...]


def published_table(task: str, comparisons: Sequence[Comparison]) -> PublishedTable:
    """The table of the comparisons on a task."""
    found = (own.summary.setting.source for item in comparisons for own in item.ours)
    sources = tuple(dict.fromkeys(found))
    lines = []
    for item in comparisons:
        published = item.published
        ours = tuple(
            Own(
                _text(own.summary),
                ", ".join(map(str, own.differences)),
                f"[{sources.index(own.summary.setting.source) + 1}]",
            )
            for own in item.ours
        )
        lines.append(
            PublishedLine(
                where=_where(published),
                cite=item.cite,
                model=published.label,
                text=published.text,
                exact=published.exact,
                standing=f"[{published.tag}] {published.tag.meaning}",
                ours=ours,
            )
        )
    return PublishedTable(COLUMNS, tuple(lines), sources, remarks_on(task, comparisons))


def _where(published: PublishedResult) -> str:
    lengths = ", ".join(map(str, published.lengths))
    parts = [published.variant, f"T = {lengths}" if lengths else ""]
    return ", ".join(part for part in parts if part)


def _text(summary: Summary) -> str:
    loss = summary.mean(lambda result: result.chosen.test_loss)
    return (
        f"{summary.task.metric_name} {summary.measured()}, loss {loss} ({summary.label}, "
        f"T = {summary.task.length}, {summary.setting.training.iterations:,} iterations)"
    )

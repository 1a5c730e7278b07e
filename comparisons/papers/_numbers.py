"""What a paper reported, read from the CSV file beside its settings, one printed number a row.

The columns of ``NAME.csv``:

- ``where``: the table or figure, if that is known;
- ``task``, ``variant``, ``length``: several lengths are separated by blanks;
- ``model``, ``size``: the paper's name for its model, and its hidden units;
- ``shown_as``: model and size in one, if not in this order;
- ``ours``: our names for the model, separated by blanks;
- ``setting``: NAME=VALUE pairs separated by semicolons;
- ``quantity``, ``value``: a key of :data:`PHRASES`, and the number as printed;
- ``validation``: the same on the validation set;
- ``source``: a tag of :class:`Source`;
- ``note``: what is said beside the number, or instead of one.

``NAME.readings.csv`` holds points of curves.
"""

from __future__ import annotations

import csv
import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparisons.records import Optimizer

PHRASES = {
    "accuracy": "{}{:g} %",
    "bits per character": "{}{:.2f} bits",
    "normalised MSE": "{}{:.3g}",
    "perplexity": "{}{:.2f}",
    "R²": "R² {}{:.3f}",
}
"""How a number of each quantity is shown, after the sign of what is not exact."""


class Source(str, enum.Enum):
    """Where a published number was read; the value is the tag that tables print."""

    PRINTED = "V"
    SECOND_HAND = "V2"
    FIGURE = "F"
    PARTLY_FIGURE = "F,V"
    RECALLED_HIGH = "M-H"
    RECALLED_MEDIUM = "M-M"
    RECALLED_LOW = "M-L"

    def __str__(self) -> str:
        return self.value

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]

    @property
    def exact(self) -> bool:
        """Whether a number of this source may be shown as the paper's own."""
        return self in (Source.PRINTED, Source.SECOND_HAND)


_MEANINGS = {
    Source.PRINTED: "read in the paper or its authors' code",
    Source.SECOND_HAND: "read in another paper's table or README",
    Source.FIGURE: "read off a published figure by eye",
    Source.PARTLY_FIGURE: "partly read off a figure, partly printed; taken as read off the figure",
    Source.RECALLED_HIGH: "from memory, not confirmed; confidence high",
    Source.RECALLED_MEDIUM: "from memory, not confirmed; confidence medium",
    Source.RECALLED_LOW: "from memory, not confirmed; confidence low",
}


@dataclass(frozen=True)
class PublishedResult:
    """One published result.

    Attributes:
        task: Registered name.
        lengths: The lengths T it holds for.
        model: The paper's name for its model, with the size.
        ours: Our names for the same model, or for the nearest there is.
        text: What was reported.
        tag: Where it was read.
        size: Hidden units; None where it is not known or does not matter.
        variant: Variant of the task; "" is its default.
        value: The number in the task's metric, for plots and tables; None where the text says
            more than a number can.
        setting: What tells its training from others of the same model and size, as pairs of name
            and value: fields of a :class:`Setting`, or the scheme's options.
        series: The paper's name without the size: what a line over the sizes is of.
    """

    task: str
    lengths: tuple[int, ...]
    model: str
    ours: tuple[str, ...]
    text: str
    tag: Source
    size: int | None = None
    variant: str = ""
    value: float | None = None
    setting: tuple[tuple[str, Any], ...] = ()

    series: str = ""

    def __post_init__(self) -> None:  # old name: remove at integration, where all say both
        object.__setattr__(self, "tag", Source(self.tag))
        series = self.series or self.model.replace(f" {self.size}", "", 1).rstrip(",")
        object.__setattr__(self, "series", series)

    @property
    def exact(self) -> bool:
        """Whether the text may be shown as the paper's own number."""
        return self.tag.exact


@dataclass(frozen=True)
class Reading:
    """One point of a curve in a published figure.

    Attributes:
        panel: Of the figure; the script that draws ours has the same names.
        model: Our name for the model.
        step: t, counted from 0.
        value: At that step.
        text: What is seen there.
        tag: Where it was read.
    """

    panel: str
    model: str
    step: int
    value: float
    text: str
    tag: Source


def read_results(path: Path) -> tuple[PublishedResult, ...]:
    """The rows of a file of published numbers; none if the file is not there."""
    return tuple(map(_result, _rows(path)))


def read_readings(path: Path) -> tuple[Reading, ...]:
    """The rows of a file of points of curves; none if the file is not there."""
    return tuple(
        Reading(
            row["panel"],
            row["model"],
            int(row["step"]),
            float(row["value"]),
            row["note"],
            Source(row["source"]),
        )
        for row in _rows(path)
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _result(row: dict[str, str]) -> PublishedResult:
    series, size, value = row["model"], row["size"], row["value"]
    source = Source(row["source"])
    text = row["note"]
    if value:
        text = PHRASES[row["quantity"]].format("" if source.exact else "≈ ", float(value))
        text += f" (validation {row['validation']})" if row.get("validation") else ""
        text += f", {row['note']}" if row["note"] else ""
    return PublishedResult(
        row["task"],
        tuple(map(int, row["length"].split())),
        row["shown_as"] or " ".join(part for part in (series, size) if part),
        tuple(row["ours"].split()),
        text,
        source,
        int(size) if size else None,
        row["variant"],
        float(value) if value else None,
        tuple(map(_pair, filter(None, row["setting"].split("; ")))),
        series,
    )


def _pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value a number, null, a word or, for an optimizer, kind, lr and decay."""
    name, _, value = text.partition("=")
    if name == "optimizer":
        kind, lr, alpha = value.split()
        return name, Optimizer(kind, float(lr), float(alpha))
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value

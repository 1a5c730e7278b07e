"""Read what a paper reported from the CSV file beside its settings, one printed number a row.

The columns of ``NAME.csv``, first those that are compared with the printed table by eye:

- ``printed_in``: the table or figure, if that is known;
- ``model``, ``size``: the paper's name for its model, and the number of its hidden units;
- ``task``, ``variant``, ``length``: several lengths are separated by blanks;
- ``quantity``, ``value``: a key of :data:`PHRASES`, and the number as printed;
- ``paired_with``: the other number, where a table prints pairs;
- ``tag``: the value of a :class:`Source`;
- ``note``: what is said beside the number, or instead of one;
- ``label``: how the report names model and size; empty for the model followed by the size;
- ``ours``: our names for the model, separated by blanks;
- ``setting``: NAME=VALUE pairs separated by semicolons.

The columns of ``NAME.readings.csv``, which holds points of curves, are the fields of
:class:`Reading`; ``note`` is its text.
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
"""Phrases for the numbers of each quantity; "≈ " comes before a number that is not exact."""


class Source(str, enum.Enum):
    """The place where a published number was read; the value is the tag that tables print."""

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
        model: The paper's name for its model, without the size.
        label: Model and size, as tables show them.
        ours: Our names for the same model, or for the most similar one.
        text: The result in words, with its number if it has one.
        tag: Where it was read.
        size: Number of hidden units; None where it is not known or does not matter.
        variant: Variant of the task; "" is its default.
        value: The number in the task's metric, for plots and tables; None where the text says
            more than a number can.
        setting: What tells its training from others of the same model and size, as pairs of name
            and value: fields of a :class:`Setting`, or the scheme's options.
    """

    task: str
    lengths: tuple[int, ...]
    model: str
    label: str
    ours: tuple[str, ...]
    text: str
    tag: Source
    size: int | None = None
    variant: str = ""
    value: float | None = None
    setting: tuple[tuple[str, Any], ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the text may be shown as the paper's own number."""
        return self.tag.exact


@dataclass(frozen=True)
class Reading:
    """One point of a curve in a published figure.

    Attributes:
        panel: Panel of the figure, a key of ``experiments.norms.PANELS``.
        model: Our name for the model.
        step: t, counted from 0.
        value: The value of the curve at that step.
        text: What the figure shows there.
        tag: Where it was read.
    """

    panel: str
    model: str
    step: int
    value: float
    text: str
    tag: Source


def read_results(path: Path) -> tuple[PublishedResult, ...]:
    """The results in a file of published numbers; none if the file does not exist."""
    return tuple(map(_result, _rows(path)))


def read_readings(path: Path) -> tuple[Reading, ...]:
    """The readings in a file of points of curves; none if the file does not exist."""
    return tuple(
        Reading(
            panel=row["panel"],
            model=row["model"],
            step=int(row["step"]),
            value=float(row["value"]),
            text=row["note"],
            tag=Source(row["tag"]),
        )
        for row in _rows(path)
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _result(row: dict[str, str]) -> PublishedResult:
    model, size, value, tag = row["model"], row["size"], row["value"], Source(row["tag"])
    text = row["note"]
    if value:
        text = PHRASES[row["quantity"]].format("" if tag.exact else "≈ ", float(value))
        text += f" (printed with {row['paired_with']})" if row.get("paired_with") else ""
        text += f", {row['note']}" if row["note"] else ""
    return PublishedResult(
        task=row["task"],
        lengths=tuple(map(int, row["length"].split())),
        model=model,
        label=row["label"] or " ".join(part for part in (model, size) if part),
        ours=tuple(row["ours"].split()),
        text=text,
        tag=tag,
        size=int(size) if size else None,
        variant=row["variant"],
        value=float(value) if value else None,
        setting=tuple(map(_pair, filter(None, row["setting"].split("; ")))),
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

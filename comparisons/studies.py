"""Records of a search over settings: dimensions, trials and studies, plain and frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

OUTER = 0.1
"""Share of a range, at each end, that counts as its edge."""


@dataclass(frozen=True)
class Dimension:
    """A part of a setting that is searched: a range of numbers, or choices.

    Attributes:
        name: What is changed, in the words of ``comparisons.plan.changes``.
        low: Least number of a range; None for choices.
        high: Largest number of a range; None for choices.
        log: Whether a range is searched evenly in the logarithm.
        choices: The values that can be chosen; empty for a range.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = True
    choices: tuple[Any, ...] = ()

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The ends of a range; None for choices."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def __str__(self) -> str:
        if self.bounds is None:
            return "{" + ", ".join(map(in_words, self.choices)) + "}"
        low, high = map(in_words, self.bounds)
        return f"[{low}, {high}]" if self.log else f"[{low}, {high}], evenly"

    def holds(self, value: Any) -> bool:
        """Whether the value can be found by the search."""
        if self.bounds is None:
            return value in self.choices
        return _is_number(value) and self.bounds[0] <= value <= self.bounds[1]

    def edge(self, value: Any) -> str:
        """The end of the range at which the value is, "low" or "high", or "" if it is at none.

        An end is the outer tenth of a range, or the outermost of choices that are numbers; other
        choices have no order.
        """
        if self.bounds is None:
            numbers = [choice for choice in self.choices if _is_number(choice)]
            ordered = len(numbers) == len(self.choices) > 1 and _is_number(value)
            if not ordered:
                return ""
            return _end(value <= min(numbers), value >= max(numbers))
        low, high = self.bounds
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        margin = OUTER * (high - low) * (1 + 1e-9)
        return _end(value <= low + margin, value >= high - margin)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Dimension:
        """The inverse of :func:`dataclasses.asdict`."""
        return cls(**{**data, "choices": tuple(map(frozen, data["choices"]))})


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    Attributes:
        values: The value of each dimension.
        run: Id of its run.
        loss: Its validation loss; None if the run failed.
        error: Why it failed.
    """

    values: dict[str, Any]
    run: str
    loss: float | None
    error: str = ""


@dataclass(frozen=True)
class Study:
    """The search for the setting of one model on one task.

    Attributes:
        id: Id of the run that the search started from, with seed 0.
        task: Name of the task.
        variant: Its variant.
        length: T of the sequences.
        model: Name of the scheme or baseline.
        hidden_size: Its units.
        space: What was searched.
        space_source: Where the space comes from, in words.
        sampler: How values were chosen: "tpe", "random" or "grid".
        budget: Number of trials that were asked for.
        seed: Seed of the runs of the trials; none of the reported runs has it.
        trials: The trials, in order; those that failed count, too.
        command: The command that asked for them.
    """

    id: str
    task: str
    variant: str
    length: int
    model: str
    hidden_size: int
    space: tuple[Dimension, ...]
    space_source: str
    sampler: str
    budget: int
    seed: int
    trials: tuple[Trial, ...] = ()
    command: str = ""

    @property
    def best(self) -> Trial | None:
        """The trial with the least validation loss, the first of several; None if all failed."""
        tried = [trial for trial in self.trials if trial.loss is not None]
        return min(tried, key=lambda trial: trial.loss or 0.0, default=None)

    @property
    def edges(self) -> dict[str, str]:
        """The end of its range at which the best value is, by dimension; see `Dimension.edge`."""
        if self.best is None:
            return {}
        values = self.best.values
        return {dimension.name: dimension.edge(values[dimension.name]) for dimension in self.space}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Study:
        """The inverse of :func:`dataclasses.asdict`."""
        trials = (
            Trial(**{**t, "values": {name: frozen(v) for name, v in t["values"].items()}})
            for t in data["trials"]
        )
        space = tuple(map(Dimension.from_dict, data["space"]))
        return cls(**{**data, "space": space, "trials": tuple(trials)})


def in_words(value: Any) -> str:
    """A value of a dimension, for people."""
    if value is None:
        return "its own"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def frozen(value: Any) -> Any:
    """The value with tuples in place of lists, which files have."""
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _end(low: bool, high: bool) -> str:
    return "low" if low else "high" if high else ""

"""Losses that are known without training, beside which a section shows those of the models."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from comparisons.records import Result
from comparisons.tasks import Task


@dataclass(frozen=True)
class Levels:
    """Losses of a task in one variant and length, means over runs where the seed draws the task.

    Attributes:
        constant: The constant baseline.
        memoryless: The memoryless baseline; None where it is not known.
        optimum: The least loss that any predictor can reach; None where that is zero or unknown.
    """

    constant: float
    memoryless: float | None = None
    optimum: float | None = None

    @classmethod
    def of(cls, task: Task, results: Sequence[Result]) -> Levels:
        """The levels that the results have recorded, and the task's optimum."""
        known = [result.memoryless for result in results if result.memoryless is not None]
        return cls(
            statistics.fmean(result.baseline for result in results),
            statistics.fmean(known) if len(known) == len(results) else None,
            task.optimum,
        )

    @property
    def agree(self) -> bool:
        """Whether the input of a single step says nothing: both baselines are one."""
        return self.memoryless is not None and math.isclose(self.memoryless, self.constant)

    def baselines(self) -> tuple[tuple[str, float], ...]:
        """The baselines that are known, by their names in tables and figures; equal ones once."""
        found = [] if self.agree else [("constant baseline", self.constant)]
        if self.memoryless is not None:
            found.append(("memoryless baseline", self.memoryless))
        return tuple(found)

    def sentences(self, task: Task) -> tuple[str, ...]:
        """A sentence for each level."""
        formulas = {
            "constant baseline": task.baseline_formula,
            "memoryless baseline": task.baseline_formula if self.agree else task.memoryless_formula,
        }
        found = [
            f"{name.capitalize()}: {formulas[name]} = {loss:.4g}."
            for name, loss in self.baselines()
        ]
        if self.optimum is not None:
            found.append(f"Optimum: {self.optimum:.4g}.")
        return tuple(found)

"""Two comparisons side by side: the same configurations, and those that differ in a setting."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from comparisons.records import Result
from comparisons.results.exporting import setting_values
from comparisons.results.intervals import welch

_WORDS = ("source",)
"""Values of a setting that are no part of what is trained."""


@dataclass(frozen=True)
class Pair:
    """Results of one model on one task in two comparisons, by seed; one side may have none.

    Attributes:
        first: The results of the first comparison.
        second: Those of the second.
        differences: Values of the settings that differ, by name: of the first, of the second.
    """

    first: tuple[Result, ...]
    second: tuple[Result, ...]
    differences: dict[str, tuple[Any, Any]]

    @property
    def result(self) -> Result:
        """Any of the results."""
        return (self.first or self.second)[0]

    @property
    def difference(self) -> float | None:
        """Mean test loss of the second less that of the first; None where one side has none."""
        if not self.first or not self.second:
            return None
        return statistics.fmean(losses(self.second)) - statistics.fmean(losses(self.first))

    @property
    def p_value(self) -> float | None:
        """The p-value of Welch's test of equal mean losses; None for fewer than two seeds."""
        return welch(losses(self.first), losses(self.second))


def losses(results: Sequence[Result]) -> list[float]:
    """The test loss of the evaluation that is reported, for each result."""
    return [result.chosen.test_loss for result in results]


def pairs(first: Sequence[Result], second: Sequence[Result]) -> list[Pair]:
    """The results of two comparisons, by configuration.

    Configurations that only one of them has are paired where the other has one of the same task,
    length and model, the one with the fewest differences first.
    """
    ours, theirs = _by_configuration(first), _by_configuration(second)
    found = [Pair(ours.pop(key), theirs.pop(key), {}) for key in list(ours) if key in theirs]
    candidates = sorted(
        (len(differences(one[0], other[0])), key, other_key)
        for key, one in ours.items()
        for other_key, other in theirs.items()
        if _kind(one[0]) == _kind(other[0])
    )
    for _, key, other_key in candidates:
        if key in ours and other_key in theirs:
            one, other = ours.pop(key), theirs.pop(other_key)
            found.append(Pair(one, other, differences(one[0], other[0])))
    found += [Pair(results, (), {}) for results in ours.values()]
    found += [Pair((), results, {}) for results in theirs.values()]
    return sorted(found, key=lambda pair: pair.result.run.id)


def differences(one: Result, other: Result) -> dict[str, tuple[Any, Any]]:
    """The values in which the runs of two results differ, except for seeds."""
    first, second = _values(one), _values(other)
    return {
        key: (first.get(key), second.get(key))
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    }


def _values(result: Result) -> dict[str, Any]:
    run = result.run
    values = {name: getattr(run, name) for name in ("task", "variant", "length", "model", "device")}
    settings = {k: v for k, v in setting_values(run.setting).items() if k not in _WORDS}
    return {**values, **settings}


def _kind(result: Result) -> tuple[str, str, int, str]:
    run = result.run
    return run.task, run.variant, run.length, run.model


def _by_configuration(results: Sequence[Result]) -> dict[str, tuple[Result, ...]]:
    found: dict[str, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.run.seed):
        found[replace(result.run, seed=0).id].append(result)
    return {key: tuple(group) for key, group in found.items()}

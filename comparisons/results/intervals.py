"""Intervals of means over few seeds, and which models the seeds cannot tell from the best."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Confidence of every interval and of every comparison."""


@dataclass(frozen=True)
class Estimate:
    """The mean of a value over seeds, with its interval of confidence :data:`LEVEL`.

    Attributes:
        mean: The mean; of losses (``positive``), the geometric mean.
        low: Lower end of the interval; None for a single seed, which has no interval, and where a
            value is not finite.
        high: Upper end; None likewise.
        seeds: Number of values.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int

    def within(self, least: float, greatest: float) -> Estimate:
        """The estimate with the part of its interval that the value can reach; nan is no limit."""
        if self.low is None or self.high is None:
            return self
        # max and min keep their first argument where the other is nan.
        return replace(self, low=max(self.low, least), high=min(self.high, greatest))


def estimate(values: Sequence[float], positive: bool = False) -> Estimate:
    """The mean of the values with Student's interval.

    Args:
        values: One for each seed.
        positive: Whether the values are losses, which differ by factors: mean and interval are then
            those of the logarithms, as losses, so that the interval holds no negative loss. Values
            of which one is not positive are taken as they are.
    """
    if not all(map(math.isfinite, values)):
        return Estimate(sum(values) / len(values), None, None, len(values))
    if positive and min(values) > 0:
        logarithms = estimate([math.log(value) for value in values])
        low, high = (None if x is None else _exp(x) for x in (logarithms.low, logarithms.high))
        return Estimate(_exp(logarithms.mean), low, high, len(values))
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None, len(values))
    half = _quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The p-value of Welch's test of equal means; None where a side has fewer than two values."""
    if min(len(first), len(second)) < 2 or not all(map(math.isfinite, (*first, *second))):
        return None
    from scipy import stats  # slow to import

    means = [statistics.fmean(values) for values in (first, second)]
    spreads = [statistics.stdev(values) for values in (first, second)]
    if not any(spreads):  # the statistic is not defined there
        return 1.0 if means[0] == means[1] else 0.0
    return float(
        stats.ttest_ind_from_stats(
            means[0], spreads[0], len(first), means[1], spreads[1], len(second), equal_var=False
        ).pvalue
    )


def among_best(losses: Sequence[Sequence[float]]) -> tuple[bool, ...]:
    """Which models may be the best one: no other is better by more than the seeds' noise.

    Each of the k models is compared with each other one by Welch's test, one-sided, of the
    logarithms of the losses (of the losses, if one of them is not positive). It is left out if a
    p-value is below 0.05 / (k - 1), Bonferroni's limit for its k - 1 comparisons. So the model that
    is best in truth is marked with a probability of at least :data:`LEVEL`, whichever model has the
    least mean. A comparison with the least mean alone would mark every model if that one has a wide
    spread.

    Args:
        losses: For each model the losses of its seeds.

    Returns:
        A value for each model: False for all of them if one has a single seed, since single seeds
        have no order, and if there is nothing to compare; False for a model with a loss that is not
        finite.
    """
    finite = [i for i, values in enumerate(losses) if all(map(math.isfinite, values))]
    if len(losses) < 2 or min(map(len, losses)) < 2 or not finite:
        return (False,) * len(losses)
    positive = all(min(losses[i]) > 0 for i in finite)
    scaled = [[math.log(x) if positive else x for x in losses[i]] for i in finite]
    limit = (1 - LEVEL) / (len(losses) - 1)
    beaten = np.any(_p_values_greater(scaled) < limit, axis=1)
    found = {finite[place] for place in np.flatnonzero(~beaten)}
    return tuple(i in found for i in range(len(losses)))


def _p_values_greater(samples: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The one-sided p-values of Welch's test: entry i, j is small if mean i is above mean j."""
    from scipy import stats  # slow to import

    mean, spread, count = (
        np.array([measure(values) for values in samples])
        for measure in (statistics.fmean, statistics.stdev, len)
    )
    i, j = np.ix_(range(len(samples)), range(len(samples)))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.ttest_ind_from_stats(
            mean[i], spread[i], count[i], mean[j], spread[j], count[j],
            equal_var=False, alternative="greater",
        ).pvalue  # fmt: skip
    # Without any spread the statistic is not defined, and the means say it all.
    certain = (spread[i] == 0) & (spread[j] == 0)
    return np.where(certain, np.where(mean[i] > mean[j], 0.0, 1.0), p)


@functools.cache
def _quantile(freedom: int) -> float:
    """Half the width of Student's interval, in standard errors."""
    from scipy import stats  # slow to import

    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf

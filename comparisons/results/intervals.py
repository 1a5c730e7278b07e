"""Intervals of means over few seeds, and ties: which differences the seeds can tell from noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """The mean of a value over seeds, with its interval of confidence :data:`LEVEL`.

    Attributes:
        mean: The mean.
        low: Lower end of the interval; None for a single seed, which has no interval.
        high: Upper end.
        seeds: Number of values.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


def estimate(values: Sequence[float], positive: bool = False) -> Estimate:
    """The mean of the values with Student's interval.

    Args:
        values: One for each seed.
        positive: Whether the values are losses, whose spread is multiplicative: the interval is
            then that of the mean logarithm, which holds no negative loss.
    """
    raise NotImplementedError


def tied(first: Sequence[float], second: Sequence[float]) -> bool | None:
    """Whether the seeds cannot tell the two means apart; None where one side has a single seed."""
    raise NotImplementedError

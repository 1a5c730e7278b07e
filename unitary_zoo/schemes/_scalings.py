"""Factors with which Newton-Schulz steps raise the least singular value fastest."""

from __future__ import annotations

import math

# From singular values in [_NEAR, 1] linalg.polar takes only a few products.
_NEAR = 0.95
_LARGEST_FACTOR = 1.69770248526


def _scaling(least: float) -> float:
    # With this factor a step takes both ends of [least, 1] to the same p, and the interval to
    # [p, 1]; no other factor gives a larger p. For a small least value the step would take 1 to
    # almost 0, and the digits of those singular vectors would be lost; with the bound on the factor
    # it ends at 0.1.
    return min(math.sqrt(3 / (1 + least + least**2)), _LARGEST_FACTOR)


def _step(x: float, scale: float) -> float:
    return scale * x * (3 - (scale * x) ** 2) / 2


def scalings(iterations: int) -> tuple[float, list[float]]:
    """Return the least singular value that the steps take to _NEAR, and the factor of each step."""
    least, factors = _NEAR, []
    for _ in range(iterations):
        low, high, goal = 0.0, least, least
        for _ in range(60):  # the step backwards: its image is monotone in the lower end
            middle = (low + high) / 2
            below = _step(middle, _scaling(middle)) < goal
            low, high = (middle, high) if below else (low, middle)
        least = high
        factors.append(_scaling(least))
    return least, factors[::-1]

"""The conformance kit: one call tells what is wrong with a scheme, another with its layers.

``unitary_zoo.testing.strategies`` holds the Hypothesis strategies; it needs hypothesis installed.
"""

from unitary_zoo.testing.runner import (
    CheckResult,
    ConformanceError,
    check_orthogonal_layer,
    check_parametrization,
    parametrize_with_checks,
    yield_checks,
    yield_layer_checks,
)

__all__ = [
    "CheckResult",
    "ConformanceError",
    "check_orthogonal_layer",
    "check_parametrization",
    "parametrize_with_checks",
    "yield_checks",
    "yield_layer_checks",
]

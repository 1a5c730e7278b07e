"""The former name of ``registry``."""  # old name: remove at integration

from unitary_zoo.testing.checks.registry import (
    CHECKS,
    FLOAT64,
    HALF,
    Check,
    always,
    check,
    exact,
    holds,
    refuses,
    rounding,
)

__all__ = [
    "CHECKS",
    "FLOAT64",
    "HALF",
    "Check",
    "always",
    "check",
    "exact",
    "holds",
    "refuses",
    "rounding",
]

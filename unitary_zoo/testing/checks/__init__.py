"""The checks: one function for each property, chosen by family and claims, never by name.

A check takes a :class:`~unitary_zoo.testing.subject.Subject` and yields ``Measure`` objects; it
fails if one does not hold, or if it raises. The first line of its docstring is the property.
"""

from unitary_zoo.testing.checks import (
    algebra,
    awkward,
    batched,
    calculus,
    dtypes,
    interface,
    recurrence,
    second_derivatives,
    states,
    stepping,
    steps,
    training,
    transforms,
)
from unitary_zoo.testing.checks.registry import CHECKS

__all__ = [
    "CHECKS",
    "algebra",
    "awkward",
    "batched",
    "calculus",
    "dtypes",
    "interface",
    "recurrence",
    "second_derivatives",
    "states",
    "stepping",
    "steps",
    "training",
    "transforms",
]

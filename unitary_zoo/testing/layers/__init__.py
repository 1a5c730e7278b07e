"""The checks of a layer whose weight is orthogonal: what must never happen silently to it.

A check takes a :class:`~unitary_zoo.testing.layers.subject.LayerSubject` and the shape of a weight,
and yields ``Measure`` objects. Its docstring says what must not happen. A scheme is checked over
each field that it serves and on square, tall and wide weights; the parametrizations of other
libraries can be checked as well, by a ``LayerSubject`` of their own.
"""

from unitary_zoo.testing.layers import (
    assignment,
    attached,
    averages,
    cache,
    copies,
    exchange,
    kernels,
    memory,
    optimizers,
    precision,
    recurrence,
    special_points,
    transforms,
    writes,
)
from unitary_zoo.testing.layers.registry import REGISTERED, LayerCheck
from unitary_zoo.testing.layers.subject import LayerSubject, SchemeLayers

_SECTIONS = (
    optimizers,
    averages,
    precision,
    cache,
    special_points,
    copies,
    attached,
    assignment,
    recurrence,
    exchange,
    memory,
    transforms,
    writes,
    kernels,
)

LAYER_CHECKS: dict[str, LayerCheck] = {
    name: check
    for section in _SECTIONS
    for name, check in REGISTERED.items()
    if check.function.__module__ == section.__name__
}
"""All checks of a layer, section by section; a name is ``layer_`` and the name of the function."""

__all__ = ["LAYER_CHECKS", "LayerCheck", "LayerSubject", "SchemeLayers"]

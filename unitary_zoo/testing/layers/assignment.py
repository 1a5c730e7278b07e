"""Checks of assignment and of the determinant: taken exactly, or refused."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import torch

from unitary_zoo import linalg
from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import (
    another_weight,
    build,
    learn,
    orthogonal_value,
    plain,
    sgd,
)
from unitary_zoo.testing.layers.measures import ASSIGNED, on_group, same
from unitary_zoo.testing.layers.registry import REAL, layer_check
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure


@layer_check(may_refuse=True)
def assigned(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """An orthogonal matrix that is assigned is neither kept nor refused."""
    module = build(subject, shape)
    wanted = another_weight(subject, module)
    module.weight = wanted
    yield same(module.weight, wanted, "the weight assigned", ASSIGNED)


@layer_check(scheme_shapes=(SQUARE, TALL))
def assigned_off_the_group(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A matrix that is not orthogonal is assigned, neither refused nor made orthogonal."""
    module = build(subject, shape)
    with contextlib.suppress(ValueError):
        module.weight = module.weight.detach() + 0.3 * torch.randn(module.weight.shape)
    yield on_group(subject, module.weight, "after the assignment")


@layer_check(shapes=(SQUARE,), fields=REAL)
def determinant_assigned(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A matrix of the other determinant is assigned, neither kept nor refused."""
    module = build(subject, shape)
    before = module.weight.detach().clone()
    wanted = orthogonal_value(subject, before)
    wanted[0] *= -1
    try:
        module.weight = wanted
    except ValueError:
        yield same(module.weight, before, "refused, and yet the weight")
        return
    yield same(module.weight, wanted, "the weight assigned", ASSIGNED)


def _has_a_choice(subject: LayerSubject) -> bool:
    # With the option given already, there is nothing to choose.
    return isinstance(subject, SchemeLayers) and "determinant" not in subject.options


@layer_check(shapes=(SQUARE,), applies=_has_a_choice)
def determinant_chosen(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The determinant that was asked for is not the one of the weight, whatever its start."""
    assert isinstance(subject, SchemeLayers)
    for determinant, mirrored in itertools.product((1, -1), (True, False)):
        layer = plain(subject, shape)
        if mirrored:
            layer.weight.data[0] *= -1
        served = subject.serves_determinant(determinant)
        try:
            module: Any = subject.make_orthogonal_with_determinant(layer, determinant)
        except ValueError:
            yield holds(not served, f"the determinant {determinant} is refused")
            continue
        yield holds(served, f"the determinant {determinant} is accepted, but not claimed")
        learn(subject, module, sgd, 5)
        found = complex(torch.linalg.det(linalg.double(module.weight.detach())))
        where = f"the determinant {determinant}, found {found:.3g}"
        yield Measure(abs(found - determinant), 1e-4, where)

"""Checks at special points: gradients stay finite, and one small matrix is as exact as many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from unitary_zoo.cells import UnitaryRNNCell
from unitary_zoo.nonlinearities import modrelu
from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import build, learn, loss_of, sgd, started
from unitary_zoo.testing.layers.measures import finite_gradients, on_group, same
from unitary_zoo.testing.layers.registry import layer_check, schemes_only
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure


def _trains_from(subject: LayerSubject, shape: str, start: Tensor, where: str) -> Iterator[Measure]:
    rows, columns = subject.shape(shape)
    module = build(subject, shape, start[:rows, :columns])
    loss_of(module)().backward()
    yield finite_gradients(module, where)
    learn(subject, module, lambda p: SGD(p, lr=0.01), 5)
    yield on_group(subject, module.weight, f"after 5 steps from {where}")


@layer_check(scheme_shapes=(SQUARE, TALL))
def gradient_at_orthogonal(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The gradient at an exactly orthogonal matrix, a permutation, is not finite."""
    n = max(subject.shape(shape))
    permutation = torch.eye(n)[[1, 2, 0, *range(3, n)][:n]]
    return _trains_from(subject, shape, permutation, "a permutation")


@layer_check(scheme_shapes=(SQUARE, TALL))
def gradient_at_identity(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The gradient at the identity is not finite."""
    return _trains_from(subject, shape, torch.eye(max(subject.shape(shape))), "the identity")


@layer_check(scheme_shapes=(SQUARE, TALL))
def gradient_at_minus_one(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The gradient at a matrix with eigenvalues -1, such as -I, is not finite."""
    n = max(subject.shape(shape))
    some = torch.ones(n)
    some[:2] = -1
    yield from _trains_from(subject, shape, torch.diag(some), "two eigenvalues -1")
    if n % 2 == 0:  # else its determinant is -1, and it is not of SO(n)
        yield from _trains_from(subject, shape, -torch.eye(n), "-I")


@layer_check(shapes=(SQUARE,), applies=schemes_only)
def modrelu_at_zero(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """The gradient of modReLU at z = 0 is not finite, alone or in a recurrent cell."""
    assert isinstance(subject, SchemeLayers)
    z = torch.zeros(4, dtype=subject.dtype, requires_grad=True)
    threshold = torch.tensor([-0.1, 0.0, 0.1, 0.2], requires_grad=True)
    out = modrelu(z, threshold)
    (out.real.sum() + out.abs().square().sum()).backward()
    for leaf in (z, threshold):
        finite = leaf.grad is not None and bool(torch.isfinite(leaf.grad).all())
        yield holds(finite, "modReLU alone")
    n = subject.shape(SQUARE)[0]
    options = dict(subject.options)
    if len(subject.scheme.info.fields) > 1:
        options["field"] = subject.field
    cell = UnitaryRNNCell(2, n, scheme=subject.scheme, nonlinearity="modrelu", **options)
    h = cell(torch.zeros(3, 2))
    h = cell(torch.zeros(3, 2), h)
    (h.real.sum() + h.abs().square().sum()).backward()
    yield finite_gradients(cell, "a cell in the state zero")


def _accepts_two(subject: LayerSubject) -> bool:
    return subject.accepts(2)


@layer_check(shapes=(SQUARE,), applies=_accepts_two)
def one_small_matrix(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A single 2 x 2 rotation by 0.5, trained in single precision, is off by more than 1e-6."""
    angle = torch.tensor(0.5)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)

    def identity(dtype: torch.dtype) -> Any:
        return started(subject, nn.Linear(2, 2, bias=False, dtype=dtype), torch.eye(2))

    module = identity(subject.dtype)

    def distance_of_squares() -> Tensor:
        loss: Tensor = (module.weight - rotation).abs().square().sum()
        return loss

    learn(subject, module, sgd, 60, loss=distance_of_squares)
    # The same parameters, computed in double precision.
    exact = identity(torch.complex128 if subject.field == "complex" else torch.float64)
    exact.load_state_dict(module.state_dict())
    subject.retract(exact)
    yield same(module.weight, exact.weight, "against double precision", 1e-6)

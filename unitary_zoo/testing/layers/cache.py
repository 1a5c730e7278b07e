"""Checks of ``parametrize.cached()``: what is read is never stale and has its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.utils import parametrize
from torch.optim import AdamW

from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import (
    MakeOptimizer,
    another_weight,
    batch,
    build,
    learn,
    loss_of,
    plain,
    sgd,
)
from unitary_zoo.testing.layers.measures import ASSIGNED, finite_gradients, same
from unitary_zoo.testing.layers.registry import layer_check
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject
from unitary_zoo.testing.subject import Measure, distance


def _not_stale(
    subject: LayerSubject, shape: str, make_optimizer: MakeOptimizer
) -> Iterator[Measure]:
    module = build(subject, shape)
    with parametrize.cached():
        before = module.weight.detach().clone()
        learn(subject, module, make_optimizer)
        after = module.weight.detach().clone()
    yield holds(distance(before, module.weight) > 1e-4, "the step moved nothing")
    yield same(after, module.weight, "read after the step inside cached()")


@layer_check(scheme_shapes=(TALL,))
def cached_step(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Inside cached(), the weight read after an optimizer step is that of before."""
    return _not_stale(subject, shape, sgd)


@layer_check(scheme_shapes=(TALL,))
def cached_fused_step(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Inside cached(), the weight read after a step of a fused optimizer is that of before."""
    return _not_stale(subject, shape, lambda p: AdamW(p, lr=0.05, fused=True))


@layer_check(scheme_shapes=(TALL,))
def cached_no_grad(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Inside cached(), a first read under no_grad takes the gradient from the training after."""
    module: Any = subject.make_orthogonal(plain(subject, shape, bias=True))
    with parametrize.cached():
        with torch.no_grad():
            module(batch(module))
        loss_of(module)().backward()  # possible in any case, because of the bias
    yield finite_gradients(module.parametrizations, "after a read under no_grad")


@layer_check(scheme_shapes=(TALL,))
def cached_two_backwards(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Inside cached(), a second backward pass fails or does not add its gradient."""
    module = build(subject, shape)
    loss = loss_of(module)
    loss().backward()
    once = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    with parametrize.cached():
        for _ in range(2):
            loss().backward()
    for p, grad in zip(module.parameters(), once, strict=True):
        if grad is not None:
            yield same(p.grad, 2 * grad, "the gradient of two passes", 1e-5)


@layer_check(scheme_shapes=(SQUARE,), may_refuse=True)
def cached_assignment(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Inside cached(), a weight that was assigned is not the one that is read."""
    module = build(subject, shape)
    wanted = another_weight(subject, module)
    with parametrize.cached():
        yield holds(distance(module.weight, wanted) > 100 * ASSIGNED, "it is the same matrix")
        module.weight = wanted
        found = module.weight
    yield same(found, wanted, "read after the assignment inside cached()", ASSIGNED)

"""Checks of low precision: bfloat16, half precision and autocast round the weight once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import build, learn, loss_of, plain, sgd
from unitary_zoo.testing.layers.measures import on_group
from unitary_zoo.testing.layers.registry import REAL, layer_check, schemes_only
from unitary_zoo.testing.layers.subject import TALL, LayerSubject
from unitary_zoo.testing.subject import Measure, distance


def _converted(subject: LayerSubject, shape: str, dtype: torch.dtype) -> Iterator[Measure]:
    module = build(subject, shape).to(dtype)
    yield holds(module.weight.dtype == dtype, f"the weight is {module.weight.dtype}")
    yield on_group(subject, module.weight, f"in {dtype}")
    learn(subject, module, sgd, 5)
    yield on_group(subject, module.weight, f"after 5 steps in {dtype}")


@layer_check(scheme_shapes=(TALL,), fields=REAL)
def bfloat16(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A layer that is converted to bfloat16 has a weight off the group by more than rounding."""
    return _converted(subject, shape, torch.bfloat16)


@layer_check(scheme_shapes=(TALL,), fields=REAL)
def float16(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A layer that is converted to half precision has a weight off the group."""
    return _converted(subject, shape, torch.float16)


@layer_check(scheme_shapes=(TALL,), fields=REAL)
def bfloat16_layer(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A layer built in bfloat16 has a weight off the group by more than rounding."""
    module: Any = subject.make_orthogonal(plain(subject, shape).to(torch.bfloat16))
    yield on_group(subject, module.weight, "at the start")
    learn(subject, module, sgd, 5)
    yield on_group(subject, module.weight, "after 5 steps")


@layer_check(scheme_shapes=(TALL,), fields=REAL)
def bfloat16_and_back(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A layer that was in bfloat16 and is in single precision again is off by bfloat16's eps."""
    module = build(subject, shape)
    learn(subject, module, sgd, 3)
    weight = module.to(torch.bfloat16).to(torch.float32).weight
    yield on_group(subject, weight, "again in float32")


def _inner_product(layer: Any, gradient: Tensor) -> Tensor:
    return (layer.weight.float() * gradient).sum()


# The steps of any ordinary layer are rounded as well, so peers are not asked.
@layer_check(scheme_shapes=(TALL,), fields=REAL, applies=schemes_only)
def small_steps_in_bfloat16(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Steps of a bfloat16 layer that are smaller than its rounding are lost."""
    module = build(subject, shape)
    single = copy.deepcopy(module)
    before, gradient = module.weight.detach().clone(), torch.randn(module.weight.shape)
    for layer in (module.to(torch.bfloat16), single):
        loss = partial(_inner_product, layer, gradient)
        learn(subject, layer, lambda p: SGD(p, lr=2e-4), 50, loss=loss)
    moved = distance(single.weight, before)
    off = distance(module.float().weight, single.weight)
    # The gradient, too, passes through bfloat16, whose eps is 1/128.
    where = f"moved by {moved:.2g} in float32; in bfloat16 {off:.2g} off that"
    yield holds(off <= 0.25 * moved, where)


@layer_check(scheme_shapes=(TALL,), fields=REAL)
def autocast(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """Under autocast to bfloat16 the weight is computed, or trained, in bfloat16."""
    module = build(subject, shape)
    learn(subject, module, sgd, 3)
    loss = loss_of(module)

    def cast_loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss()

    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            weight = module.weight.float()
        yield on_group(subject, weight, "under autocast")
        learn(subject, module, sgd, loss=cast_loss)
    yield on_group(subject, module.weight, "after training under autocast")

"""Checks of what has to follow a step: it follows once, however the step is called."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from unitary_zoo.testing.layers.building import batch, build
from unitary_zoo.testing.layers.measures import on_group, same
from unitary_zoo.testing.layers.registry import layer_check
from unitary_zoo.testing.layers.subject import TALL, LayerSubject
from unitary_zoo.testing.optimizers import VARIANTS, descent
from unitary_zoo.testing.subject import Measure


def _train(module: Any, optimizer: Any, loss: Callable[[Any], Tensor], steps: int) -> None:
    for _ in range(steps):
        module.zero_grad()
        loss(module).backward()
        optimizer.step()


def _start(subject: LayerSubject, shape: str) -> tuple[Any, Callable[[Any], Tensor]]:
    """A layer, and the loss of it and of its copies: that of one batch."""
    module = build(subject, shape)
    x = batch(module)
    y = torch.randn(len(x), module.weight.shape[0], dtype=x.dtype)
    return module, lambda m: (m(x) - y).abs().square().mean()


@layer_check(scheme_shapes=(TALL,))
def stepped_once(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """An optimizer inside a wrapper, or extended by a subclass, trains the weight otherwise."""
    start, loss = _start(subject, shape)
    plain = copy.deepcopy(start)
    optimizer = descent(list(plain.parameters()))
    subject.attach(plain, optimizer)
    _train(plain, optimizer, loss, 4)
    for name, make in VARIANTS.items():
        module = copy.deepcopy(start)
        variant = make(list(module.parameters()))
        subject.attach(module, variant)
        _train(module, variant, loss, 4)
        yield same(module.weight, plain.weight, name)
        yield on_group(subject, module.weight, name)


@layer_check(scheme_shapes=(TALL,))
def copied_with_optimizer(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A copy of the module and its optimizer, made in training, trains otherwise than they do."""
    module, loss = _start(subject, shape)
    optimizer = descent(list(module.parameters()))
    subject.attach(module, optimizer)
    _train(module, optimizer, loss, 2)
    pair = (module, optimizer)
    copies = {"deepcopy": copy.deepcopy(pair), "pickle": pickle.loads(pickle.dumps(pair))}
    _train(module, optimizer, loss, 4)
    for name, (replica, its_optimizer) in copies.items():
        _train(replica, its_optimizer, loss, 4)
        yield same(replica.weight, module.weight, name)
        yield on_group(subject, replica.weight, name)

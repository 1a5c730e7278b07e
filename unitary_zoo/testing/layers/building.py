"""Layers for the checks, built as a user builds them, and their training."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from unitary_zoo.testing.layers.measures import ASSIGNED, nearest_orthogonal
from unitary_zoo.testing.layers.subject import LayerSubject
from unitary_zoo.testing.subject import distance

MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


def plain(subject: LayerSubject, shape: str, *, bias: bool = False) -> nn.Linear:
    """A layer without scheme."""
    rows, columns = subject.shape(shape)
    return nn.Linear(columns, rows, bias=bias, dtype=subject.dtype)


def build(subject: LayerSubject, shape: str, start: Tensor | None = None) -> Any:
    """A layer with an orthogonal weight, which starts at ``start`` if it is given."""
    layer = plain(subject, shape)
    return subject.make_orthogonal(layer) if start is None else started(subject, layer, start)


def started(subject: LayerSubject, layer: nn.Linear, start: Tensor) -> Any:
    """Make the weight of ``layer`` orthogonal, with ``start`` as its value if that is possible."""
    layer.weight.data = start.to(layer.weight.dtype).contiguous()
    wanted = layer.weight.detach().clone()
    module: Any = subject.make_orthogonal(layer)
    # Some subjects do not start at the value of the weight. A scheme that cannot represent the
    # value refuses it.
    if distance(module.weight, wanted) > ASSIGNED:
        with contextlib.suppress(ValueError):
            module.weight = wanted
    return module


def batch(module: Any) -> Tensor:
    """Inputs of a layer, in the precision of its weight."""
    w = module.weight
    dtype = torch.complex64 if w.is_complex() else torch.float32
    return torch.randn(5, w.shape[1], dtype=dtype).to(w.dtype)


def loss_of(module: Any) -> Callable[[], Tensor]:
    """The mean square distance of the outputs from random targets."""
    x = batch(module)
    y = torch.randn(5, module.weight.shape[0])
    return lambda: (module(x) - y.to(x.dtype)).abs().float().square().mean()


def learn(
    subject: LayerSubject,
    module: nn.Module,
    make_optimizer: MakeOptimizer,
    steps: int = 1,
    loss: Callable[[], Tensor] | None = None,
    attached: bool = True,
) -> None:
    """Train for some steps, attached as the subject's documentation says unless told otherwise."""
    optimizer = make_optimizer(list(module.parameters()))
    if attached:
        subject.attach(module, optimizer)
    loss = loss or loss_of(module)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def sgd(parameters: list[nn.Parameter]) -> Optimizer:
    """Plain gradient descent."""
    return SGD(parameters, lr=0.1)


def another_weight(subject: LayerSubject, module: nn.Module) -> Tensor:
    """A matrix that the module can represent: the weight of its copy after some training.

    The module may be unable to represent the weight of a layer built anew, because some schemes
    draw a part of the weight once and do not learn it.
    """
    trained: Any = copy.deepcopy(module)
    learn(subject, trained, sgd, 5)
    return orthogonal_value(subject, trained.weight)


def orthogonal_value(subject: LayerSubject, w: Tensor) -> Tensor:
    """The weight itself, or for a scheme that is not unitary the orthogonal matrix nearest to it.

    Such a scheme may project what is assigned to it, as its documentation says.
    """
    return w.detach().clone() if subject.exact else nearest_orthogonal(w)

"""Checks of averages: a moving average of a model stands for the mean of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unitary_zoo.testing.layers.building import build, loss_of
from unitary_zoo.testing.layers.measures import nearest_orthogonal
from unitary_zoo.testing.layers.registry import layer_check
from unitary_zoo.testing.layers.subject import SQUARE, TALL, LayerSubject
from unitary_zoo.testing.subject import Measure, distance


@layer_check(shapes=(SQUARE, TALL), scheme_shapes=(SQUARE,))
def average_is_the_mean(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A moving average by the defaults of AveragedModel is the last weight, or another one."""
    module = build(subject, shape)
    average: Any = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    optimizer = SGD(module.parameters(), lr=0.01)
    subject.attach(module, optimizer)
    loss, mean = loss_of(module), None
    for _ in range(8):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        average.update_parameters(module)
        w = module.weight.detach()
        mean = w if mean is None else torch.lerp(w, mean, 0.7)
    subject.retract(average)
    assert mean is not None
    wanted = nearest_orthogonal(mean) if subject.exact else mean
    # What the average is off by is of second order in the small way of the training, and what the
    # last weight is off by is of first order. The entries round by a few eps.
    limit = 0.2 * distance(module.weight, wanted) + 1e-5
    yield Measure(distance(average.module.weight, wanted), limit, "against the last weight")

"""The check of a convolution whose kernels are orthogonal one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from unitary_zoo.testing.checks.registry import holds
from unitary_zoo.testing.layers.building import learn, sgd
from unitary_zoo.testing.layers.measures import on_group
from unitary_zoo.testing.layers.registry import layer_check
from unitary_zoo.testing.layers.subject import SQUARE, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure

_CHANNELS, _STEPS = 3, 20


@layer_check(shapes=(SQUARE,))
def kernels(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """A kernel of a convolution leaves the group in training, or each takes states of its own."""
    n = subject.size(3, 4, 5, 2)
    layer = nn.Conv2d(_CHANNELS, _CHANNELS, n, bias=False, dtype=subject.dtype)
    module: Any = subject.make_orthogonal(layer)
    count = _CHANNELS**2
    # The steps of other families are taken by one scheme at a time.
    stacked = not isinstance(subject, SchemeLayers) or (
        subject.scheme.info.family == "static" and subject.scheme.info.supports_vmap
    )
    entries = len(module.state_dict())
    yield holds(not stacked or entries < count, f"{entries} entries of the state, {count} kernels")
    start, target = module.weight.detach().clone(), torch.randn_like(module.weight)
    learn(subject, module, sgd, _STEPS, lambda: (module.weight - target).abs().square().mean())
    moved = (module.weight - start).abs().amax((2, 3)) > 0
    yield holds(bool(moved.all()), "every kernel has learned")
    for kernel in module.weight.detach().flatten(0, 1):
        yield on_group(subject, kernel, f"a kernel after {_STEPS} steps")

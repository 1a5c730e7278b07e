"""Checks of memory: a thin weight needs no square matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo.testing.layers.measures import MemoryMeasure, on_group
from unitary_zoo.testing.layers.registry import REAL, layer_check
from unitary_zoo.testing.layers.subject import TALL, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure


def _promises_thin(subject: LayerSubject) -> bool:
    # Other schemes cost what the longer side says, as the documentation states.
    return not isinstance(subject, SchemeLayers) or subject.serves_thin_weights


@layer_check(shapes=(TALL,), fields=REAL, applies=_promises_thin)
def thin_embedding(subject: LayerSubject, shape: str) -> Iterator[Measure]:
    """An embedding of 300 x 5 holds, or keeps for the backward pass, a matrix of 300 x 300."""
    rows, columns = subject.size(300), 5
    module: Any = subject.make_thin_orthogonal(nn.Embedding(rows, columns))
    tensors = [*module.parameters(), *module.buffers()]
    kept: list[int] = [0]

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        module(torch.arange(10)).sum()
    yield on_group(subject, module.weight, "at the start")
    held, limit = sum(x.numel() for x in tensors), rows * rows // 2 - 1
    yield MemoryMeasure(held, limit, f"numbers it holds for a weight of {rows * columns}")
    yield MemoryMeasure(max(kept), limit, "numbers in a tensor kept for the backward pass")

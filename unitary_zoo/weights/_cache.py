"""The weights kept inside ``parametrize.cached()``: computed once for as long as nothing changes.

torch's own cache returns a stale weight after an optimizer step, and one without gradient if the
first read was under ``no_grad``. This cache compares the values of all parameters and buffers at
every read, and computes the weight anew when they or the gradient mode differ.
"""

from __future__ import annotations

import operator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from unitary_zoo._torch import is_traced, is_transformed, parametrizations_are_cached


class _WeightGraph:
    """A weight, and the learnable tensors from which it was computed."""

    def __init__(self, weight: Tensor, leaves: list[Tensor]) -> None:
        self.weight, self.leaves = weight, leaves


class _Reuse(torch.autograd.Function):
    """Return the weight through an autograd node of its own.

    The graph of the weight is retained, so that several backward passes can go through it.
    """

    @staticmethod
    def forward(ctx: Any, computed: _WeightGraph, *leaves: Tensor) -> Tensor:
        ctx.computed = computed
        return computed.weight.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad() if torch.is_grad_enabled() else torch.no_grad():
            grads = torch.autograd.grad(
                ctx.computed.weight,
                ctx.computed.leaves,
                grad,
                retain_graph=True,
                create_graph=torch.is_grad_enabled(),
                allow_unused=True,
            )
        return None, *grads


class _CachedWeight:
    """The weight of a parametrization, and the state in which it was computed."""

    def __init__(self, parametrization: nn.Module) -> None:
        self._tensors, self._mode = _tensors(parametrization), _mode(parametrization)
        self._values = [x.detach().clone() for x in self._tensors]
        self.weight: Tensor = parametrization()
        leaves = [x for x in self._tensors if x.requires_grad]
        if self.weight.requires_grad and leaves:
            # All reads share this node, so a backward pass goes through the scheme only once.
            self.weight = _Reuse.apply(_WeightGraph(self.weight, leaves), *leaves)

    def is_current(self, parametrization: nn.Module) -> bool:
        """Whether the weight, computed again, would be the same."""
        now = _tensors(parametrization)
        return (
            self._mode == _mode(parametrization)
            and len(now) == len(self._tensors)
            and all(map(operator.is_, now, self._tensors))
            # Values are compared, because fused optimizers and writes to .data do not change the
            # version counters.
            and all(map(torch.equal, now, self._values))
        )


def _tensors(parametrization: nn.Module) -> list[Tensor]:
    return [*parametrization.parameters(), *parametrization.buffers()]


def _mode(parametrization: nn.Module) -> list[bool]:
    """The gradient modes, and which parameters are learned; a weight depends on these, too."""
    learned = [x.requires_grad for x in parametrization.parameters()]
    return [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *learned]


_cached: WeakKeyDictionary[nn.Module, _CachedWeight] = WeakKeyDictionary()


def drop_cached(parametrization: nn.Module) -> None:
    """Compute the weight anew at its next reading."""
    _cached.pop(parametrization, None)


def read_weight(parametrization: nn.Module) -> Tensor:
    """Return the weight; inside ``parametrize.cached()``, the cached one if it is current."""
    weight: Tensor
    if is_traced() or is_transformed():
        weight = parametrization()
        return weight
    if not parametrizations_are_cached():
        drop_cached(parametrization)
        weight = parametrization()
        return weight
    cached = _cached.get(parametrization)
    if cached is None or not cached.is_current(parametrization):
        cached = _cached[parametrization] = _CachedWeight(parametrization)
    return cached.weight

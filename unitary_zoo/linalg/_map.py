"""Functions of matrices with a backward pass of their own.

This is the one place of the library that knows how such a function runs in eager mode, traced, on
the meta device, under ``torch.func`` and in forward mode, and what its second derivatives are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unitary_zoo._torch import (
    has_functional_transforms,
    has_tangent,
    has_values,
    is_transformed,
    without_autocast,
)

Factors = Callable[[Tensor], tuple[Any, ...]]
"""Takes X; returns the value and what the adjoint needs: first numbers, if any, then tensors."""

Adjoint = Callable[..., Tensor]
"""Takes the gradient in the value and what the factors kept for it; returns the gradient in X."""


class MatrixMap:
    """A function of a matrix X, given by its factors and its adjoint.

    In eager mode the backward pass is the adjoint. A tracer records the map as one custom operator,
    ``unitary_zoo::name``, in which numbers may be read; the operator also gives tensors on the meta
    device a shape. Transforms of ``torch.func``, forward mode and second derivatives use torch's
    own derivative of the factors.

    Args:
        name: Name of the operator.
        factors: Takes X and returns ``(value, *numbers, *tensors)``.
        adjoint: Takes ``(grad, *numbers, *tensors)`` and returns the gradient in X.
        shape: Takes X and returns the shape of the value.
        eager: An implementation whose own derivatives torch gets right. Everything but the
            operator uses it in place of the factors.
        transformed: An implementation for transforms, for a map with factors that torch cannot
            differentiate. Second derivatives of such a map raise an error.
    """

    def __init__(
        self,
        name: str,
        factors: Factors,
        adjoint: Adjoint,
        *,
        shape: Callable[[Tensor], Sequence[int]] = lambda x: x.shape,
        eager: Callable[[Tensor], Tensor] | None = None,
        transformed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.factors = factors
        self.adjoint = adjoint
        self.differentiable_twice = transformed is None
        self._eager = eager
        self._transformed = transformed
        self._operator = _operator(name, factors, adjoint, shape)

    def __call__(self, x: Tensor) -> Tensor:
        value: Tensor
        if not has_values(x):
            value = self._operator(x)
        elif self._eager is not None:
            value = self._eager(x)
        elif self._transformed is not None and is_transformed():
            value = self._transformed(x)
        elif is_transformed() and (has_functional_transforms() or has_tangent(x)):
            value = self.factors(x)[0]
        else:
            value = _EagerMap.apply(x, self)
        return value


class _EagerMap(torch.autograd.Function):
    """A map in eager mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix_map: MatrixMap) -> Tensor:
        value: Tensor
        value, *kept = matrix_map.factors(x)
        tensors = [y for y in kept if isinstance(y, Tensor)]
        ctx.map, ctx.numbers = matrix_map, kept[: len(kept) - len(tensors)]
        if matrix_map.differentiable_twice:
            tensors.append(x)
        ctx.save_for_backward(*tensors)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        with without_autocast(grad.device):
            if not ctx.map.differentiable_twice:
                return _apply_adjoint(ctx, grad, *ctx.saved_tensors)
            *tensors, x = ctx.saved_tensors
            if torch.is_grad_enabled():
                value = ctx.map.factors(x)[0]
                return torch.autograd.grad(value, x, grad, create_graph=True)[0], None
            return ctx.map.adjoint(grad, *ctx.numbers, *tensors), None


@once_differentiable
def _apply_adjoint(ctx: Any, grad: Tensor, *tensors: Tensor) -> tuple[Tensor, None]:
    return ctx.map.adjoint(grad, *ctx.numbers, *tensors), None


def functional(factors: Factors, adjoint: Adjoint) -> Callable[[Tensor], Tensor]:
    """Return the map of these factors for transforms of ``torch.func``, with their adjoint.

    The factors must return tensors only, and must not branch on the entries of X.
    """
    return lambda x: _FunctionalMap.apply(x, factors, adjoint)[0]


class _FunctionalMap(torch.autograd.Function):
    """A map under the transforms of ``torch.func``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factors: Factors, adjoint: Adjoint) -> tuple[Tensor, ...]:
        return factors(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.adjoint = inputs[2]
        ctx.save_for_backward(*output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        return ctx.adjoint(grad, *ctx.saved_tensors), None, None


def _operator(
    name: str,
    factors: Factors,
    adjoint: Adjoint,
    shape: Callable[[Tensor], Sequence[int]],
) -> Any:
    """Register a map and its backward pass as custom operators.

    This happens when the library is imported: an exported program refers to its operators by name,
    and can be loaded only where they are registered.
    """

    @torch.library.custom_op(f"unitary_zoo::{name}", mutates_args=())
    def forward(x: Tensor) -> Tensor:
        return factors(x)[0].contiguous()

    @torch.library.custom_op(f"unitary_zoo::{name}_backward", mutates_args=())
    def backward(grad: Tensor, x: Tensor) -> Tensor:
        return adjoint(grad, *factors(x)[1:]).contiguous()

    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def differentiate(ctx: Any, grad: Tensor) -> Tensor:
        return backward(grad, *ctx.saved_tensors)

    forward.register_fake(lambda x: x.new_empty(tuple(shape(x))))
    backward.register_fake(lambda grad, x: x.new_empty(tuple(x.shape)))
    forward.register_autograd(differentiate, setup_context=setup_context)
    return forward

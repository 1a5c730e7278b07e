"""Functions of matrices with a backward pass of their own.

This is the one place of the library that knows how such a function runs in eager mode, traced, on
the meta device, under ``torch.func`` and in forward mode, and what its second derivatives are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import (
    has_functional_transforms,
    has_tangent,
    has_values,
    is_transformed,
    without_autocast,
)
from unitary_zoo.linalg._skew import skew_coordinates_gradient, skew_from_coordinates

Factors = Callable[[Tensor], tuple[Any, ...]]
"""Takes X; returns the value and what the adjoint needs: first numbers, if any, then tensors."""

Adjoint = Callable[..., Tensor]
"""Takes the gradient in the value and what the factors kept for it; returns the gradient in X."""


class MatrixMap:
    """A function of a matrix X, given by its factors and its adjoint.

    In eager mode the backward pass is the adjoint. A tracer records the map as one custom operator,
    ``unitary_zoo::name``, in which numbers may be read; the operator also gives tensors on the meta
    device a shape. Transforms of ``torch.func``, forward mode and second derivatives use torch's
    own derivative of the factors, or of an implementation given for them.

    Args:
        name: Name of the operator.
        factors: Takes X (..., n, n) and returns ``(value, *numbers, *tensors)``.
        adjoint: Takes ``(grad, *numbers, *tensors)`` and returns the gradient in X.
        shape: Takes X and returns the shape of the value.
        eager: An implementation whose own derivatives torch gets right. Everything but the
            operator uses it in place of the factors.
        differentiable: An implementation with derivatives of any order in every mode, for a map
            whose factors have none, or take values by which they branch.
    """

    def __init__(
        self,
        name: str,
        factors: Factors,
        adjoint: Adjoint,
        *,
        shape: Callable[[Tensor], Sequence[int]] = lambda x: x.shape,
        eager: Callable[[Tensor], Tensor] | None = None,
        differentiable: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.factors = factors
        self.adjoint = adjoint
        self._eager = eager
        self._differentiable = differentiable
        self._operator = _operator(name, factors, adjoint, shape)

    def __call__(self, x: Tensor) -> Tensor:
        with without_autocast(x.device):
            return self._value(x)

    def of_skew(self, theta: Tensor, n: int, field: str) -> Tensor:
        """Return the value at the skew matrix A with these coordinates.

        In eager mode the backward pass is one node, from the value to the coordinates.

        Args:
            theta: The coordinates, shape (..., d); see :func:`linalg.skew_from_coordinates`.
            n: Size of A.
            field: "real" or "complex".
        """
        with without_autocast(theta.device):
            if has_values(theta) and self._eager is None and not _is_derived(theta):
                return self._recorded(theta, (n, field))
            return self._value(skew_from_coordinates(theta, n, field))

    def _value(self, x: Tensor) -> Tensor:
        value: Tensor
        if not has_values(x):
            value = self._operator(x)
        elif self._eager is not None:
            value = self._eager(x)
        elif _is_derived(x):
            value = self.differentiable(x)
        else:
            value = self._recorded(x, None)
        return value

    def _recorded(self, x: Tensor, skew: _Skew | None) -> Tensor:
        value: Tensor
        if torch.is_grad_enabled() and x.requires_grad:
            value = _EagerMap.apply(x, self, skew)
        else:
            value = self.factors(_argument(x, skew))[0]
        return value

    def differentiable(self, x: Tensor) -> Tensor:
        """Return the value by operations that torch differentiates any number of times."""
        value: Tensor
        value = self.factors(x)[0] if self._differentiable is None else self._differentiable(x)
        return value


_Skew = tuple[int, str]
"""The size and the field of the skew matrix of which coordinates are given."""


def _argument(x: Tensor, skew: _Skew | None) -> Tensor:
    return x if skew is None else skew_from_coordinates(x, *skew)


def _is_derived(x: Tensor) -> bool:
    """Whether a transform of torch.func or forward mode acts on ``x``."""
    return is_transformed() and (has_functional_transforms() or has_tangent(x))


class _EagerMap(torch.autograd.Function):
    """A map in eager mode, of a matrix or of the coordinates of a skew matrix."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix_map: MatrixMap, skew: _Skew | None) -> Tensor:
        value: Tensor
        value, *kept = matrix_map.factors(_argument(x, skew))
        tensors = [y for y in kept if isinstance(y, Tensor)]
        ctx.map, ctx.skew, ctx.numbers = matrix_map, skew, kept[: len(kept) - len(tensors)]
        ctx.save_for_backward(*tensors, x)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        with without_autocast(grad.device):
            *tensors, x = ctx.saved_tensors
            if torch.is_grad_enabled():
                value = ctx.map.differentiable(_argument(x, ctx.skew))
                return torch.autograd.grad(value, x, grad, create_graph=True)[0], None, None
            grad = ctx.map.adjoint(grad, *ctx.numbers, *tensors)
            return grad if ctx.skew is None else skew_coordinates_gradient(grad), None, None


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
        with without_autocast(grad.device):
            return adjoint(grad, *factors(x)[1:]).contiguous()

    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def differentiate(ctx: Any, grad: Tensor) -> Tensor:
        return backward(grad, *ctx.saved_tensors)

    forward.register_fake(lambda x: x.new_empty(tuple(shape(x))))
    backward.register_fake(lambda grad, x: x.new_empty(tuple(x.shape)))
    forward.register_autograd(differentiate, setup_context=setup_context)
    # Without it torch takes one matrix after the other, and a graph has an operator for each.
    forward.register_vmap(lambda info, dims, x: (forward(x.movedim(dims[0], 0)), 0))
    return forward

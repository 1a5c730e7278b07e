"""What the scans with a backward pass of their own have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from unitary_zoo._torch import without_autocast
from unitary_zoo.scan import second_order
from unitary_zoo.scan.problem import AnyOperands, GatedOperands, Operands

OperandsT = TypeVar("OperandsT", Operands, GatedOperands)


def needs_gradients(operands: AnyOperands) -> bool:
    """Return whether a backward pass may follow.

    Call this before ``autograd.Function.apply``: inside ``forward`` gradients are always disabled,
    and ``ctx.needs_input_grad`` does not tell whether they were disabled outside.
    """
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in operands)


def backward(
    ctx: Any,
    grad: Tensor,
    kind: type[OperandsT],
    gradients: Callable[
        [Any, OperandsT, tuple[Tensor | None, ...], Mapping[str, bool], Tensor], dict[str, Tensor]
    ],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of all arguments of ``autograd.Function.apply``.

    The arguments are the operands and then ``ctx.options``; ``forward`` has saved the operands and
    then tensors of its own.

    Args:
        ctx: The context of the function.
        grad: The gradient of the result.
        kind: The kind of operands.
        gradients: From (ctx, operands, tensors saved beside them, whether each operand needs a
            gradient, by name, grad) to gradients by name.
    """
    saved = ctx.saved_tensors  # read once: hooks may recompute them at every access
    count = len(ctx.needs_input_grad) - len(ctx.options)
    operands: OperandsT = kind(*saved[:count])
    needed = dict(zip(operands._fields, ctx.needs_input_grad[:count], strict=True))
    found: dict[str, Tensor]
    with without_autocast(grad.device):
        if torch.is_grad_enabled():
            # A derivative of this derivative is wanted: differentiate the plain loop instead.
            found = second_order.gradients(operands.problem(*ctx.options), needed, grad)
        else:
            found = gradients(ctx, operands, saved[count:], needed, grad)
    return *[found.get(name) for name in operands._fields], *[None] * len(ctx.options)

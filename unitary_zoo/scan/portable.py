"""The recurrence in PyTorch operations with its own backward pass, on any device.

It keeps the states for the backward pass and, for |x|, the sign of the pre-activation in one byte:
every derivative is a function of these. The inputs are held for the gradient of the input weights
and for second derivatives. The pre-activations are computed in the buffer of the states, and the
gradient of W is one matrix product over all steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.scan import autograd, portable_gated
from unitary_zoo.scan.activations import ACTIVATE, DERIVATIVE
from unitary_zoo.scan.problem import AnyProblem, GatedProblem, Operands

HEEDS_CHECKPOINT = False


def status() -> tuple[bool, str]:
    """Return that PyTorch runs everywhere, and when this backend is used."""
    return True, "used where native is not: PyTorch operations, on any device"


def supports(problem: AnyProblem) -> tuple[bool, str]:
    """Return true for dense matrices."""
    if isinstance(problem.w, LinearMap) and not isinstance(problem.w, DenseMap):
        return False, f"{type(problem.w).__name__} is applied by its factors, not by a matrix"
    return True, "dense recurrence in PyTorch operations"


def run(problem: AnyProblem) -> Tensor:
    """Return all states (T, B, n), or the last one (B, n) if not ``return_sequence``."""
    if isinstance(problem, GatedProblem):
        return portable_gated.run(problem)
    operands = problem.operands()
    if not (problem.return_sequence or autograd.needs_gradients(operands)):
        return _last_state(operands, problem.activation.name)
    out: Tensor = _Scan.apply(*operands, *problem.options())
    return out


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        h0: Tensor,
        weight_ih: Tensor | None,
        bias: Tensor | None,
        threshold: Tensor | None,
        name: str,
        return_sequence: bool,
        checkpoint: int | None,
    ) -> Tensor:
        steps, batch = x.shape[:2]
        n = w.shape[0]
        differentiate = any(ctx.needs_input_grad)
        ctx.options = name, return_sequence, checkpoint
        activate = ACTIVATE[name]
        transposed = w.mT.contiguous()  # the product is fastest with this layout
        states = x.new_empty(steps + 1, batch, n, dtype=w.dtype)
        states[0] = h0
        flat = states[1:].view(steps * batch, n)
        _pre_activations(x.reshape(steps * batch, x.shape[2]), weight_ih, bias, out=flat)
        # The derivative of |z| is the sign of z, which the state has lost.
        negative = (
            torch.empty(steps, batch, n, dtype=torch.bool, device=x.device)
            if name == "abs" and differentiate
            else None
        )
        slots = states.unbind(0)
        for t in range(steps):
            z = slots[t + 1].addmm_(slots[t], transposed)
            if negative is not None:
                torch.lt(z, 0, out=negative[t])
            activate(z, threshold)
        ctx.save_for_backward(x, w, h0, weight_ih, bias, threshold, states, negative)
        return states[1:] if return_sequence else states[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return autograd.backward(ctx, grad, Operands, _gradients)


def _gradients(
    ctx: Any,
    operands: Operands,
    saved: tuple[Tensor | None, ...],
    needed: Mapping[str, bool],
    grad: Tensor,
) -> dict[str, Tensor]:
    name, return_sequence, _ = ctx.options
    x, w, weight_ih = operands.x, operands.w, operands.weight_ih
    states, negative = saved
    assert states is not None
    steps, batch, n = states.shape[0] - 1, states.shape[1], states.shape[2]
    conjugate = w.conj().resolve_conj()
    dz = torch.empty_like(states[1:])
    derivative = DERIVATIVE[name](states[1:], negative, operands.threshold)
    grads = grad.unbind(0) if return_sequence else None
    dz_slots = dz.unbind(0)
    g = grads[-1] if grads is not None else grad
    for t in range(steps - 1, -1, -1):
        derivative.step(t, g, dz_slots[t])
        if t and grads is not None:
            g = torch.addmm(grads[t - 1], dz_slots[t], conjugate)
        else:
            g = dz_slots[t] @ conjugate
    flat = dz.view(steps * batch, n)
    found = {"h0": g}
    if needed["x"]:
        found["x"] = dz if weight_ih is None else (flat @ weight_ih.conj()).view(x.shape)
    if needed["w"]:
        found["w"] = flat.mT @ states[:-1].reshape(steps * batch, n).conj()
    if needed["weight_ih"]:
        found["weight_ih"] = flat.mT @ x.reshape(steps * batch, x.shape[2]).conj()
    if needed["bias"]:
        found["bias"] = flat.sum(0)
    if needed["threshold"] and derivative.threshold is not None:
        found["threshold"] = derivative.threshold(dz)
    return found


def _pre_activations(x: Tensor, weight_ih: Tensor | None, bias: Tensor | None, out: Tensor) -> None:
    """Write V x + b for each row of ``x`` into ``out``."""
    if weight_ih is None:
        torch.add(x, 0 if bias is None else bias, out=out)
    elif bias is None:
        torch.mm(x, weight_ih.mT, out=out)
    else:
        torch.addmm(bias, x, weight_ih.mT, out=out)


def _last_state(operands: Operands, name: str) -> Tensor:
    """Return the last state with two states in memory, whatever T; for inference."""
    x, w, h0, weight_ih, bias, threshold = operands
    activate = ACTIVATE[name]
    h, z = h0.clone(), torch.empty_like(h0)
    for x_t in x.unbind(0):
        _pre_activations(x_t, weight_ih, bias, out=z)
        z.addmm_(h, w.mT)
        activate(z, threshold)
        h, z = z, h
    return h

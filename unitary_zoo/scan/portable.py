"""The recurrence in PyTorch operations with its own backward pass, on any device.

It keeps the states for the backward pass and, for |x|, the sign of the pre-activation in one byte:
every derivative is a function of these. The inputs are held for the gradient of the input weights
and for second derivatives. The pre-activations are computed in the buffer of the states, and the
gradient of W is one matrix product over all steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unitary_zoo.scan import portable_gated
from unitary_zoo.scan.activations import ACTIVATE, DERIVATIVE
from unitary_zoo.scan.autograd import Needed, Saved
from unitary_zoo.scan.problem import AnyProblem, GatedProblem, Operands


def status() -> tuple[bool, str]:
    """Return that PyTorch runs everywhere, and when this backend is used."""
    return True, "used where native is not: PyTorch operations, on any device"


def supports(problem: AnyProblem) -> tuple[bool, str]:
    """Return true for dense matrices."""
    if problem.by_factors:
        return False, f"{type(problem.w).__name__} is applied by its factors, not by a matrix"
    return True, "dense recurrence in PyTorch operations"


def forward(problem: AnyProblem, keep: bool) -> tuple[Tensor, Saved]:
    """Return the result; keeps all states, and for |x| the signs."""
    if isinstance(problem, GatedProblem):
        return portable_gated.forward(problem, keep)
    operands, name = problem.operands(), problem.activation.name
    assert isinstance(operands, Operands)
    if not (problem.return_sequence or keep):
        return _last_state(operands, name), Saved(())
    x, w, h0, weight_ih, bias, threshold = operands
    steps, batch = x.shape[:2]
    n = w.shape[0]
    activate = ACTIVATE[name]
    transposed = w.mT.contiguous()  # the product is fastest with this layout
    states = x.new_empty(steps, batch, n, dtype=w.dtype)
    flat = states.view(steps * batch, n)
    _pre_activations(x.reshape(steps * batch, x.shape[2]), weight_ih, bias, out=flat)
    # The derivative of |z| is the sign of z, which the state has lost.
    negative = (
        torch.empty(steps, batch, n, dtype=torch.bool, device=x.device)
        if name == "abs" and keep
        else None
    )
    h = h0
    for t, z in enumerate(states.unbind(0)):
        h = z.addmm_(h, transposed)
        if negative is not None:
            torch.lt(z, 0, out=negative[t])
        activate(z, threshold)
    return states if problem.return_sequence else h.clone(), Saved((states, negative))


def restore(problem: AnyProblem, states: Tensor) -> Saved | None:
    """Return what :func:`forward` keeps, from all states; None for |x|, whose signs are lost."""
    if isinstance(problem, GatedProblem):
        return portable_gated.restore(problem, states)
    return None if problem.activation.name == "abs" else Saved((states, None))


def backward(problem: AnyProblem, saved: Saved, needed: Needed, grad: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the operands, by name, at least of those that need one."""
    if isinstance(problem, GatedProblem):
        return portable_gated.backward(problem, saved, needed, grad)
    x, w, h0, weight_ih, _, threshold = problem.operands()
    states, negative = saved.tensors
    assert states is not None
    steps, batch, n = states.shape
    conjugate = w.conj().resolve_conj()
    dz = torch.empty_like(states)
    derivative = DERIVATIVE[problem.activation.name](states, negative, threshold)
    grads = grad.unbind(0) if problem.return_sequence else None
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
        found["w"] = portable_gated.products_with_previous(dz, states, h0)
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

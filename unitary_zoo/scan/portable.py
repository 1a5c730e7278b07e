"""The recurrence in PyTorch operations with its own backward pass, on any device.

Of its own making it keeps only the states for the backward pass: each derivative is a function of
the state (for |x| of the sign of the pre-activation, kept as one byte). The inputs are held for the
gradient of the input weights and for second derivatives. The pre-activations are computed in the
buffer of the states, and the gradient of W is one matrix product over all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unitary_zoo import nonlinearities
from unitary_zoo._torch import without_autocast
from unitary_zoo.base import DenseMap, LinearMap
from unitary_zoo.scan import second_order
from unitary_zoo.scan.problem import Problem

_aten = torch.ops.aten


BOUNDS_ITS_MEMORY = False


def status() -> tuple[bool, str]:
    """Everywhere."""
    return True, "used where native is not: PyTorch operations, on any device"


def supports(problem: Problem) -> tuple[bool, str]:
    """Dense matrices and the activations whose derivative the state determines."""
    if isinstance(problem.w, LinearMap) and not isinstance(problem.w, DenseMap):
        return False, f"{type(problem.w).__name__} is applied by its factors, not by a matrix"
    return True, "dense recurrence in PyTorch operations"


def run(problem: Problem) -> Tensor:
    """All states (T, B, n), or the last one (B, n)."""
    p = problem
    tensors = p.tensors()
    # Asked here, since inside the function gradients always look wanted.
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    if not (wanted or p.return_sequence):
        return _last_state(_ACTIVATE[p.activation.name], *tensors)
    out: Tensor = _Scan.apply(*tensors, p.activation.name, p.return_sequence)
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
    ) -> Tensor:
        steps, batch = x.shape[:2]
        n = w.shape[0]
        differentiate = any(ctx.needs_input_grad)
        ctx.name, ctx.return_sequence = name, return_sequence
        activate = _ACTIVATE[name]
        transposed = w.mT.contiguous()  # the product runs on the layout the library likes best
        states = x.new_empty(steps + 1, batch, n, dtype=w.dtype)
        states[0] = h0
        flat = states[1:].view(steps * batch, n)
        _pre_activations(x.reshape(steps * batch, x.shape[2]), weight_ih, bias, out=flat)
        # Not sign(z): the step z -> |z| needs the sign, which the state has lost.
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
        with without_autocast(grad.device):
            if torch.is_grad_enabled():
                # A derivative of this derivative is wanted: differentiate the plain loop instead.
                inputs = ctx.saved_tensors[:6]
                options = ctx.name, ctx.return_sequence, ctx.needs_input_grad
                return *second_order.backward(inputs, *options, grad), None, None
            return _backward(ctx, grad)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w, _, weight_ih, bias, threshold, states, negative = ctx.saved_tensors
    steps, batch, n = states.shape[0] - 1, states.shape[1], states.shape[2]
    conjugate = w.conj().resolve_conj()
    dz = torch.empty_like(states[1:])
    derivative = _DERIVATIVE[ctx.name](states[1:], negative, threshold)
    grads = grad.unbind(0) if ctx.return_sequence else None
    dz_slots = dz.unbind(0)
    g = grads[-1] if grads is not None else grad
    for t in range(steps - 1, -1, -1):
        derivative.step(t, g, dz_slots[t])
        if t and grads is not None:
            g = torch.addmm(grads[t - 1], dz_slots[t], conjugate)
        else:
            g = dz_slots[t] @ conjugate
    flat = dz.view(steps * batch, n)
    dx = dw = dv = db = dthreshold = None
    if ctx.needs_input_grad[0]:
        dx = dz if weight_ih is None else (flat @ weight_ih.conj()).view(x.shape)
    if ctx.needs_input_grad[1]:
        dw = flat.mT @ states[:-1].reshape(steps * batch, n).conj()
    if weight_ih is not None and ctx.needs_input_grad[3]:
        dv = flat.mT @ x.reshape(steps * batch, x.shape[2]).conj()
    if bias is not None and ctx.needs_input_grad[4]:
        db = flat.sum(0)
    if derivative.threshold is not None and ctx.needs_input_grad[5]:
        dthreshold = derivative.threshold(dz)
    return dx, dw, g, dv, db, dthreshold, None, None


def _pre_activations(x: Tensor, weight_ih: Tensor | None, bias: Tensor | None, out: Tensor) -> None:
    """V x + b for each row of ``x``, written into ``out``."""
    if weight_ih is None:
        torch.add(x, 0 if bias is None else bias, out=out)
    elif bias is None:
        torch.mm(x, weight_ih.mT, out=out)
    else:
        torch.addmm(bias, x, weight_ih.mT, out=out)


def _last_state(
    activate: Callable[[Tensor, Tensor | None], object],
    x: Tensor,
    w: Tensor,
    h0: Tensor,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
) -> Tensor:
    """The loop for inference: two states in memory, whatever T."""
    h, z = h0.clone(), torch.empty_like(h0)
    for x_t in x.unbind(0):
        _pre_activations(x_t, weight_ih, bias, out=z)
        z.addmm_(h, w.mT)
        activate(z, threshold)
        h, z = z, h
    return h


# ----------------------------------------------------------- activations, in place on z (B, n)


def _modrelu_(z: Tensor, threshold: Tensor | None) -> None:
    assert threshold is not None
    modulus = z.abs()
    if z.is_complex():
        tiny = torch.finfo(modulus.dtype).tiny
        nonzero = modulus >= tiny
        # Two factors, since (|z| + b) / |z| would overflow where z is tiny.
        z.div_(modulus.clamp_(min=tiny)).mul_((modulus + threshold).relu_().mul_(nonzero))
    else:
        z.sgn_().mul_(modulus.add_(threshold).relu_())


_ACTIVATE: dict[str, Callable[[Tensor, Tensor | None], object]] = {
    "modrelu": _modrelu_,
    "relu": lambda z, _: z.relu_(),
    "leaky_relu": lambda z, _: functional.leaky_relu_(z, nonlinearities.LEAKY_SLOPE),
    "abs": lambda z, _: z.abs_(),
    "tanh": lambda z, _: z.tanh_(),
    "sigmoid": lambda z, _: z.sigmoid_(),
    "identity": lambda z, _: z,
}

# ----------------------------------------------------------------------------------- derivatives


@dataclass(frozen=True)
class Derivative:
    """From the gradient of h_t to that of z_t, and the gradient of the threshold at the end.

    Attributes:
        step: (t, gradient of h_t, out: gradient of z_t).
        threshold: All gradients of z (T, B, n) -> that of the threshold (n); modReLU only.
    """

    step: Callable[[int, Tensor, Tensor], object]
    threshold: Callable[[Tensor], Tensor] | None = None


def _modrelu_derivative(h: Tensor, negative: Tensor | None, threshold: Tensor | None) -> Derivative:
    assert threshold is not None
    if h.is_complex():
        return _complex_modrelu_derivative(h, threshold)
    active = h != 0
    return Derivative(
        lambda t, g, dz: torch.mul(g, active[t], out=dz),
        lambda dz: (dz * h.sgn()).sum((0, 1)),
    )


def _complex_modrelu_derivative(h: Tensor, threshold: Tensor) -> Derivative:
    # dz = u (Re + i k Im)(conj(u) g), with u = h/|h|, k = |h|/|z| and |z| = |h| - b. For b > 0
    # that difference cancels where |z| << b, but z itself carries the rounding of W h there.
    modulus = h.abs()
    tiny = torch.finfo(modulus.dtype).tiny
    floor = (modulus * torch.finfo(modulus.dtype).eps).clamp_(min=tiny)
    k = modulus / torch.maximum(modulus - threshold, floor)
    u = h.sgn()
    # Not from dz at the end: where k is huge its radial part is lost in the rounding of the other.
    radial = torch.zeros_like(modulus[0])

    def step(t: int, g: Tensor, dz: Tensor) -> None:
        turned = u[t].conj() * g
        radial.add_(turned.real)
        torch.complex(turned.real, turned.imag * k[t], out=dz)
        dz.mul_(u[t])

    return Derivative(step, lambda dz: radial.sum(0))


def _abs_derivative(h: Tensor, negative: Tensor | None, _: Tensor | None) -> Derivative:
    assert negative is not None
    sign = torch.where(negative, -1.0, 1.0).to(h.dtype).mul_(h != 0)
    return Derivative(lambda t, g, dz: torch.mul(g, sign[t], out=dz))


_DERIVATIVE: dict[str, Callable[[Tensor, Tensor | None, Tensor | None], Derivative]] = {
    "modrelu": _modrelu_derivative,
    "relu": lambda h, *_: Derivative(
        lambda t, g, dz: _aten.threshold_backward.grad_input(g, h[t], 0, grad_input=dz)
    ),
    "leaky_relu": lambda h, *_: Derivative(
        lambda t, g, dz: _aten.leaky_relu_backward.grad_input(
            g, h[t], nonlinearities.LEAKY_SLOPE, True, grad_input=dz
        )
    ),
    "abs": _abs_derivative,
    "tanh": lambda h, *_: Derivative(
        lambda t, g, dz: _aten.tanh_backward.grad_input(g, h[t], grad_input=dz)
    ),
    "sigmoid": lambda h, *_: Derivative(
        lambda t, g, dz: _aten.sigmoid_backward.grad_input(g, h[t], grad_input=dz)
    ),
    "identity": lambda h, *_: Derivative(lambda t, g, dz: dz.copy_(g)),
}

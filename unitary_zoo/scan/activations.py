"""Activations in place on pre-activations z (B, n), and their derivatives as functions of h."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from unitary_zoo import _torch, nonlinearities


def _modrelu_(z: Tensor, threshold: Tensor | None) -> None:
    assert threshold is not None
    modulus = z.abs()
    if z.is_complex():
        tiny = torch.finfo(modulus.dtype).tiny
        nonzero = modulus >= tiny
        # In two factors, since (|z| + b) / |z| would overflow where z is tiny.
        z.div_(modulus.clamp_(min=tiny)).mul_((modulus + threshold).relu_().mul_(nonzero))
    else:
        z.sgn_().mul_(modulus.add_(threshold).relu_())


ACTIVATE: dict[str, Callable[[Tensor, Tensor | None], object]] = {
    "modrelu": _modrelu_,
    "relu": lambda z, _: z.relu_(),
    "leaky_relu": lambda z, _: functional.leaky_relu_(z, nonlinearities.LEAKY_SLOPE),
    "abs": lambda z, _: z.abs_(),
    "tanh": lambda z, _: z.tanh_(),
    "sigmoid": lambda z, _: z.sigmoid_(),
    "identity": lambda z, _: z,
}

# ------------------------------------------------------------------------------------ derivatives


@dataclass(frozen=True)
class Derivative:
    """The backward pass through an activation.

    Attributes:
        step: From (t, the gradient of h_t, a buffer) to the gradient of z_t, written into the
            buffer; called once for each t, in descending order.
        threshold: From the gradients of all z (T, B, n) to that of the threshold (n), after all
            steps; for modReLU only.
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
    # Scaled first, since torch's sgn of a subnormal number may be NaN.
    u = (h * torch.ones_like(modulus).masked_fill_(modulus < 1, 1 / tiny)).sgn()
    # Summed here and not from dz at the end: where k is huge, the radial part of dz is lost in the
    # rounding of the other part.
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


DERIVATIVE: dict[str, Callable[[Tensor, Tensor | None, Tensor | None], Derivative]] = {
    "modrelu": _modrelu_derivative,
    "relu": lambda h, *_: Derivative(lambda t, g, dz: _torch.relu_gradient(g, h[t], dz)),
    "leaky_relu": lambda h, *_: Derivative(
        lambda t, g, dz: _torch.leaky_relu_gradient(g, h[t], nonlinearities.LEAKY_SLOPE, dz)
    ),
    "abs": _abs_derivative,
    "tanh": lambda h, *_: Derivative(lambda t, g, dz: _torch.tanh_gradient(g, h[t], dz)),
    "sigmoid": lambda h, *_: Derivative(lambda t, g, dz: _torch.sigmoid_gradient(g, h[t], dz)),
    "identity": lambda h, *_: Derivative(lambda t, g, dz: dz.copy_(g)),
}

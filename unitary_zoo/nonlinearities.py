r"""The activations of unitary recurrent networks, by name, with gradients that are safe at zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from unitary_zoo.registry import Registry

LEAKY_SLOPE = 0.01


class Nonlinearity(Protocol):
    """phi(z, threshold) -> h, elementwise; ``threshold`` is None unless the name is modrelu."""

    def __call__(self, z: Tensor, threshold: Tensor | None = None) -> Tensor:
        """phi(z, threshold)."""
        ...


@dataclass(frozen=True)
class Activation:
    """An entry of :data:`NONLINEARITIES`: the function and what may be asked of it."""

    name: str
    function: Nonlinearity
    complex: bool = False  # defined for complex states
    has_threshold: bool = False

    def check(self, is_complex: bool) -> None:
        """Raise ValueError if the activation is not defined on states of that field."""
        if is_complex and not self.complex:
            able = [name for name in NONLINEARITIES.names() if NONLINEARITIES.get(name).complex]
            raise ValueError(
                f"nonlinearity {self.name!r} is defined for real states only, and the scheme is "
                f"complex; use one of {', '.join(able)}, or a real scheme"
            )


NONLINEARITIES: Registry[Activation] = Registry("nonlinearity")


def _enter(
    name: str, *, complex: bool = False, has_threshold: bool = False
) -> Callable[[Nonlinearity], Nonlinearity]:
    def decorate(function: Nonlinearity) -> Nonlinearity:
        NONLINEARITIES.register(name)(Activation(name, function, complex, has_threshold))
        return function

    return decorate


def get(name: str) -> Activation:
    """The activation called ``name``.

    Raises:
        ValueError: Unknown name; the message suggests the nearest ones.
    """
    try:
        return NONLINEARITIES.get(name)
    except LookupError as error:
        raise ValueError(str(error)) from None


@_enter("modrelu", complex=True, has_threshold=True)
def modrelu(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\mathrm{ReLU}(|z| + b)\, z / |z|`, and 0 with gradient 0 at z = 0.

    The real form is :math:`\mathrm{sign}(z)\,\mathrm{ReLU}(|z| + b)`.

    Args:
        z: Real or complex, shape (..., n).
        threshold: b, real, shape (n) or broadcastable; None is zero.

    Returns:
        Shape and dtype of ``z``.

    Source: Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    b = z.real.new_zeros(()) if threshold is None else threshold
    if not z.is_complex():
        return z.sign() * functional.relu(z.abs() + b)
    # Real arithmetic throughout, and no square of |z|: nothing over- or underflows but z itself,
    # and no NaN of sgn or angle enters. Below the normal numbers z counts as zero.
    modulus = z.abs()
    nonzero = modulus >= torch.finfo(modulus.dtype).tiny
    safe = torch.where(nonzero, modulus, 1.0)
    length = torch.where(nonzero, functional.relu(safe + b), 0.0)
    return torch.complex(z.real / safe * length, z.imag / safe * length)


@_enter("relu")
def relu(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\max(z, 0)`, real."""
    return functional.relu(z)


@_enter("leaky_relu")
def leaky_relu(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\max(z, 0.01 z)`, real."""
    return functional.leaky_relu(z, LEAKY_SLOPE)


@_enter("abs")
def abs(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`|z|`, real, gradient 0 at 0: with an orthogonal W the gradient norm is constant.

    Source: Lin and Wang, CS224N report, 2019.
    """
    return z.abs()


@_enter("tanh")
def tanh(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\tanh z`, real."""
    return torch.tanh(z)


@_enter("sigmoid")
def sigmoid(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`1 / (1 + e^{-z})`, real."""
    return torch.sigmoid(z)


@_enter("identity", complex=True)
def identity(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`z`, real or complex: the linear network."""
    return z

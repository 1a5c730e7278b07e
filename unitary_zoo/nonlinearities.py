r"""The nonlinearities of recurrent networks, by name. Their gradients at 0 are finite."""

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
    """An elementwise function phi(z, threshold) -> h; only modReLU reads ``threshold``."""

    def __call__(self, z: Tensor, threshold: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Activation:
    """An entry of :data:`NONLINEARITIES`.

    Attributes:
        name: The registered name.
        function: The function.
        accepts_complex: Whether the function is defined for complex states.
        has_threshold: Whether the function has a learned threshold for each unit.
    """

    name: str
    function: Nonlinearity
    accepts_complex: bool = False
    has_threshold: bool = False

    def check(self, is_complex: bool) -> None:
        """Raise ValueError if the states are complex and the function is only real."""
        if is_complex and not self.accepts_complex:
            entries = map(NONLINEARITIES.get, NONLINEARITIES.names())
            able = ", ".join(entry.name for entry in entries if entry.accepts_complex)
            raise ValueError(
                f"nonlinearity {self.name!r} is defined for real states only, and the scheme is "
                f"complex; use one of {able}, or a real scheme"
            )


NONLINEARITIES: Registry[Activation] = Registry("nonlinearity")


def _register(
    name: str, *, accepts_complex: bool = False, has_threshold: bool = False
) -> Callable[[Nonlinearity], Nonlinearity]:
    def decorate(function: Nonlinearity) -> Nonlinearity:
        NONLINEARITIES.register(name)(Activation(name, function, accepts_complex, has_threshold))
        return function

    return decorate


def get(name: str) -> Activation:
    """Return the entry called ``name``.

    Raises:
        ValueError: The name is unknown; the message suggests the nearest ones.
    """
    try:
        return NONLINEARITIES.get(name)
    except LookupError as error:
        raise ValueError(str(error)) from None


@_register("modrelu", accepts_complex=True, has_threshold=True)
def modrelu(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\mathrm{ReLU}(|z| + b)\, z / |z|`, and 0 with gradient 0 at z = 0.

    The real form is :math:`\mathrm{sign}(z)\,\mathrm{ReLU}(|z| + b)`.

    Args:
        z: Real or complex, shape (..., n).
        threshold: b, real, shape (n) or broadcastable; None means zero.

    Returns:
        Shape and dtype of ``z``.

    Source: Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    b = z.real.new_zeros(()) if threshold is None else threshold
    if not z.is_complex():
        return z.sign() * functional.relu(z.abs() + b)
    # Real arithmetic without a square of |z|, so that only z itself can over- or underflow, and
    # without sgn or angle, whose gradients at 0 are NaN. Subnormal z count as zero; they are
    # replaced before |z| is differentiated, whose gradient there is NaN, too.
    nonzero = z.abs() >= torch.finfo(z.real.dtype).tiny
    safe = torch.where(nonzero, z, 1.0).abs()
    length = torch.where(nonzero, functional.relu(safe + b), 0.0)
    return torch.complex(z.real / safe * length, z.imag / safe * length)


@_register("relu")
def relu(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\max(z, 0)`, real."""
    return functional.relu(z)


@_register("leaky_relu")
def leaky_relu(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\max(z, 0.01 z)`, real."""
    return functional.leaky_relu(z, LEAKY_SLOPE)


@_register("abs")
def absolute(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`|z|`, real, with gradient 0 at 0: the gradient norm is constant for orthogonal W.

    Source: Lin and Wang, CS224N report, 2019.
    """
    return z.abs()


@_register("tanh")
def tanh(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`\tanh z`, real."""
    return torch.tanh(z)


@_register("sigmoid")
def sigmoid(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`1 / (1 + e^{-z})`, real."""
    return torch.sigmoid(z)


@_register("identity", accepts_complex=True)
def identity(z: Tensor, threshold: Tensor | None = None) -> Tensor:
    r""":math:`z`, real or complex; it makes the network linear."""
    return z

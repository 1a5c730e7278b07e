"""The slopes of nonlinearities: the singular values of their Jacobians."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unitary_zoo import nonlinearities

SLOPES: dict[str, tuple[float, float]] = {
    "relu": (0.0, 1.0),
    "leaky_relu": (nonlinearities.LEAKY_SLOPE, 1.0),
    "abs": (1.0, 1.0),
    "tanh": (0.0, 1.0),
    "sigmoid": (0.0, 0.25),
    "identity": (1.0, 1.0),
}
"""Least and largest :math:`|\\phi'|` of each nonlinearity without a threshold."""


def slopes(
    nonlinearity: str, threshold: Tensor | None = None, *, is_complex: bool = False
) -> tuple[float, float]:
    r""":math:`(\inf s, \sup s)` over the singular values s of the Jacobian of :math:`\phi`.

    For an elementwise real function these are the values of :math:`|\phi'|`. ModReLU of a complex
    z, :math:`\mathrm{ReLU}(|z| + b)\, z / |z|`, has a real 2 x 2 Jacobian for each unit, which is
    not diagonal. Its singular values are 1 along z and :math:`(|z| + b) / |z|` across z where the
    unit is active, and 0 where it is not (remarked by Wolter and Yao, 2018). They lie in [0, 1] for
    b <= 0 and are unbounded near z = 0 for b > 0. For real z the slopes are 0 and 1, and only 1 if
    b >= 0. With b = 0 modReLU is the identity.

    At a kink, the slopes of both sides count. At a kink at 0 torch takes a slope between them,
    which is 0 for abs and modReLU and lies outside the range. So a lower bound does not hold at
    pre-activations that are exactly 0, such as those of a zero state with a zero input.

    Args:
        nonlinearity: One of the names in :mod:`unitary_zoo.nonlinearities`.
        threshold: b of modReLU, any shape.
        is_complex: Whether the states are complex.

    Raises:
        ValueError: The name is unknown or not defined for these states; or modReLU has no
            threshold, an undefined one, or a positive one for complex states.
    """
    activation = nonlinearities.get(nonlinearity)
    activation.check(is_complex)
    if not activation.has_threshold:
        return SLOPES[activation.name]
    if threshold is None:
        raise ValueError(
            f"the slopes of {nonlinearity!r} depend on its threshold b: pass the pair (0, 1) if "
            "all b <= 0, or the pair that slopes(nonlinearity, threshold) finds"
        )
    low, high = map(float, threshold.detach().aminmax())
    if math.isnan(low):  # NaN would pass the comparisons below
        raise ValueError("the threshold has undefined entries; pass finite ones")
    if is_complex and high > 0:
        raise ValueError(
            f"{nonlinearity!r} of complex states with a threshold of {high:g} > 0 has no largest "
            "slope: it is (|z| + b) / |z| across z, unbounded near z = 0; pass a pair that holds "
            "for your |z|, or use trajectory_bounds at the inputs in question"
        )
    return (1.0 if low >= 0 else 0.0), 1.0


def slopes_at(
    z: Tensor, activation: nonlinearities.Activation, threshold: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The least and the largest singular value of each unit's Jacobian, in the shape of z."""
    if not z.is_complex():
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            (slope,) = torch.autograd.grad(activation.function(leaf, threshold).sum(), leaf)
        return slope.abs(), slope.abs()
    one = torch.ones_like(z.real)
    if not activation.has_threshold:
        return one, one
    modulus = z.abs()
    length = modulus + (0.0 if threshold is None else threshold)
    across = torch.where((length > 0) & (modulus > 0), length / modulus, 0.0)
    along = torch.where(across > 0, one, 0.0)
    return torch.minimum(across, along), torch.maximum(across, along)

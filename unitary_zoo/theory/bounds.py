r"""Bounds on the gradients of a recurrent network, from the singular values of W.

For :math:`h_t = \phi(W h_{t-1} + V x_t + b)` the Jacobian over several steps is the product
:math:`J = \partial h_t / \partial h_k = D_t W D_{t-1} W \cdots D_{k+1} W`, where :math:`D_i` is the
Jacobian of :math:`\phi` at step i: diagonal, or for modReLU of complex numbers a real 2 x 2 block
for each unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unitary_zoo import linalg, nonlinearities
from unitary_zoo.base import LinearMap, Parametrization
from unitary_zoo.theory._slopes import slopes, slopes_at


@dataclass(frozen=True, eq=False, repr=False)
class Bounds:
    r""":math:`\ell \|v\|_2 \le \|J v\|_2 \le u \|v\|_2` for every v.

    :math:`\ell` bounds the least singular value of J from below, and u its spectral norm from
    above. J is square, so the same holds for :math:`J^T`: backpropagation through J multiplies the
    norm of a gradient by at least :math:`\ell` and at most u.

    Use the logarithms when the powers of many steps over- or underflow.

    Attributes:
        log_lower: :math:`\ln \ell`, float64; minus infinity means that there is no lower bound.
        log_upper: :math:`\ln u`, of the same shape.
    """

    log_lower: Tensor
    log_upper: Tensor

    @property
    def lower(self) -> Tensor:
        r""":math:`\ell`, which may underflow to 0."""
        return self.log_lower.exp()

    @property
    def upper(self) -> Tensor:
        r""":math:`u`, which may overflow to infinity."""
        return self.log_upper.exp()

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over lower, upper."""
        return iter((self.lower, self.upper))

    def __repr__(self) -> str:
        shape = tuple(self.log_lower.shape)
        if not self.log_lower.numel():
            return f"Bounds(of shape {shape})"
        where = f", shape {shape}, from the least to the largest" if shape else ""
        low, high = self.log_lower.min(), self.log_upper.max()
        return f"Bounds({_decimal_exp(low)} <= |Jv| / |v| <= {_decimal_exp(high)}{where})"


def _decimal_exp(log: Tensor) -> str:
    """exp(log) in decimal notation, however large or small."""
    value = float(log)
    if not math.isfinite(value):
        return "0" if value < 0 else "inf"
    if abs(value) < 600:  # exp(value) is a normal floating-point number
        return f"{math.exp(value):.4g}"
    exponent = math.floor(value / math.log(10))
    # The mantissa may round to 10, which carries.
    mantissa, carried = f"{math.exp(value - exponent * math.log(10)):.3e}".split("e")
    return f"{float(mantissa):g}e{exponent + int(carried):+d}"


def gradient_bounds(
    W: Tensor | Parametrization | LinearMap,
    slope_range: str | tuple[float, float],
    steps: int | Sequence[int] | Tensor,
) -> Bounds:
    r""":math:`(\sigma_{\min} s_{\min})^k \|v\| \le \|J v\| \le (\sigma_{\max} s_{\max})^k \|v\|`.

    J is :math:`\partial h_{t+k} / \partial h_t`, and :math:`\sigma` are the *singular values* of W.
    The norms are Euclidean; for complex states they are those of the complex vectors, and J is real
    linear. The bounds hold for every input, in exact arithmetic. With an orthogonal W and the
    nonlinearity abs both are 1: no gradient grows or vanishes (Lin and Wang).

    The upper bound is Galvan's. Lin and Wang print both bounds with the moduli of the eigenvalues
    for any diagonalizable W. That holds for a normal W, whose singular values these are, and fails
    otherwise: W = [[.5, 10], [0, .4]] has the eigenvalues .5 and .4, and its norm is 10.02.

    Args:
        W: Matrix (n, n), or an object that has one.
        slope_range: The least and the largest :math:`|\phi'|`, or the name of a nonlinearity whose
            :func:`slopes` do not depend on a threshold.
        steps: k, integers of at least 0, in any shape.

    Returns:
        Both bounds in float64, on W's device, in the shape of ``steps``.

    Raises:
        ValueError: W is not square or not finite, the range is not 0 <= least <= largest < inf, or
            steps are negative.
        TypeError: Steps are no integers, the range is no pair, or W is of another type.

    Source: Galvan, slides on the gradient of recurrent networks; Lin and Wang, CS224N report, 2019.
    """
    w = _matrix(W)
    s = torch.linalg.svdvals(linalg.double(w))
    return _powers(s.min(), s.max(), _checked_slope_range(slope_range, w.is_complex()), steps)


@torch.no_grad()
def trajectory_bounds(
    W: Tensor | Parametrization | LinearMap,
    z: Tensor,
    nonlinearity: str,
    threshold: Tensor | None = None,
) -> Bounds:
    r""":math:`\prod_{i>t} \sigma_{\min}(D_i W) \le \ldots \le \prod_{i>t} \|D_i\|_2 \|W\|_2`.

    Bounds :math:`\partial h_T / \partial h_t` along one trajectory, by the slopes at its
    pre-activations instead of the range of all slopes. With a unitary W the upper bound is
    :math:`\prod \|D_i\|`, that of Arjovsky et al. They take :math:`D_i` to be diagonal. For modReLU
    of complex states it is not, so the norms here are those of its real Jacobian (see
    :func:`slopes`).

    Args:
        W: Matrix (n, n), or an object that has one.
        z: (T, ..., n) pre-activations :math:`z_t = W h_{t-1} + V x_t + b`, t = 1..T, with
            :math:`h_t = \phi(z_t)`.
        nonlinearity: Name of :math:`\phi`.
        threshold: b of modReLU, (n) or broadcastable; None means zero.

    Returns:
        Shape (T, ...): entry i bounds the Jacobian from the state after z[i] to the last one. The
        last entry is 1.

    Raises:
        ValueError: As :func:`gradient_bounds`; or z has another size or another field than W.

    Source: Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    w = _matrix(W)
    activation = nonlinearities.get(nonlinearity)
    activation.check(w.is_complex())
    if z.dim() < 2 or z.shape[-1] != w.shape[-1] or z.is_complex() != w.is_complex():
        field = "complex" if w.is_complex() else "real"
        raise ValueError(
            f"z is {z.dtype} of shape {tuple(z.shape)}, and W is {field}, {len(w)} x {len(w)}; "
            f"pass {field} pre-activations (T, ..., {len(w)})"
        )
    s = torch.linalg.svdvals(linalg.double(w))
    least, largest = slopes_at(linalg.double(z), activation, threshold)
    return Bounds(
        _sums_of_later_entries(s.min().log() + least.amin(-1).log()),
        _sums_of_later_entries(s.max().log() + largest.amax(-1).log()),
    )


def _sums_of_later_entries(logs: Tensor) -> Tensor:
    """Entry t is the sum of the entries after t: (T, ...) to (T, ...)."""
    after = torch.cat([logs[1:], torch.zeros_like(logs[:1])])
    return after.flip(0).cumsum(0).flip(0)


def _matrix(w: Tensor | Parametrization | LinearMap) -> Tensor:
    """Return W, detached and checked."""
    if not isinstance(w, (Tensor, Parametrization, LinearMap)):
        raise TypeError(f"W is a {type(w).__name__}; pass a tensor (n, n), or what has a matrix")
    with torch.no_grad():
        matrix = w.detach() if isinstance(w, Tensor) else w.matrix().detach()
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.numel():
        raise ValueError(f"W has shape {tuple(matrix.shape)}; pass a square matrix (n, n)")
    if not torch.isfinite(torch.view_as_real(matrix) if matrix.is_complex() else matrix).all():
        raise ValueError("W has infinite or undefined entries; pass a finite matrix")
    return matrix


def _checked_slope_range(
    slope_range: str | tuple[float, float], is_complex: bool
) -> tuple[float, float]:
    """Return the least and the largest slope, looked up or checked."""
    if isinstance(slope_range, str):
        return slopes(slope_range, is_complex=is_complex)
    if not isinstance(slope_range, Sequence) or len(slope_range) != 2:
        raise TypeError(
            f"slope_range={slope_range!r}; pass the pair of the least and the largest |phi'|, or "
            "the name of a nonlinearity"
        )
    low, high = map(float, slope_range)
    if not 0 <= low <= high < math.inf:
        raise ValueError(
            f"slope_range={(low, high)} is no range of |phi'|; pass 0 <= least <= largest < inf"
        )
    return low, high


def _powers(
    least: Tensor,
    largest: Tensor,
    slope_range: tuple[float, float],
    steps: int | Sequence[int] | Tensor,
) -> Bounds:
    """Bounds (least * low)^k and (largest * high)^k for each k of ``steps``."""
    k = torch.as_tensor(steps, device=least.device)
    if k.is_floating_point() or k.is_complex() or k.dtype == torch.bool:
        raise TypeError(f"steps are {k.dtype}; pass integers")
    if k.numel() and int(k.min()) < 0:
        raise ValueError(f"steps={int(k.min())} is negative; pass integers of at least 0")

    def power(log: Tensor) -> Tensor:
        # J of no steps is the identity, also if the logarithm is infinite and 0 * log undefined.
        return torch.where(k == 0, 0.0, k * log)

    low, high = slope_range
    return Bounds(power((least * low).log()), power((largest * high).log()))

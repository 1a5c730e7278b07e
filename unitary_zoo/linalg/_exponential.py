"""The exponential of skew matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import to_lists
from unitary_zoo.linalg._constants import kept_on_cpu
from unitary_zoo.linalg._dtypes import identity_like, real_dtype, view_as_real_parts
from unitary_zoo.linalg._inplace import add_identity_, add_product, add_product_
from unitary_zoo.linalg._map import MatrixMap
from unitary_zoo.linalg._polar import newton_schulz_step

_Cubics = tuple[tuple[float, ...], ...]

# Polynomials p of degree 12 that need four products: p = u + (v + q) q with q = s + t^2, where
# u, v, s and t are cubics. For each precision there are: the radius r, so that |p(ix) - exp(ix)| is
# at most half a unit roundoff for |x| <= r; the constant of v (that of u is 1, those of s and t are
# 0); and the coefficients of A, A^2 and A^3, in one row each for u, v, s and t. They are best
# approximations with p(0) = p'(0) = 1; their r is almost twice that of the Taylor polynomial. The
# form is from Bader, Blanes and Casas, Computing the matrix exponential with an optimized Taylor
# polynomial approximation, 2019. Completing the square twice determines all coefficients but two.
# Those are chosen so that q(0) = q'(0) = 0, which keeps the terms as small as in the Taylor
# polynomial.
_POLYNOMIALS: dict[torch.dtype, tuple[float, float, _Cubics]] = {
    torch.float32: (
        2.8,
        5.1123650499207766,
        (
            (1.0, -0.030088961675453605, -0.02710052216026315),
            (1.2576018956769816, 0.026392923473026801, 0.010103492740164037),
            (0.0, 0.078006935935619824, 0.0061821159500308769),
            (0.16025192567922185, 0.019385658201656475, 0.0065114880164693015),
        ),
    ),
    torch.float64: (
        0.6,
        5.4995567732087851,
        (
            (1.0, -0.12650522095601328, -0.049136945272952218),
            (1.3067748005013837, 0.0056836520042485224, 0.0097020929938440912),
            (0.0, 0.096184659276723739, 0.0067813863069166779),
            (0.13317117281878108, 0.02023684977244764, 0.0067479754065355594),
        ),
    ),
}


def expm_skew(a: Tensor) -> Tensor:
    r""":math:`W = \exp(A)` for skew A, by a polynomial of degree 12 and squaring.

    ``torch.matrix_exp`` is not used because its float32 result for a single small matrix is off by
    up to 5.2e-5 (a rotation by 0.58). A is scaled by a bound of its 2-norm, computed from the
    Frobenius norms of A, A^2 and A^3. Every squaring doubles the unitarity defect, and
    Newton-Schulz steps between the squarings remove it: W is unitary to rounding for any argument
    whose square does not overflow.

    Args:
        a: Skew, shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary.
    """
    return _EXPONENTIAL(a)


def expm_of_coordinates(theta: Tensor, n: int, field: str) -> Tensor:
    r""":math:`W = \exp(A)` of the A that :func:`skew_from_coordinates` gives, in one backward node.

    Args:
        theta: Shape (..., d), float32 or float64.
        n: Size of A.
        field: "real" or "complex".

    Returns:
        Shape (..., n, n), unitary.
    """
    return _EXPONENTIAL.of_skew(theta, n, field)


def _factors(a: Tensor) -> tuple[Any, ...]:
    """exp(A), and what its adjoint needs; A = 0, at which rebased schemes are read, costs least."""
    powers = _powers(a)
    norms = _norms(powers)
    if not any(norms[0]):
        return add_identity_(a.clone(), 1.0), 1.0
    return _evaluated(powers, norms)


def _evaluated(powers: Sequence[Tensor], norms: list[list[float]]) -> tuple[Any, ...]:
    """exp(A), and what its adjoint needs.

    Args:
        powers: A, A^2 and A^3.
        norms: Their Frobenius norms, in one list for each power.

    Returns:
        W; a factor c, which is 1 unless A is huge; the coefficients of I and the powers of c A in
        u, v, s and t, with the halvings of A in them; c A, (c A)^2, t, q, v + q; and the matrices
        that were squared, in order.
    """
    a = powers[0]
    dtype = real_dtype(a.dtype)
    bound = _spectral_bound(norms, a.is_complex())
    radius = _POLYNOMIALS[dtype][0]
    squarings = max(0, math.ceil(math.log2(bound / radius))) if bound > 0 else 0
    halvings, scale = squarings, 1.0
    if squarings > 30:  # the coefficients of A^3 would underflow, or A^3 has overflowed
        halvings, scale = 0, 0.5**squarings
        powers = _powers(a * scale)
    a, a2, a3 = powers
    coefficients = _coefficients(halvings, a.dtype, a.device)
    one = identity_like(a).expand(a.shape)
    u, v, s, t = _combined(coefficients, one, a, a2, a3)
    q = add_product(s, t, t)
    vq = v + q
    w = add_product(u, vq, q)
    roots = []
    for left in range(squarings - 1, -1, -1):
        roots.append(w)
        w = w @ w
        if left % 4 == 0:  # the defect has grown to at most 16 eps, and the step squares it
            w = newton_schulz_step(w)
    return w, scale, coefficients, a, a2, t, q, vq, *roots


def _adjoint(grad: Tensor, scale: float, *kept: Tensor) -> Tensor:
    """The reverse of the products: two for each of them, none for a Newton-Schulz step."""
    if not kept:
        return grad.clone()
    # The adjoint of a polynomial's derivative at A is its derivative at A^H = -A. The conjugate
    # transpose of that is the derivative at A in the direction G^H, in which no factor is
    # transposed.
    coefficients, a, a2, t, q, vq, *roots = kept
    d = grad.mH.contiguous()
    d2 = add_product_(a @ d, d, a)
    d3 = add_product_(a @ d2, d, a2)
    du, dv, ds, dt = _combined(coefficients[:, 1:], d, d2, d3)
    dq = add_product_(add_product(ds, t, dt), dt, t)
    dw = add_product_(add_product(du, vq, dq), dv.add_(dq), q)
    # The derivative of a Newton-Schulz step at a unitary matrix is the identity on the tangent
    # space, and the exponential moves W in no other direction.
    for root in roots:
        dw = add_product_(root @ dw, dw, root)
    return dw.mH if scale == 1.0 else dw.mH * scale


def _powers(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A, A^2, A^3."""
    a2 = a @ a
    return a, a2, a @ a2


@kept_on_cpu
def _coefficients(halvings: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The coefficients of I, A, A^2, A^3 in u, v, s and t of A / 2^halvings, a row for each."""
    _, shift, rows = _POLYNOMIALS[real_dtype(dtype)]
    constants = (1.0, shift, 0.0, 0.0)
    table = [
        [constant, *(c * 0.5 ** (halvings * k) for k, c in enumerate(row, 1))]
        for constant, row in zip(constants, rows, strict=True)
    ]
    return torch.tensor(table, dtype=dtype, device=device)


def _combined(coefficients: Tensor, *x: Tensor) -> tuple[Tensor, ...]:
    """The linear combinations of matrices, one for each row of coefficients."""
    together = torch.mm(coefficients, torch.stack(x).reshape(len(x), -1))
    return together.view(-1, *x[0].shape).unbind()


def _norms(powers: Sequence[Tensor]) -> list[list[float]]:
    """The Frobenius norms of matrices, or of batches of them, in a list for each."""
    x = view_as_real_parts(torch.stack([p.detach() for p in powers]))
    axes = (-3, -2, -1) if powers[0].is_complex() else (-2, -1)
    return to_lists(torch.linalg.vector_norm(x, dim=axes))


def _differentiable(a: Tensor) -> Tensor:
    powers = _powers(a)
    w: Tensor = _evaluated(powers, _norms(powers))[0]
    return w


_EXPONENTIAL = MatrixMap("expm_skew", _factors, _adjoint, differentiable=_differentiable)


def _spectral_bound(norms: list[list[float]], is_complex: bool) -> float:
    """An upper bound of the 2-norm of skew A, from the norms of its powers; 0 if none is finite."""
    # Eigenvalues of a real A come in pairs +-ix; one of each pair is counted.
    repeated = 1 if is_complex else 2
    bound = 0.0
    for moments in zip(*norms, strict=True):
        sums = [norm * norm / repeated for norm in moments]
        bound = max(bound, _bound_from_power_sums(sums, bound))
    return bound**0.5


def _bound_from_power_sums(sums: list[float], known: float) -> float:
    r"""An upper bound of the largest of some numbers :math:`\mu_i \ge 0`, from their power sums.

    The sums are :math:`s_k = \sum_i \mu_i^k`, k = 1, 2, 3. Cauchy's inequality for all numbers but
    the largest, M, reads :math:`(s_2 - M^2)^2 \le (s_1 - M)(s_3 - M^3)`. That is a cubic in M,
    concave above its largest root. If the bound is below ``known``, it need not be close.
    """
    roots = [s ** (1 / k) for k, s in enumerate(sums, 1) if math.isfinite(s)]
    m = min(roots, default=0.0)
    if len(roots) < 3 or m <= known:
        return m
    s1, s2, s3 = sums
    # For equal numbers the root is double; a larger constant keeps rounding from removing it.
    constant = s1 * s3 * (1 + 1e-5) - s2**2
    for _ in range(6):  # Newton's method starts above the root and stays above it
        value = constant + m * (-s3 + m * (2 * s2 - m * s1))
        slope = -s3 + m * (4 * s2 - 3 * m * s1)
        if not (value < 0 and slope < 0):
            break
        m -= value / slope
    return m

"""The exponential of skew matrices."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import to_lists
from unitary_zoo.linalg._dtypes import real_dtype, view_as_real_parts
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


def _factors(a: Tensor) -> tuple[Any, ...]:
    """exp(A), and what its adjoint needs.

    Returns:
        W; a factor c, which is 1 unless A is huge; the coefficients of the powers of c A in u, v,
        s and t, with the halvings of A in them; c A, (c A)^2, t, q, v + q; and the matrices that
        were squared, in order.
    """
    radius, shift, rows = _POLYNOMIALS[real_dtype(a.dtype)]
    a, a2, a3 = _powers(a)
    bound = _spectral_bound(a, a2, a3)
    squarings = max(0, math.ceil(math.log2(bound / radius))) if bound > 0 else 0
    half, scale = 0.5**squarings, 1.0
    if squarings > 30:  # the coefficients of A^3 would underflow, or A^3 has overflowed
        half, scale = 1.0, half
        a, a2, a3 = _powers(a * scale)
    cubics = tuple(tuple(c * half**k for k, c in enumerate(row, 1)) for row in rows)
    u, v, s, t = (_linear_combination(row, a, a2, a3) for row in cubics)
    u, v = add_identity_(u, 1.0), add_identity_(v, shift)
    q = add_product(s, t, t)
    vq = v + q
    w = add_product(u, vq, q)
    roots = []
    for left in range(squarings - 1, -1, -1):
        roots.append(w)
        w = w @ w
        if left % 4 == 0:  # the defect has grown to at most 16 eps, and the step squares it
            w = newton_schulz_step(w)
    return w, scale, cubics, a, a2, t, q, vq, *roots


def _adjoint(
    grad: Tensor, scale: float, cubics: _Cubics,
    a: Tensor, a2: Tensor, t: Tensor, q: Tensor, vq: Tensor, *roots: Tensor,
) -> Tensor:  # fmt: skip
    """The reverse of the products: two for each of them, none for a Newton-Schulz step."""
    # The derivative of a Newton-Schulz step at a unitary matrix is the identity on the tangent
    # space, and the exponential moves W in no other direction.
    for root in reversed(roots):
        inverse = root.mH
        grad = add_product_(grad @ inverse, inverse, grad)
    # u + (v + q) q, where q = s + t^2
    dv = grad @ q.mH
    dq = add_product(dv, vq.mH, grad)
    th = t.mH
    dt = add_product_(dq @ th, th, dq)
    da, da2, da3 = (
        _linear_combination(column, grad, dv, dq, dt) for column in zip(*cubics, strict=True)
    )
    # A^3 = A A^2 and A^2 = A A, where A^H = -A and A^2 is Hermitian
    add_product_(da2, a, da3, alpha=-1)
    add_product_(da, da3, a2)
    add_product_(da, da2, a, alpha=-1)
    add_product_(da, a, da2, alpha=-1)
    return da if scale == 1.0 else da * scale


_EXPONENTIAL = MatrixMap("expm_skew", _factors, _adjoint)


def _powers(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A, A^2, A^3."""
    a2 = a @ a
    return a, a2, a @ a2


def _linear_combination(coefficients: tuple[float, ...], *x: Tensor) -> Tensor:
    """The sum of c_i X_i, in one new tensor; terms with c_i = 0 are left out."""
    first, *rest = ((c, y) for c, y in zip(coefficients, x, strict=True) if c)
    out = first[1] * first[0]
    for c, y in rest:
        out.add_(y, alpha=c)
    return out


def _spectral_bound(a: Tensor, a2: Tensor, a3: Tensor) -> float:
    """An upper bound of the 2-norm of skew A, from its powers; 0 if no power is finite."""
    if not a.numel():
        return 0.0
    axes = (-3, -2, -1) if a.is_complex() else (-2, -1)
    norms = torch.stack(
        [torch.linalg.vector_norm(view_as_real_parts(p.detach()), dim=axes) for p in (a, a2, a3)]
    )
    # Eigenvalues of a real A come in pairs +-ix; one of each pair is counted.
    repeated = 1 if a.is_complex() else 2
    bound = 0.0
    for moments in zip(*to_lists(norms), strict=True):
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

"""The polar factor and other functions of singular values."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from unitary_zoo._torch import (
    has_values,
    is_nested_forward_mode,
    is_transformed,
    max_entry,
    without_autocast,
)
from unitary_zoo.linalg._dtypes import eps, identity_like
from unitary_zoo.linalg._inplace import add_identity_, add_product
from unitary_zoo.linalg._map import MatrixMap
from unitary_zoo.linalg._spectrum import svd


def newton_schulz_step(w: Tensor) -> Tensor:
    r""":math:`W \mapsto W (3 I - W^H W) / 2`: squares a small unitarity defect.

    Repeated steps converge to the polar factor if all singular values are below :math:`\sqrt 3`.
    """
    return add_product(w, w, w.mH @ w, alpha=-0.5, beta=1.5)


def polar(x: Tensor) -> Tensor:
    r"""The polar factor :math:`U V^H` of :math:`X = U \Sigma V^H`: the nearest unitary matrix.

    Near the group it is computed by a series and Newton-Schulz steps, elsewhere by an SVD. Its
    derivatives of any order are finite even at unitary X, where those of an SVD are NaN.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n), unitary; NaN if ``x`` is not finite.
    """
    return _POLAR(x)


# The limit of the 2-norm of X^H X - I up to which X counts as near the group: the products for W
# and for its derivative cost less than an SVD.
_NEAR = 0.2


def _factors(x: Tensor) -> tuple[Any, ...]:
    """W, then a bound of the norm of X^H X - I, and X and W near the group, else the SVD of X."""
    defect = add_identity_(x.detach().mH @ x.detach(), -1.0)
    square = defect @ defect
    # ||D||_2^2 <= ||D^2||_1, which is closer than the Frobenius norm of D
    norm = max_entry(square.abs().sum(-2)) ** 0.5 if x.numel() else 0.0
    if norm <= _NEAR:
        w = _near_polar(x, defect, square, norm)
        return w, norm, x, w
    w, *usv = _svd_factors(x)
    return w, norm, *usv


def _adjoint(grad: Tensor, norm: float, *kept: Tensor) -> Tensor:
    return _near_adjoint(grad, norm, *kept) if norm <= _NEAR else _svd_adjoint(grad, *kept)


def _near_polar(x: Tensor, defect: Tensor, square: Tensor, norm: float) -> Tensor:
    """The polar factor of X near the group, from :math:`D = X^H X - I`, its square and its norm."""
    # X (I + D)^(-1/2) by its series up to D^2 or D^4. The first term left out, 5 D^3/16 or
    # 63 D^5/256, is half the new defect, which Newton-Schulz steps square.
    series, left = defect.mul(-0.5).add_(square, alpha=0.375), norm**3
    if left > eps(x.dtype) / 2:
        higher = defect.mul(-0.3125).add_(square, alpha=35 / 128)
        series, left = add_product(series, square, higher), norm**5
    w = add_product(x, x, series)
    while left > eps(x.dtype) / 2:
        w = newton_schulz_step(w)
        left = left**2
    return w


def _near_adjoint(grad: Tensor, norm: float, x: Tensor, w: Tensor) -> Tensor:
    # With X = W H, dW = W Omega, where Omega is skew and H Omega + Omega H = W^H dX - dX^H W.
    m = w.mH @ grad
    k = (m - m.mH) / 2
    excess = add_identity_(w.mH @ x, -1.0)  # E = H - I
    # The map Y -> K - (E Y + Y E) / 2 contracts by the norm of E and has real eigenvalues, so each
    # Chebyshev step gains twice the digits of a plain iteration. Y E = -(E Y)^H.
    radius = max(1 - math.sqrt(1 - norm), eps(x.dtype))
    before, y, weight, error = k, k, 1.0, radius
    while error > eps(x.dtype) / 4:
        half = excess @ y
        after = torch.sub(k, half - half.mH, alpha=0.5)
        if weight > 1.0:
            after = torch.lerp(before, after, weight)
        before, y = y, after
        weight = 1 / (1 - radius**2 * weight / (2 if weight == 1.0 else 4))
        error *= radius / 2
    return w @ y


def _svd_factors(x: Tensor) -> tuple[Tensor, ...]:
    """W, then U, the singular values and V^H; W is NaN where X is not finite."""
    u, s, vh = svd(x)
    return u @ vh, u, s, vh


def _svd_adjoint(grad: Tensor, u: Tensor, s: Tensor, vh: Tensor) -> Tensor:
    return _singular_value_adjoint(grad, u, s, vh, torch.ones_like(s))


class _Lyapunov(torch.autograd.Function):
    """The solution Y of H Y + Y H = C for Hermitian H."""

    generate_vmap_rule = True

    @staticmethod
    def forward(h: Tensor, c: Tensor) -> Tensor:
        s, v = torch.linalg.eigh(h)
        # H is singular where the polar factor is not unique; the limit keeps its gradient finite.
        total = (s.unsqueeze(-1) + s.unsqueeze(-2)).clamp(min=eps(s.dtype))
        return v @ ((v.mH @ c @ v) / total) @ v.mH

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        h, y = ctx.saved_tensors
        with without_autocast(grad.device):
            z = _Lyapunov.apply(h, grad)
            return -(z @ y.mH + y.mH @ z), z

    @staticmethod
    def jvp(ctx: Any, dh: Tensor, dc: Tensor) -> Tensor:
        h, y = ctx.saved_tensors
        dy: Tensor = _Lyapunov.apply(h, dc - dh @ y - y @ dh)
        return dy


def _differentiable_polar(x: Tensor) -> Tensor:
    """The polar factor of X, with derivatives of any order."""
    if is_nested_forward_mode():
        # torch 2.13 takes the derivative of a Function's jvp for zero, without a word.
        raise RuntimeError(
            "the polar factor has no derivative in forward mode inside forward mode; take one of "
            "the two in reverse mode, as torch.func.hessian does"
        )
    w: Tensor = _Differentiable.apply(x)
    return w


class _Differentiable(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _svd_factors(x)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, w = ctx.saved_tensors
        with without_autocast(grad.device):
            return _differential(x, w, grad)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor) -> Tensor:
        x, w = ctx.saved_tensors
        return _differential(x, w, dx)


def _differential(x: Tensor, w: Tensor, dx: Tensor) -> Tensor:
    """The change dW of the polar factor W of X with X; the map from dX to dW is its own adjoint."""
    # With X = W H, dW = W Omega, where Omega is skew and H Omega + Omega H = W^H dX - dX^H W.
    h, m = w.mH @ x, w.mH @ dx
    omega: Tensor = _Lyapunov.apply((h + h.mH) / 2, m - m.mH)
    return w @ omega


_POLAR = MatrixMap("polar", _factors, _adjoint, differentiable=_differentiable_polar)


def polar_with_determinant(x: Tensor, determinant: int | None) -> Tensor:
    r"""The orthogonal matrix nearest to X with the given determinant; the polar factor if None.

    If the polar factor has the other determinant, the direction of the least singular value is
    reversed. That gives the nearest matrix (Kabsch, 1976), but it jumps where the two least
    singular values meet.

    Args:
        x: Shape (n, n), float32 or float64, real unless ``determinant`` is None.
        determinant: 1, -1 or None.

    Returns:
        Shape (n, n), orthogonal.
    """
    w = polar(x)
    if determinant is None:
        return w
    wrong = torch.linalg.det(w.detach()) * determinant < 0
    # Without values to decide by, both cases are computed.
    if has_values(x) and not max_entry(wrong):
        return w
    return torch.where(wrong, with_least_reversed(w, x), w)


def with_least_reversed(w: Tensor, x: Tensor) -> Tensor:
    r""":math:`W (I - 2 v v^H)`, v the right singular vector of the least singular value of X.

    Args:
        w: The polar factor of X, shape (n, n).
        x: Shape (n, n), float32 or float64, real or complex. Where its two least singular values
            meet, to half the digits, v is not determined and takes no part in derivatives.

    Returns:
        Shape (n, n), unitary, with the determinant of -W.
    """
    _, s, vh = svd(x.detach())
    v = vh[-1].conj()
    one = identity_like(w.detach())
    reversal = one - 2 * torch.outer(v, v.conj())
    if len(s) > 1 and (torch.is_grad_enabled() or is_transformed()):
        # I - 2 v v^H is the sign of H - m for a number m between the two least eigenvalues of
        # H = (X^H X)^(1/2), and the sign of a Hermitian matrix is its polar factor.
        h = w.mH @ x
        sign = polar((h + h.mH) / 2 - (s[-1] + s[-2]) / 2 * one)
        apart = s[-2] - s[-1] > eps(s.dtype) ** 0.5 * s[0]
        reversal = reversal + torch.where(apart, sign - sign.detach(), 0.0)
    return w @ reversal


def contract(x: Tensor) -> Tensor:
    r""":math:`U \min(\Sigma, 1) V^H`: the nearest matrix with :math:`\|W\|_2 \le 1`.

    Args:
        x: Shape (..., n, n), float32 or float64, real or complex.

    Returns:
        Shape (..., n, n).
    """
    return _CONTRACTION(x)


def _contraction_factors(x: Tensor) -> tuple[Tensor, ...]:
    """The contraction, then U, the singular values, V^H, and min(., 1) of the values."""
    u, s, vh = svd(x)
    f = s.clamp(max=1.0)
    # The defects of the bases, several eps, would make norms exceed 1. A Newton-Schulz step removes
    # them here; it cannot be made on W, as it can on a polar factor.
    u, vh = newton_schulz_step(u), newton_schulz_step(vh)
    return (u * f.unsqueeze(-2)) @ vh, u, s, vh, f


def _differentiable_contraction(x: Tensor) -> Tensor:
    """The contraction as W (H + I - |H - I|) / 2, where X = W H and |E| = E polar(E)."""
    w = _differentiable_polar(x)
    h = w.mH @ x
    h = (h + h.mH) / 2
    excess = h - identity_like(h)
    value: Tensor = w @ (h - (excess + excess @ _differentiable_polar(excess)) / 2)
    return value


def _singular_value_adjoint(grad: Tensor, u: Tensor, s: Tensor, vh: Tensor, f: Tensor) -> Tensor:
    r"""Gradient of :math:`U f(\Sigma) V^H` for f = 1 (polar factor) or f = min(., 1) (contraction).

    It is :math:`U (D \circ \mathrm{sym}\,M + P \circ \mathrm{skew}\,M) V^H` with
    :math:`M = U^H G V`, :math:`D_{ij} = (f_i - f_j)/(s_i - s_j)` and
    :math:`P_{ij} = (f_i + f_j)/(s_i + s_j)`. Unlike the gradient of an SVD it has no pole where
    singular values meet.
    """
    m = u.mH @ grad @ vh.mH
    ds = s.unsqueeze(-1) - s.unsqueeze(-2)
    df = f.unsqueeze(-1) - f.unsqueeze(-2)
    # At equal singular values the quotient is f': 1 below 1, and 0 from 1 on.
    slope = (f < 1.0).to(s.dtype).unsqueeze(-1).expand_as(ds)
    d = torch.where(ds == 0, slope, df / torch.where(ds == 0, 1.0, ds))
    total = s.unsqueeze(-1) + s.unsqueeze(-2)
    # A singular matrix has no unique polar factor; the clamp keeps its gradient finite.
    p = (f.unsqueeze(-1) + f.unsqueeze(-2)) / total.clamp(min=eps(s.dtype))
    return u @ (d * (m + m.mH) / 2 + p * (m - m.mH) / 2) @ vh


_CONTRACTION = MatrixMap(
    "contract",
    _contraction_factors,
    _singular_value_adjoint,
    differentiable=_differentiable_contraction,
)
